"""What all parts of the codec agree on: the marker, the limits, how types are named."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from ..errors import WorkflowError

MARK: Final = "$"
"""The one key that makes a JSON object a tagged value."""

MARK_BYTES: Final = b'"$"'
"""How the marker stands in encoded data. Where it does not occur, nothing is tagged."""

MARK_BYTE: Final = ord(MARK)

MAX_DEPTH: Final = 200
"""Deepest nesting of JSON arrays and objects that is written."""

MAX_READ_DEPTH: Final = 250
"""Deepest nesting that is revived: more than is ever written, far below the interpreter's limit."""

LOW: Final = -(2**63)
HIGH: Final = 2**64 - 1
"""Integers from LOW to HIGH go as JSON numbers: every msgspec reads these back exactly."""

TRACEBACK_LIMIT: Final = 8192
"""Characters of a traceback that are recorded: its end, where the error was raised."""

CHAIN_LIMIT: Final = 5
"""How many causes, and how many levels of exception groups, are recorded."""

_HEAP_TYPE: Final = 1 << 9  # Py_TPFLAGS_HEAPTYPE, stable ABI


def type_name(cls: type) -> str:
    """The name a type has in the log: its module, a dot, its qualified name."""
    return f"{cls.__module__}.{cls.__qualname__}"


def is_static(cls: type) -> bool:
    """Whether `cls` is implemented in C, so that its instances may hold state that Python cannot see."""
    return not cls.__flags__ & _HEAP_TYPE


class Refusal(Exception):
    """A value that cannot be written; collects the way to it while the walk unwinds."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
        self.parts: list[str] = []

    def at(self, part: str) -> None:
        """Note that the value sits at `part` of the value around it."""
        self.parts.append(part)

    def path(self, root: str) -> str:
        """The way from `root` to the value; the middle of a very long one is left out."""
        parts = self.parts[::-1]
        if len(parts) > 40:
            parts = [*parts[:20], "…", *parts[-20:]]
        return root + "".join(parts)


@dataclass(frozen=True, slots=True)
class Opaque:
    """A value whose type this process cannot revive, as `Codec.decode_lenient` gives it.

    Attributes:
        type: the type's name as recorded.
        value: what was recorded of it, revived as far as that goes.
    """

    type: str
    value: Any

    # `value` may hold lists; an Opaque must still serve as a key of a recorded dictionary.
    def __hash__(self) -> int:
        return hash(self.type)


class RecordedError(WorkflowError):
    """Stands for a recorded exception whose class cannot be revived here.

    Its text is the original's.

    Attributes:
        type: the qualified name of the original's class.
    """

    def __init__(self, message: str = "", *, type: str = "") -> None:  # noqa: A002 - reads best at use
        super().__init__(message)
        self.type = type
