"""Types that a payload must fit: dataclasses, msgspec Structs, pydantic models, plain types."""

from __future__ import annotations

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
