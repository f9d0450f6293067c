"""How instances of record-like classes are taken apart and put together again.

Instances are put together without their constructor: ``__new__`` of the built-in base, then
the recorded fields. What a constructor makes of its arguments is already in the fields, so
running it again (or ``__post_init__``, or a validator) could only change the value, and stored
data would run code. msgspec offers no such way for a Struct with ``__post_init__``; there the
recorded fields are set once more afterwards.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import sys
from enum import Enum
from types import MemberDescriptorType
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from ..errors import MalformedValueError
from .terms import is_static, type_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Fields = dict[str, Any]
_NO_DEFAULT = object()


class Shape(Protocol):
    """Takes instances of one class apart, and puts them together."""

    def take(self, value: Any) -> tuple[Fields, Fields | None]:
        """The fields of `value` by name, and whatever else it holds."""

    def make(self, fields: Fields, extras: Fields | None) -> Any:
        """A new instance that holds `fields` and `extras`."""


def shape_of(cls: type) -> Shape | None:
    """The shape of a dataclass, Struct, NamedTuple or pydantic model; None for other classes."""
    if issubclass(cls, msgspec.Struct):
        return StructShape(cls)
    if issubclass(cls, tuple):
        return NamedTupleShape(cls) if _is_named_tuple(cls) else None
    if is_pydantic(cls):
        return PydanticShape(cls)
    # A dataclass that derives from, say, dict has contents besides its fields.
    if dataclasses.is_dataclass(cls) and not any(is_static(base) for base in cls.__mro__[:-1]):
        return DataclassShape(cls)
    return None


def is_pydantic(cls: type) -> bool:
    """Whether `cls` is a model of pydantic 2, which is not imported to find out."""
    pydantic = sys.modules.get("pydantic.main")
    return pydantic is not None and issubclass(cls, pydantic.BaseModel)


def is_shaped(cls: type) -> bool:
    """Whether the codec can write instances of `cls` once it may: a shape, or an Enum."""
    return issubclass(cls, Enum) or shape_of(cls) is not None


def _is_named_tuple(cls: type) -> bool:
    return hasattr(cls, "_fields") and hasattr(cls, "_field_defaults") and not is_static(cls)


def _strays(cls: type, attributes: Mapping[str, Any], fields: Mapping[str, Any]) -> Fields | None:
    """Instance attributes that are no fields. What a `cached_property` left is computed anew."""
    if len(attributes) == len(fields) and attributes.keys() == fields.keys():
        return None
    strays = {
        name: value
        for name, value in attributes.items()
        if name not in fields
        and not isinstance(inspect.getattr_static(cls, name, None), functools.cached_property)
    }
    return strays or None


def _lost(cls: type, name: str) -> MalformedValueError:
    return MalformedValueError(
        f"recorded data of {type_name(cls)} holds a field {name!r}, which the class does not have; "
        "keep the field with a default, or register the class with a decode function that drops it"
    )


def _gained(cls: type, name: str) -> MalformedValueError:
    return MalformedValueError(
        f"recorded data of {type_name(cls)} lacks the field {name!r}, which has no default; give it one"
    )


def _complete(cls: type, fields: Fields, defaults: Mapping[str, Callable[[], Any]]) -> Fields:
    """Fields in the order of the class, with defaults for those that the data lacks."""
    for name in fields:
        if name not in defaults:
            raise _lost(cls, name)
    complete: Fields = {}
    for name, default in defaults.items():
        value = fields[name] if name in fields else default()
        if value is not _NO_DEFAULT:
            complete[name] = value
    return complete


class DataclassShape:
    """Dataclasses: every field that is set, ``init=False`` ones too, and other attributes."""

    def __init__(self, cls: type) -> None:
        self._cls = cls
        self._defaults = {field.name: self._default(field) for field in dataclasses.fields(cls)}
        self._slots = [
            name
            for name in self._defaults
            if isinstance(inspect.getattr_static(cls, name, None), MemberDescriptorType)
        ]
        self._has_dict = cls.__dictoffset__ != 0

    def _default(self, field: dataclasses.Field[Any]) -> Callable[[], Any]:
        if field.default_factory is not dataclasses.MISSING:
            return field.default_factory
        if field.default is not dataclasses.MISSING:
            default = field.default
            return lambda: default
        # Without a default, a field that __init__ does not set may rightly be unset.
        return functools.partial(self._absent, field.name, field.init)

    def _absent(self, name: str, needed: bool) -> Any:
        if needed:
            raise _gained(self._cls, name)
        return _NO_DEFAULT

    def take(self, value: Any) -> tuple[Fields, Fields | None]:
        """The fields that are set, and attributes that are no fields."""
        if self._has_dict and not self._slots:
            attributes = value.__dict__
            fields = {name: attributes[name] for name in self._defaults if name in attributes}
            return fields, _strays(self._cls, attributes, fields)
        fields = {}
        for name in self._defaults:
            found = getattr(value, name, _NO_DEFAULT)
            if found is not _NO_DEFAULT:
                fields[name] = found
        return fields, _strays(self._cls, value.__dict__, fields) if self._has_dict else None

    def make(self, fields: Fields, extras: Fields | None) -> Any:
        """An instance whose ``__init__`` and ``__post_init__`` did not run."""
        if fields.keys() != self._defaults.keys():
            fields = _complete(self._cls, fields, self._defaults)
        made: Any = object.__new__(self._cls)
        for name in self._slots:
            if name in fields:
                object.__setattr__(made, name, fields[name])
        if self._has_dict:
            attributes = made.__dict__
            if self._slots:
                attributes.update({k: v for k, v in fields.items() if k not in self._slots})
            else:
                attributes.update(fields)
        if extras:
            if not self._has_dict:
                raise _lost(self._cls, next(iter(extras)))
            made.__dict__.update(extras)
        return made


class StructShape:
    """Structs of msgspec."""

    def __init__(self, cls: type[msgspec.Struct]) -> None:
        self._cls = cls
        self._names = cls.__struct_fields__
        self._restore = hasattr(cls, "__post_init__")
        self._has_dict = cls.__dictoffset__ != 0

    def take(self, value: Any) -> tuple[Fields, Fields | None]:
        """The fields that are set, and attributes where the Struct has any."""
        fields = {name: getattr(value, name) for name in self._names if hasattr(value, name)}
        return fields, _strays(self._cls, value.__dict__, {}) if self._has_dict else None

    def make(self, fields: Fields, extras: Fields | None) -> Any:
        """An instance with exactly the recorded fields, whatever ``__post_init__`` did."""
        for name in fields:
            if name not in self._names:
                raise _lost(self._cls, name)
        try:
            made = self._cls(**fields)
        except TypeError as error:
            raise MalformedValueError(f"recorded data of {type_name(self._cls)}: {error}") from error
        if self._restore:
            for name, value in fields.items():
                msgspec.structs.force_setattr(made, name, value)
        if extras:
            if not self._has_dict:
                raise _lost(self._cls, next(iter(extras)))
            made.__dict__.update(extras)
        return made


class NamedTupleShape:
    """Classes made with `typing.NamedTuple` or `collections.namedtuple`."""

    def __init__(self, cls: type[Any]) -> None:
        self._cls = cls
        self._names: tuple[str, ...] = cls._fields
        self._has_dict = cls.__dictoffset__ != 0

    def take(self, value: Any) -> tuple[Fields, Fields | None]:
        """The fields by name, and attributes where a subclass has any."""
        fields = dict(zip(self._names, value, strict=True))
        return fields, _strays(self._cls, value.__dict__, {}) if self._has_dict else None

    def make(self, fields: Fields, extras: Fields | None) -> Any:
        """An instance whose own ``__new__`` did not run."""
        if fields.keys() != set(self._names):
            defaults = self._cls._field_defaults
            for name in fields:
                if name not in self._names:
                    raise _lost(self._cls, name)
            for name in self._names:
                if name not in fields and name not in defaults:
                    raise _gained(self._cls, name)
            fields = {**defaults, **fields}
        made = tuple.__new__(self._cls, [fields[name] for name in self._names])
        if extras:
            if not self._has_dict:
                raise _lost(self._cls, next(iter(extras)))
            made.__dict__.update(extras)
        return made


class PydanticShape:
    """Models of pydantic 2, through the protocol that pydantic has for pickling.

    The values are Python values, not pydantic's JSON form, and are not validated again: a
    validator that is not idempotent, or an alias, would make another value of them.
    """

    def __init__(self, cls: type[Any]) -> None:
        self._cls = cls
        self._fields: dict[str, Any] = dict(cls.__pydantic_fields__)

    def take(self, value: Any) -> tuple[Fields, Fields | None]:
        """The model's fields; extra, private and unset ones apart."""
        state = value.__getstate__()
        attributes = state["__dict__"]
        fields = {name: attributes[name] for name in self._fields if name in attributes}
        parts = {
            "attributes": _strays(self._cls, attributes, fields),
            "extra": state["__pydantic_extra__"],
            "private": state["__pydantic_private__"],
            "unset": [name for name in fields if name not in state["__pydantic_fields_set__"]],
        }
        extras = {name: part for name, part in parts.items() if part}
        return fields, extras or None

    def make(self, fields: Fields, extras: Fields | None) -> Any:
        """A model that was not validated again, with defaults for fields gained since."""
        cls, parts = self._cls, extras or {}
        for name in fields:
            if name not in self._fields:
                raise _lost(cls, name)
        unset = set(parts.get("unset", ()))
        extra = dict(parts.get("extra") or {})
        was_set = {name for name in fields if name not in unset} | extra.keys()
        complete: Fields = {}
        for name, field in self._fields.items():
            if name not in fields and field.is_required():
                raise _gained(cls, name)
            complete[name] = fields[name] if name in fields else field.get_default(call_default_factory=True)
        private = dict(parts.get("private") or {})
        for name, attribute in cls.__private_attributes__.items():
            if name not in private and (attribute.default_factory or not _is_undefined(attribute.default)):
                private[name] = attribute.get_default()
        keeps_extra = cls.model_config.get("extra") == "allow"
        if extra and not keeps_extra:
            raise _lost(cls, next(iter(extra)))
        made: Any = object.__new__(cls)
        made.__setstate__(
            {
                "__dict__": complete | (parts.get("attributes") or {}),
                "__pydantic_extra__": extra if keeps_extra else None,
                "__pydantic_fields_set__": was_set,
                "__pydantic_private__": private if cls.__private_attributes__ else None,
            }
        )
        return made


def _is_undefined(value: Any) -> bool:
    return type(value).__name__ == "PydanticUndefinedType"
