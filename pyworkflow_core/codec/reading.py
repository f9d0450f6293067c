"""The walk that turns decoded JSON with tags back into values.

Types are looked up among the registered ones and in the reach. Nothing is imported.
"""

from __future__ import annotations

from enum import Enum, Flag
from typing import TYPE_CHECKING, Any

from ..errors import CodecError, MalformedValueError, UnknownTypeError
from .revival import read_error
from .scalars import SCALAR_READERS
from .shapes import Shape, shape_of
from .terms import MARK, MAX_READ_DEPTH, Opaque

if TYPE_CHECKING:
    from collections.abc import Callable

    from .reach import Reach
    from .registry import Registry

BROKEN = (ValueError, TypeError, LookupError, ArithmeticError, AttributeError, RecursionError)
"""What hostile or damaged data makes a reader raise."""


class TooDeep(MalformedValueError):
    """Data nested deeper than is ever written; not even a lenient reader goes on."""


class Reader:
    """Revives values for one registry and one reach. The trees that it is given, it changes."""

    lenient = False

    def __init__(self, registry: Registry, reach: Reach) -> None:
        self.registry = registry
        self.reach = reach
        self.forget()

    def forget(self) -> None:
        """Drop what was learned about types: the registry has changed."""
        self._shapes: dict[str, Shape] = {}
        self._tags: dict[str, Callable[[dict[str, Any], int], Any]] = {
            "tuple": self._tuple,
            "set": lambda node, depth: set(self._items(node, depth)),
            "frozenset": lambda node, depth: frozenset(self._items(node, depth)),
            "dict": self._dict,
            "enum": self._enum,
            "object": self._object,
            "custom": self._custom,
            "error": lambda node, depth: read_error(self, node, depth),
        }
        for name, scalar in SCALAR_READERS.items():
            self._tags[name] = _at_any_depth(scalar)

    def read(self, node: Any, depth: int) -> Any:
        """The value that `node` says."""
        kind = type(node)
        if kind is dict:
            if depth > MAX_READ_DEPTH:
                raise TooDeep(f"nested more than {MAX_READ_DEPTH} levels deep")
            if MARK in node:
                return self._tagged(node, depth)
            for key, item in node.items():
                if type(item) is dict or type(item) is list:
                    node[key] = self.read(item, depth + 1)
        elif kind is list:
            if depth > MAX_READ_DEPTH:
                raise TooDeep(f"nested more than {MAX_READ_DEPTH} levels deep")
            for index, item in enumerate(node):
                if type(item) is dict or type(item) is list:
                    node[index] = self.read(item, depth + 1)
        return node

    def _tagged(self, node: dict[str, Any], depth: int) -> Any:
        handler = self._tags.get(node[MARK])
        if handler is None:
            raise MalformedValueError(f"unknown tag {node[MARK]!r}: not written by this version of the codec")
        return handler(node, depth)

    def _items(self, node: dict[str, Any], depth: int) -> list[Any]:
        items = node["v"]
        if type(items) is not list:
            raise MalformedValueError(f"{node[MARK]!r} holds {type(items).__name__}, not a list")
        read: list[Any] = self.read(items, depth + 1)
        return read

    def _tuple(self, node: dict[str, Any], depth: int) -> Any:
        return tuple(self._items(node, depth))

    def _dict(self, node: dict[str, Any], depth: int) -> Any:
        return {
            self.read(key, depth + 3): item if type(item) is str else self.read(item, depth + 3)
            for key, item in self._pairs(node)
        }

    def _pairs(self, node: dict[str, Any]) -> Any:
        pairs = node["v"]
        if type(pairs) is not list:
            raise MalformedValueError(f"'dict' holds {type(pairs).__name__}, not a list")
        return pairs

    def _enum(self, node: dict[str, Any], depth: int) -> Any:
        name, member = node["t"], node["v"]
        cls = self.find(name)
        if issubclass(cls, Enum):
            if type(member) is int and issubclass(cls, Flag):
                return cls(member)
            if member in cls.__members__:
                return cls.__members__[member]
        raise MalformedValueError(f"{name} has no member {member!r} (any more)")

    def _object(self, node: dict[str, Any], depth: int) -> Any:
        name = node["t"]
        shape = self._shapes.get(name)
        if shape is None:
            shape = shape_of(self.find(name))
            if shape is None:
                raise MalformedValueError(f"{name} was recorded field by field, and has no fields any more")
            self._shapes[name] = shape
        fields = self._plain(node["v"], depth)
        return shape.make(fields, self._plain(node["x"], depth) if "x" in node else None)

    def _plain(self, node: Any, depth: int) -> dict[str, Any]:
        fields = self.read(node, depth + 1)
        if type(fields) is not dict:
            raise MalformedValueError(f"fields are {type(fields).__name__}, not an object")
        return fields

    def _custom(self, node: dict[str, Any], depth: int) -> Any:
        name = node["t"]
        entry = self.registry.by_name.get(name)
        if entry is None:
            raise UnknownTypeError(f"recorded data names the type {name!r}, which is not registered")
        if entry.decode is None:
            raise MalformedValueError(
                f"{name} was recorded by an encode function, and has no decode function now"
            )
        value = self.read(node["v"], depth + 1)
        try:
            return entry.decode(value)
        except Exception as error:
            raise MalformedValueError(f"the decode function of {name} raised {error!r}") from error

    def find(self, name: Any) -> type:
        """The class of that name: registered, or in reach.

        Raises:
            UnknownTypeError: it is neither.
        """
        if type(name) is not str:
            raise MalformedValueError(f"{name!r} is no name of a type")
        entry = self.registry.by_name.get(name)
        if entry is not None:
            return entry.cls
        cls = self.reach.types.get(name)
        if cls is None:
            raise UnknownTypeError(
                f"recorded data names the type {name!r}, which is neither registered nor named by an "
                "annotation of the code that reads it"
            )
        return cls


class LenientReader(Reader):
    """Reads any log: what cannot be revived becomes `Opaque`."""

    lenient = True

    def read_tree(self, tree: Any) -> Any:
        """The value that a whole tree says. What is passed on unread must not be deep either."""
        level = [tree]
        for _ in range(MAX_READ_DEPTH):
            level = [
                item
                for node in level
                if type(node) is dict or type(node) is list
                for item in (node.values() if type(node) is dict else node)
            ]
            if not level:
                return self.read(tree, 0)
        raise TooDeep(f"nested more than {MAX_READ_DEPTH} levels deep")

    def _tagged(self, node: dict[str, Any], depth: int) -> Any:
        name = node.get("t", node[MARK])
        try:
            return super()._tagged(dict(node), depth)
        except (TooDeep, RecursionError):
            raise
        except UnknownTypeError:
            parts = self.read({key: item for key, item in node.items() if key not in (MARK, "t")}, depth)
        except (*BROKEN, CodecError):
            # Whatever could be revived of the parts has been, in place: reading them again
            # would take exponential time on hostile data.
            parts = {key: item for key, item in node.items() if key not in (MARK, "t")}
        value = parts["v"] if parts.keys() == {"v"} else parts
        return Opaque(name if type(name) is str else repr(name), value)


def _at_any_depth(scalar: Callable[[Any], Any]) -> Callable[[dict[str, Any], int], Any]:
    return lambda node, _depth: scalar(node)
