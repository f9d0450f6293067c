"""The walk that turns values into plain JSON values and tags.

Plain parts are returned as they are, so that a value without tags costs one look at each
element and no copy. The walk knows no paths: a `Refusal` collects its path while it unwinds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum, Flag
from typing import TYPE_CHECKING, Any

import msgspec

from . import failures
from .plain import all_plain, plain_mapping
from .scalars import SCALAR_WRITERS, write_float, write_int
from .shapes import Shape, shape_of
from .terms import HIGH, LOW, MARK, MAX_DEPTH, Refusal, type_name

if TYPE_CHECKING:
    from .reach import Reach
    from .registry import Entry, Registry

Handler = Callable[[Any, int], Any]

_encode = msgspec.json.Encoder().encode


class _Table(dict[type, Handler]):
    """Handlers by exact type, each learned when its type is first met."""

    def __init__(self, learn: Callable[[type], Handler]) -> None:
        super().__init__()
        self._learn = learn

    def __missing__(self, kind: type) -> Handler:
        handler = self[kind] = self._learn(kind)
        return handler


class Writer:
    """Writes values for one registry and one reach. Depth counts JSON arrays and objects."""

    hurried = True

    def __init__(self, registry: Registry, reach: Reach) -> None:
        self.registry = registry
        self.reach = reach
        self.forget()

    def forget(self) -> None:
        """Drop what was learned about types: the registry has changed."""
        self._table = _Table(self._learn)
        self._table.update(
            {
                str: _same,
                bool: _same,
                type(None): _same,
                int: _write_int,
                float: _write_float,
                list: self._list,
                dict: self._dict,
                tuple: self._tuple,
                set: self._set,
                frozenset: self._set,
            }
        )
        for kind, scalar in SCALAR_WRITERS.items():
            self._table[kind] = _at_any_depth(scalar)

    def write(self, value: Any, depth: int) -> Any:
        """The JSON form of `value`, which stands under `depth` arrays and objects."""
        return self._table[type(value)](value, depth)

    def write_all(self, values: Iterable[Any], depth: int) -> list[Any]:
        """The JSON forms of `values`, with the index in a refusal's path."""
        written: list[Any] = []
        try:
            for value in values:
                written.append(self.write(value, depth))  # noqa: PERF401 - its length is the path
        except Refusal as refusal:
            refusal.at(f"[{len(written)}]")
            raise
        return written

    def write_fields(self, fields: dict[str, Any], depth: int, form: str = ".{}") -> Any:
        """The JSON form of fields by name; `form` says how a name looks in a path."""
        if self.hurried and plain_mapping(fields):
            return fields
        written: dict[str, Any] = {}
        name = ""
        try:
            for name, value in fields.items():
                written[name] = self.write(value, depth)
        except Refusal as refusal:
            refusal.at(form.format(name))
            raise
        # Models may carry fields under any name; such a mapping is escaped as a dict is.
        return _pairs(written) if MARK in written else written

    def _list(self, value: list[Any], depth: int) -> Any:
        check_depth(depth)
        return value if self.hurried and all_plain(value) else self.write_all(value, depth + 1)

    def _tuple(self, value: tuple[Any, ...], depth: int) -> Any:
        check_depth(depth + 1)
        # msgspec writes a tuple as it does a list.
        items = value if self.hurried and all_plain(value) else self.write_all(value, depth + 2)
        return {MARK: "tuple", "v": items}

    def _set(self, value: set[Any] | frozenset[Any], depth: int) -> Any:
        check_depth(depth + 1)
        written = []
        for item in value:
            try:
                written.append(self.write(item, depth + 2))
            except Refusal as refusal:
                refusal.at("{…}")
                raise
        # Sorted by what is written: the order of a set differs between processes.
        written.sort(key=_encode)
        return {MARK: type(value).__name__, "v": written}

    def _dict(self, value: dict[Any, Any], depth: int) -> Any:
        check_depth(depth)
        if plain_mapping(value):
            return value
        written: dict[str, Any] = {}
        key: Any = None
        try:
            for key, item in value.items():
                if type(key) is not str or key == MARK:
                    return self._mapping(value, depth)
                written[key] = self.write(item, depth + 1)
        except Refusal as refusal:
            refusal.at(f"[{_shown(key)}]")
            raise
        return written

    def _mapping(self, value: dict[Any, Any], depth: int) -> Any:
        """A dictionary that JSON cannot say, as pairs in its order."""
        check_depth(depth + 2)
        pairs: list[list[Any]] = []
        for key, item in value.items():
            try:
                written = self.write(key, depth + 3)
            except Refusal as refusal:
                refusal.at(f".keys()[{len(pairs)}]")
                raise
            try:
                pairs.append([written, self.write(item, depth + 3)])
            except Refusal as refusal:
                refusal.at(f"[{_shown(key)}]")
                raise
        return {MARK: "dict", "v": pairs}

    def _learn(self, kind: type) -> Handler:
        """The handler for instances of a class that is not built in, if it may be written."""
        entry = self.registry.by_class.get(kind)
        if issubclass(kind, BaseException):
            return self._error
        if entry is not None and entry.encode is not None:
            return self._registered(entry, entry.encode)
        shape = shape_of(kind)
        if shape is None and not issubclass(kind, Enum):
            raise Refusal(_unwritable(kind))
        if entry is None:
            self._check_reached(kind)
        name = self.registry.name_of(kind)
        if shape is None:
            return lambda value, _depth: {MARK: "enum", "t": name, "v": _member(value)}
        return self._shaped(name, shape)

    def _check_reached(self, kind: type) -> None:
        name = type_name(kind)
        if name in self.registry.by_name:
            raise Refusal(
                f"the name {name!r} is registered for another class; register this one as well, with name=…"
            )
        if self.reach.types.get(name) is kind:
            return
        text = (
            f"type {name} is neither registered nor named by an annotation: annotate what the function "
            f"takes and returns with it, or register({kind.__qualname__})"
        )
        if name in self.reach.types:
            text = f"another class of the name {name} is annotated; {text}"
        if self.reach.unresolved:
            text += f" (annotations that could not be resolved: {', '.join(self.reach.unresolved)})"
        raise Refusal(text)

    def _shaped(self, name: str, shape: Shape) -> Handler:
        def write(value: Any, depth: int) -> Any:
            check_depth(depth + 1)
            fields, extras = shape.take(value)
            tag = {MARK: "object", "t": name, "v": self.write_fields(fields, depth + 2)}
            if extras:
                tag["x"] = self.write_fields(extras, depth + 2)
            return tag

        return write

    def _registered(self, entry: Entry, encode: Callable[[Any], Any]) -> Handler:
        def write(value: Any, depth: int) -> Any:
            check_depth(depth)
            try:
                plain = encode(value)
            except Exception as error:
                raise Refusal(f"the encode function of {entry.name} raised {error!r}") from error
            return {MARK: "custom", "t": entry.name, "v": self.write(plain, depth + 1)}

        return write

    def _error(self, value: BaseException, depth: int) -> Any:
        check_depth(depth + 1)
        return failures.write_value(self, value, depth)


