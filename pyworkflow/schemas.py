"""Types that a payload must fit: dataclasses, msgspec Structs, pydantic models, plain types."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping
from types import ModuleType
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")
Schema = type[T]


def to_schema(value: Any, schema: Any) -> Any:
    """`value` as an instance of `schema`.

    Raises:
        ValueError: it does not fit; the message says where.
    """
    if isinstance(schema, type) and isinstance(value, schema):
        return value
    validate = getattr(schema, "model_validate", None)
    if validate is not None:  # a pydantic model; its ValidationError is a ValueError
        return validate(value)
    try:
        return msgspec.convert(value, schema)
    except msgspec.ValidationError as error:
        raise ValueError(f"the payload does not fit {schema_name(schema)}: {error}") from None


def schema_name(schema: Any) -> str:
    """The type's name, for people."""
    if isinstance(schema, type):
        return f"{schema.__module__}.{schema.__qualname__}"
    return str(schema)


_inline: dict[str, Any] = {}
_PLAIN = {
    f"builtins.{kind.__name__}": kind for kind in (bool, int, float, str, bytes, list, dict, tuple, set)
}


def remember_schema(schema: Any) -> str:
    """Keep a type that code gave to a hook, for those who answer it in this process; its name."""
    name = schema_name(schema)
    _inline[name] = schema
    return name


def find_schema(name: str, names: Mapping[str, Any]) -> Any:
    """The type that a hook was given under this name, if this process knows it; otherwise None.

    Nothing is imported. It is one that code of this process gave to a hook, a plain type, or one
    that the workflow's module has among its names.

    Args:
        name: as the log has it.
        names: the global names of the workflow's module.
    """
    found = _inline.get(name, _PLAIN.get(name))
    if found is not None:
        return found
    last = name.rpartition(".")[2]
    for value in names.values():
        known = getattr(value, last, None) if isinstance(value, ModuleType) else value
        if isinstance(known, type) and schema_name(known) == name and _holds_data(known):
            return known
    return None


def _holds_data(kind: type) -> bool:
    """Whether a type is made for data, so that a name in a log cannot lead to any other class."""
    marks = ("model_validate", "__total__", "_fields")  # pydantic, TypedDict, NamedTuple
    return (
        dataclasses.is_dataclass(kind)
        or issubclass(kind, (msgspec.Struct, enum.Enum))
        or any(hasattr(kind, mark) for mark in marks)
    )
