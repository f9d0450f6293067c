"""The steps of a random program: values, so that a program can be run again, cut and printed.

A step names what earlier steps made by a `Ref`; `resolve` looks it up. Nothing here runs anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from ...storage import LeaseChange, RunQuery
from ..appends import after, ahead, completed, created, noted, resumed, suspended

FUNCTIONS: dict[str, Callable[..., Any]] = {
    f.__name__: f
    for f in (created, after, ahead, completed, noted, resumed, suspended, LeaseChange, RunQuery)
}
"""What an `Expr` may call: pure functions, so that what they make is the same in every run."""


class Unplayable(Exception):
    """A program asks for what the contract leaves open, or names what no step of it made."""


class Ref(Struct, frozen=True):
    """What an earlier step made.

    Attributes:
        name: the name that the step gave it.
        item: the run, where it is the claims of one call.
        attribute: an attribute of it.
    """

    name: str
    item: str | None = None
    attribute: str = ""


class Expr(Struct, frozen=True):
    """A call of one of `FUNCTIONS`."""

    function: str
    args: tuple[Any, ...] = ()
    options: dict[str, Any] = {}


class Make(Struct, frozen=True):
    """``name = value``: an append, made but not yet committed."""

    name: str
    value: Expr


class Call(Struct, frozen=True):
    """``name = await handle.method(*args, **options)``.

    The methods ``listed`` of `reading` and ``follow`` of `looks` take the handle first.
    """

    handle: str
    method: str
    args: tuple[Any, ...] = ()
    options: dict[str, Any] = {}
    name: str = ""


class Reopen(Struct, frozen=True):
    """Close a handle and open it again under the same name."""

    handle: str


Step = Make | Call | Reopen


def resolve(value: Any, names: Mapping[str, Any]) -> Any:
    """The value that `value` stands for.

    Raises:
        Unplayable: it names what is not there, or makes what cannot be made.
    """
    if isinstance(value, Ref):
        try:
            found = names[value.name] if value.item is None else names[value.name][value.item]
            return getattr(found, value.attribute) if value.attribute else found
        except (KeyError, AttributeError):
            raise Unplayable(f"nothing is {value}") from None
    if isinstance(value, Expr):
        args = resolve(value.args, names)
        options = resolve(value.options, names)
        try:
            return FUNCTIONS[value.function](*args, **options)
        except (TypeError, ValueError) as error:  # a program that was cut down too far
            raise Unplayable(f"{value.function} cannot be called so: {error}") from error
    if isinstance(value, tuple | list):
        return type(value)(resolve(part, names) for part in value)
    if isinstance(value, dict):
        return {key: resolve(part, names) for key, part in value.items()}
    return value


def names_in(value: Any) -> Iterator[str]:
    """Every name that a step, or a part of one, refers to."""
    if isinstance(value, Ref):
        yield value.name
    elif isinstance(value, tuple | list):
        for part in value:
            yield from names_in(part)
    elif isinstance(value, dict):
        yield from names_in(list(value.values()))
    elif isinstance(value, Struct):
        yield from names_in(list(msgspec.structs.asdict(value).values()))