def _same(value: Any, _depth: int) -> Any:
    return value


def _write_int(value: int, _depth: int) -> Any:
    return value if LOW <= value <= HIGH else write_int(value)


def _write_float(value: float, _depth: int) -> Any:
    return value if value - value == 0.0 else write_float(value)


def _at_any_depth(scalar: Callable[[Any], Any]) -> Handler:
    return lambda value, _depth: scalar(value)


def check_depth(depth: int) -> None:
    """Refuse an array or object that would stand too deep; this is what ends a cycle."""
    if depth >= MAX_DEPTH:
        raise Refusal(f"nested more than {MAX_DEPTH} levels deep")


def _pairs(written: dict[str, Any]) -> Any:
    return {MARK: "dict", "v": [[key, item] for key, item in written.items()]}


def _shown(key: Any) -> str:
    """A key as a path shows it. Only built-in keys are asked for their repr, which may be code."""
    if type(key) is str or type(key) in SCALAR_WRITERS or type(key) in (int, float, bool, type(None)):
        text = repr(key)
        return text if len(text) <= 80 else text[:77] + "…"
    return f"<{type(key).__qualname__}>"


def _member(value: Enum) -> str | int:
    name = value.name
    if name in type(value).__members__:
        return name
    if isinstance(value, Flag):  # a combination, or no flag at all
        number = value.value
        if type(number) is int and LOW <= number <= HIGH:
            return number
    raise Refusal(f"{type_name(type(value))} has no member of the name {name!r}")


def _unwritable(kind: type) -> str:
    for base in (str, int, float, complex, dict, list, tuple, set, frozenset, bytes, bytearray):
        if issubclass(kind, base):
            return (
                f"type {type_name(kind)} is a subclass of {base.__name__} that would come back as a plain "
                f"{base.__name__}: convert it, or register it with encode and decode functions"
            )
    return (
        f"type {type_name(kind)} is no dataclass, Struct, NamedTuple, pydantic model or Enum: return "
        "something plainer, or register it with encode and decode functions"
    )
