"""The types that an application registered with a codec."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import ConfigurationError
from .scalars import SCALAR_WRITERS
from .shapes import is_shaped
from .terms import type_name

if TYPE_CHECKING:
    from collections.abc import Callable

_NATIVE = {str, bool, int, float, type(None), list, dict, tuple, set, frozenset, *SCALAR_WRITERS}


class Entry:
    """One registered class: its name in the log and, where given, its two functions."""

    __slots__ = ("cls", "decode", "encode", "name")

    def __init__(
        self,
        cls: type,
        name: str,
        encode: Callable[[Any], Any] | None,
        decode: Callable[[Any], Any] | None,
    ) -> None:
        self.cls = cls
        self.name = name
        self.encode = encode
        self.decode = decode


class Registry:
    """Registered classes, by class (the last registration writes) and by name (all are read)."""

    __slots__ = ("by_class", "by_name")

    def __init__(self) -> None:
        self.by_class: dict[type, Entry] = {}
        self.by_name: dict[str, Entry] = {}

    def add(
        self,
        cls: type,
        name: str | None,
        encode: Callable[[Any], Any] | None,
        decode: Callable[[Any], Any] | None,
    ) -> None:
        """Add a class.

        Raises:
            ConfigurationError: the name is another class's, or the class needs functions.
        """
        if not isinstance(cls, type):
            raise ConfigurationError(f"register takes a class, not {cls!r}")
        name = type_name(cls) if name is None else name
        if cls in _NATIVE:
            raise ConfigurationError(f"{type_name(cls)} is written natively and cannot be registered")
        if (encode is None) != (decode is None):
            raise ConfigurationError(f"{name}: register takes both encode and decode, or neither")
        if encode is None and not is_shaped(cls) and not issubclass(cls, BaseException):
            raise ConfigurationError(
                f"{name} is no dataclass, Struct, NamedTuple, pydantic model, Enum or exception: "
                "register it with encode and decode functions"
            )
        known = self.by_name.get(name)
        if known is not None and known.cls is not cls:
            raise ConfigurationError(
                f"the name {name!r} is registered for {known.cls!r}; give {cls!r} another one with name=…"
            )
        self.by_class[cls] = self.by_name[name] = Entry(cls, name, encode, decode)

    def name_of(self, cls: type) -> str:
        """The name that `cls` has in the log."""
        entry = self.by_class.get(cls)
        return type_name(cls) if entry is None else entry.name
