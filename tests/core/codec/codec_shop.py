"""Types of an imaginary application, as workflow authors write them."""

from __future__ import annotations

import enum
import functools
from dataclasses import InitVar, dataclass, field
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypedDict, TypeVar

import msgspec
import pydantic

if TYPE_CHECKING:
    from datetime import datetime

    from nowhere import Invisible

T = TypeVar("T")
built = []


class Color(enum.Enum):
    RED = 1
    GREEN = 2


class Size(enum.StrEnum):
    SMALL = "s"


class Level(enum.IntEnum):
    LOW = 1


class Access(enum.Flag):
    READ = 1
    WRITE = 2


class Point(NamedTuple):
    x: int
    y: float = 0.0


@dataclass
class Item:
    sku: str
    price: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    item: Item
    color: Color = Color.RED
    note: Line | None = None


@dataclass
class Basket:
    lines: list[Line]
    factor: InitVar[int] = 1
    total: int = field(init=False)
    late: int = field(init=False)

    def __post_init__(self, factor: int) -> None:
        built.append(self)
        self.total = len(self.lines) * factor
        self.stray = factor

    @functools.cached_property
    def size(self) -> object:
        return object()


@dataclass
class Box(Generic[T]):
    content: T


class Parcel(msgspec.Struct, frozen=True, rename="camel", tag=True):
    sent_at: datetime
    items: tuple[Item, ...] = ()


class Counted(msgspec.Struct):
    n: int

    def __post_init__(self) -> None:
        self.n += 1


class Account(pydantic.BaseModel):
    name: str = pydantic.Field(alias="accountName")
    opened: datetime | None = None
    items: list[Item] = []
    _secret: int = pydantic.PrivateAttr(default=7)

    @pydantic.field_validator("name")
    @classmethod
    def shout(cls, name: str) -> str:
        return name + "!"


class Loose(pydantic.BaseModel, extra="allow"):
    n: int


class Order(TypedDict):
    basket: Basket
    parcel: "list[Parcel]"  # noqa: UP037 - text within text


class Conn:
    pass


class Money(int):
    pass


class OutOfStock(Exception):
    def __init__(self, sku: str, *, left: int) -> None:
        built.append(self)
        super().__init__(f"{sku} is out of stock")
        self.sku = sku
        self.left = left
        self.conn = Conn()


class Worse(OutOfStock):
    __slots__ = ("grade",)

    def __str__(self) -> str:
        return f"worse: {self.sku}"


class Refused(ValueError):
    pass


class DiskFull(OSError):
    pass


class Many(ExceptionGroup):
    pass


def order(order: Order, who: Account | Loose, many: dict[str, Box[Point]]) -> Parcel | Color | Counted: ...


def half_seen(a: Invisible, b: dict[str, Invisible] | Item) -> None: ...


def nothing(a, b): ...
