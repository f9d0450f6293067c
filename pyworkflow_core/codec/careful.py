"""The writer that finds out what is wrong with a value, and writes what may not fail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from .scalars import SCALAR_WRITERS
from .terms import MARK, Refusal
from .writing import Writer, check_depth

if TYPE_CHECKING:
    from .reach import Reach
    from .registry import Registry

_ATOMS = frozenset((str, bool, type(None)))
_encode = msgspec.json.Encoder().encode


class CarefulWriter(Writer):
    """A writer that finds out why a value cannot be written: cycles, and text that UTF-8 lacks.

    It takes no short cuts, so it serves errors and explanations, not the hot path.
    """

    hurried = False

    def __init__(self, registry: Registry, reach: Reach) -> None:
        super().__init__(registry, reach)
        self._open: set[int] = set()

    def write(self, value: Any, depth: int) -> Any:
        """The JSON form of `value`, all of whose text is checked."""
        if id(value) in self._open:
            raise Refusal(f"this {type(value).__name__} contains itself; the log holds trees only")
        self._open.add(id(value))
        try:
            written = super().write(value, depth)
            if type(value) in _ATOMS or type(value) in SCALAR_WRITERS:
                _encode(written)
            return written
        except UnicodeEncodeError as error:
            raise Refusal(
                "this text holds a lone surrogate, which UTF-8 cannot say; decode it without "
                "'surrogateescape', or pass bytes"
            ) from error
        except RecursionError as error:
            raise Refusal("nested too deeply for what is left of the interpreter's stack") from error
        finally:
            self._open.discard(id(value))

    def _dict(self, value: dict[Any, Any], depth: int) -> Any:
        check_depth(depth)
        if MARK in value or not all(type(key) is str for key in value):
            return self._mapping(value, depth)
        for index, key in enumerate(value):
            try:
                self.write(key, depth + 1)
            except Refusal as refusal:
                refusal.at(f".keys()[{index}]")
                raise
        return self.write_fields(value, depth + 1, "[{!r}]")
