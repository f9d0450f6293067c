"""Exceptions: how they are recorded, and which classes may be revived (`revival` does that).

The class that an exception comes back with must be the same in every process that has the
same code. It is revived if it is registered, built in, or reachable (see
`Reach.find_exception`); otherwise the nearest base class that is; otherwise `RecordedError`.
Instances are made without ``__init__``: arguments, attributes and the C-level members of
built-in classes (``errno``, ``start``, …) are recorded and put back.
"""

from __future__ import annotations

import asyncio
import builtins
import contextlib
import traceback
from types import GetSetDescriptorType, MemberDescriptorType
from typing import TYPE_CHECKING, Any, cast

from .. import errors
from .terms import CHAIN_LIMIT, MARK, TRACEBACK_LIMIT, RecordedError, Refusal, type_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .reach import Reach
    from .registry import Registry
    from .writing import Writer

Record = dict[str, Any]

TRACEBACK_ATTRIBUTE = "__recorded_traceback__"
"""Where a revived exception keeps the formatted traceback of the original, as text."""

HIDDEN = {TRACEBACK_ATTRIBUTE, "__notes__"}
"""Attributes that are recorded in places of their own."""

TOO_PLAIN = {"builtins.Exception", "builtins.BaseException", "builtins.object"}
"""Bases that never stand in for a class that is not known: they say nothing."""


def _revivable(cls: Any) -> bool:
    """Whether `cls` may be raised by recorded data: never what ends a process or a generator."""
    return isinstance(cls, type) and issubclass(cls, Exception | asyncio.CancelledError)


_KNOWN: dict[str, type[BaseException]] = {
    type_name(cls): cls
    for cls in (*vars(builtins).values(), *vars(errors).values(), asyncio.CancelledError, RecordedError)
    if _revivable(cls)
}


def find_class(registry: Registry, reach: Reach, name: Any) -> type[BaseException] | None:
    """The exception class of that name, if it may be revived."""
    if type(name) is not str:
        return None
    entry = registry.by_name.get(name)
    cls = entry.cls if entry is not None else _KNOWN.get(name) or reach.find_exception(name)
    return cls if _revivable(cls) else None


def write_value(writer: Writer, error: BaseException, depth: int) -> Record:
    """An exception among other values: refused unless its class and arguments can be revived.

    It is written without its traceback, so that equal values are equal bytes.
    """
    name = writer.registry.name_of(type(error))
    if find_class(writer.registry, writer.reach, name) is not type(error):
        raise Refusal(
            f"exception class {type_name(type(error))} cannot be revived: import it in the module of the "
            f"function, or register({type(error).__qualname__})"
        )
    record = _write(writer, error, depth, 0)
    if "args" not in record and "value" not in record and not isinstance(error, BaseExceptionGroup):
        try:
            writer.write_all(error.args, depth + 2)
        except Refusal as refusal:
            refusal.at(".args")
            raise
    return record


def write_error(writer: Writer, error: BaseException) -> Record:
    """The record of an exception that was raised; of any exception, whatever it holds."""
    record = _write(writer, error, 0, 0)
    text = _traceback_text(error)
    if text:
        record["traceback"] = text
    return record


def smallest(error: BaseException) -> Record:
    """The record of an exception that defies every other way."""
    return {MARK: "error", "type": _clean(type_name(type(error))), "message": ""}


def _write(writer: Writer, error: BaseException, depth: int, level: int) -> Record:
    cls = type(error)
    entry = writer.registry.by_class.get(cls)
    name = writer.registry.name_of(cls)
    message = _text_of(error)
    stands_in = cls is RecordedError
    if isinstance(error, RecordedError):  # recorded again as what it stands for
        name = error.type or name
    record: Record = {MARK: "error", "type": _clean(name), "message": message}
    bases = (
        []
        if stands_in
        else [
            writer.registry.name_of(base)
            for base in cls.__mro__[1:]
            if _revivable(base) and type_name(base) not in TOO_PLAIN
        ]
    )
    if bases:
        record["bases"] = bases
    if level < CHAIN_LIMIT:
        if entry is not None and entry.encode is not None:
            with contextlib.suppress(Exception):
                record["value"] = writer.write(entry.encode(error), depth + 1)
        elif isinstance(error, BaseExceptionGroup):
            record["text"] = _clean(error.message)
            record["members"] = [_write(writer, e, depth + 2, level + 1) for e in error.exceptions]
        elif not stands_in:
            with contextlib.suppress(Refusal):
                record["args"] = writer.write_all(error.args, depth + 2)
        state = _write_state(writer, error, depth + 2)
        if state and not stands_in:
            record["state"] = state
        _write_chain(writer, error, record, depth, level)
    notes = error.__dict__.get("__notes__")
    if type(notes) is list and notes:
        record["notes"] = [_clean(note) for note in notes if isinstance(note, str)]
    return record


def _write_chain(writer: Writer, error: BaseException, record: Record, depth: int, level: int) -> None:
    if error.__cause__ is not None:
        record["cause"] = _write(writer, error.__cause__, depth + 1, level + 1)
    elif error.__context__ is not None and not error.__suppress_context__:
        record["context"] = _write(writer, error.__context__, depth + 1, level + 1)


def _write_state(writer: Writer, error: BaseException, depth: int) -> list[list[Any]]:
    """Attributes and C-level members as pairs; what cannot be written is left out."""
    found: dict[str, Any] = {}
    for name, member in members_of(type(error)):
        with contextlib.suppress(Exception):
            value = member.__get__(error)
            if value is not None:
                found[name] = value
    found.update({name: value for name, value in error.__dict__.items() if name not in HIDDEN})
    if isinstance(error, BaseExceptionGroup):
        found.pop("message", None)
        found.pop("exceptions", None)
    written = []
    for name, value in found.items():
        with contextlib.suppress(Refusal):
            written.append([writer.write(name, depth), writer.write(value, depth + 1)])
    return written


def members_of(cls: type[BaseException]) -> Iterator[tuple[str, MemberDescriptorType | GetSetDescriptorType]]:
    """Slots of `cls` and of its bases, those of `BaseException` itself aside."""
    for base in cls.__mro__:
        if base is BaseException:
            return
        for name, member in vars(base).items():
            kind = isinstance(member, MemberDescriptorType | GetSetDescriptorType)
            if kind and name not in ("__dict__", "__weakref__"):
                yield name, cast("MemberDescriptorType", member)


def _text_of(error: BaseException) -> str:
    try:
        return _clean(str(error))
    except Exception:
        return f"<{type_name(type(error))} whose __str__ fails>"


def _clean(text: str) -> str:
    """`text` as plain `str` that UTF-8 can say."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _traceback_text(error: BaseException) -> str:
    try:
        text = "".join(traceback.format_exception(error))
    except Exception:
        return ""
    before = error.__dict__.get(TRACEBACK_ATTRIBUTE)
    if isinstance(before, str):
        text = f"{before}\nRaised again from the log:\n\n{text}"
    text = _clean(text)
    return text if len(text) <= TRACEBACK_LIMIT else "…" + text[1 - TRACEBACK_LIMIT :]
