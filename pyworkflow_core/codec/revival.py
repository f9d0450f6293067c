"""Recorded exceptions to exceptions again (see `failures` for which classes are revived)."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, cast

from ..errors import CodecError
from .failures import HIDDEN, TOO_PLAIN, TRACEBACK_ATTRIBUTE, Record, find_class, members_of
from .terms import RecordedError, is_static

if TYPE_CHECKING:
    from .reading import Reader


class _Verbatim(str):
    """The text of an exception whose arguments are not known; `KeyError` shows its argument's repr."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def read_error(reader: Reader, record: Record, depth: int) -> BaseException:
    """The exception that `record` says; never fails for want of a class."""
    name, message = record["type"], record["message"]
    if type(name) is not str or type(message) is not str:
        raise TypeError("the type and message of an exception are text")
    error = _revive(reader, record, depth, name, message)
    for note in record.get("notes", ()):
        error.add_note(note)
    if type(record.get("traceback")) is str:
        setattr(error, TRACEBACK_ATTRIBUTE, record["traceback"])
    if "cause" in record:
        error.__cause__ = _nested(reader, record["cause"], depth)
    elif "context" in record:
        error.__context__ = _nested(reader, record["context"], depth)
    return error


def _nested(reader: Reader, record: Any, depth: int) -> BaseException:
    error = reader.read(record, depth + 1)
    if not isinstance(error, BaseException):
        raise TypeError("the cause of an exception is an exception")
    return error


def _revive(reader: Reader, record: Record, depth: int, name: str, message: str) -> BaseException:
    args = _read_part(reader, record.get("args"), depth + 1)
    state = {
        key: value
        for key, value in _read_part(reader, record.get("state"), depth + 1) or ()
        if type(key) is str and key not in HIDDEN
    }
    members: list[Any] | None = None
    if "members" in record:
        members = [_nested(reader, member, depth + 1) for member in record["members"]]
    cls = find_class(reader.registry, reader.reach, name)
    if cls is not None and "value" in record:
        entry = reader.registry.by_name.get(name)
        if entry is not None and entry.decode is not None:
            with contextlib.suppress(Exception):
                error = entry.decode(reader.read(record["value"], depth + 1))
                if isinstance(error, BaseException):
                    return error
    if cls is not None:
        with contextlib.suppress(Exception):
            return _build(cls, message, args, state, members, record.get("text"))
    # Whoever prints a log wants the name that was recorded, not that of a base.
    for base in () if reader.lenient else record.get("bases", ()):
        cls = find_class(reader.registry, reader.reach, base) if base not in TOO_PLAIN else None
        if cls is None:
            continue
        with contextlib.suppress(Exception):
            error = _build(cls, message, None, state, members, record.get("text"))
            if _is_native_text(cls) and str(error) != message:
                error = _build(cls, message, None, {}, members, record.get("text"))
            error.add_note(f"originally {name}")
            return error
    return RecordedError(message, type=name)


def _is_native_text(cls: type[BaseException]) -> bool:
    """Whether asking for the text runs no code of an application."""
    return is_static(next(base for base in cls.__mro__ if "__str__" in vars(base)))


def _read_part(reader: Reader, part: Any, depth: int) -> list[Any] | None:
    """Arguments or attributes; None if a type in them cannot be revived any more."""
    if type(part) is not list:
        return None
    try:
        read: list[Any] = reader.read(part, depth)
    except CodecError:
        return None
    return read


def _build(
    cls: type[BaseException],
    message: str,
    args: list[Any] | None,
    state: dict[str, Any],
    members: list[Any] | None,
    text: Any,
) -> BaseException:
    error: BaseException
    if issubclass(cls, BaseExceptionGroup):
        error = BaseExceptionGroup.__new__(cls, text, members or [])
    else:
        error = _bare(cls)
        if args is not None:
            error.args = tuple(args)
        else:
            error.args = (message if cls.__str__ is BaseException.__str__ else _Verbatim(message),)
    settable = dict(reversed(list(members_of(cls))))
    for key, value in state.items():
        if key not in settable:
            error.__dict__[key] = value
            continue
        with contextlib.suppress(TypeError, AttributeError, ValueError):
            settable[key].__set__(error, value)
    return error


def _bare(cls: type[BaseException]) -> BaseException:
    """An instance on which no constructor of Python code ran."""
    for base in cls.__mro__:
        if is_static(base):
            with contextlib.suppress(TypeError):
                make: Any = base.__new__
                return cast("BaseException", make(cls))
    raise TypeError(f"{cls!r} has no constructor that can be left out")
