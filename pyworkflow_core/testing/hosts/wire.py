"""What `TcpStore` and its server say to each other: one JSON line each way."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw, Struct

from ... import errors
from ...events import Event
from ...record import RunRecord
from ...storage import Answer, Append, Claim, Committed, Conflict, FeedPage, Page, Refused, RunQuery, Unknown

LONGEST = 2**26
"""The longest line, in bytes."""


class Request(Struct, frozen=True):
    """A call of one of the contract's methods.

    Attributes:
        namespace: whose runs.
        call: the method's name.
        arguments: its arguments, as an array.
    """

    namespace: str
    call: str
    arguments: Raw


class Reply(Struct, frozen=True, omit_defaults=True):
    """What came of a request.

    Attributes:
        value: what was returned.
        error: name of the exception's class, if one was raised instead.
        text: its message.
    """

    value: Raw = Raw(b"null")
    error: str = ""
    text: str = ""


class WireAnswer(Struct, frozen=True, omit_defaults=True):
    """An answer to an append, with an error by its name and message."""

    kind: str
    run_id: str
    head: int = 0
    error: str = ""
    text: str = ""


ARGUMENTS: dict[str, Any] = {
    "commit": tuple[list[Append]],
    "read": tuple[str, int, int | None],
    "get": tuple[str],
    "find": tuple[RunQuery, str | None, int],
    "claim": tuple[str, int, int, int, tuple[str, ...] | None, str | None],
    "extend": tuple[Claim, int],
    "release": tuple[Claim],
    "delete": tuple[str, int],
    "feed": tuple[str | None, int],
}
"""The arguments of each call."""

RESULTS: dict[str, Any] = {
    "commit": list[WireAnswer],
    "read": list[Event],
    "get": RunRecord | None,
    "find": Page,
    "claim": list[Claim],
    "extend": bool,
    "release": bool,
    "delete": None,
    "feed": FeedPage,
}
"""What each call returns."""


def decode(data: bytes | Raw, kind: Any) -> Any:
    """Decode JSON as a value of type `kind`."""
    return msgspec.json.decode(data, type=kind)


def wire_answer(answer: Answer) -> WireAnswer:
    """An answer as it is sent."""
    kind = type(answer).__name__
    if isinstance(answer, Committed | Conflict):
        return WireAnswer(kind, answer.run_id, answer.head)
    error = answer.error if isinstance(answer, Refused) else answer.cause
    return WireAnswer(kind, answer.run_id, error=type(error).__name__, text=str(error))


def received_answer(wire: WireAnswer) -> Answer:
    """An answer as it was before it was sent."""
    if wire.kind == "Committed":
        return Committed(wire.run_id, wire.head)
    if wire.kind == "Conflict":
        return Conflict(wire.run_id, wire.head)
    error = received_error(wire.error, wire.text)
    if wire.kind == "Refused" and isinstance(error, errors.StorageError):
        return Refused(wire.run_id, error)
    return Unknown(wire.run_id, error)


def received_error(name: str, text: str) -> Exception:
    """An exception as it was before it was sent."""
    kind = ValueError if name == "ValueError" else getattr(errors, name, errors.StorageError)
    error: Exception = kind(text)
    return error
