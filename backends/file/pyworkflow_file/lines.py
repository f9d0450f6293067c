r"""The journal's lines: how an append becomes one, and events again.

::

    5b0c1f2e= ["run_1","9f2c",7,[["id",["step_completed",1,…]],["id",[…]]]]
    └ crc32 ┘│ └ JSON: run, incarnation, first sequence, events, lease change if any
             └ "=" begins a commit, "+" goes on with one

The checksum covers all that follows it. A line without events is a grave: that incarnation
of the run was deleted, and whatever else the journal holds of it is dead.

Tabs stand around each event's id and body. JSON allows them there, and forbids them inside
its strings, so one split by tabs takes many lines apart without parsing them.
"""

from __future__ import annotations

from itertools import repeat
from zlib import crc32

import msgspec
from msgspec import Raw, Struct

from pyworkflow_core.errors import CodecError, StorageError
from pyworkflow_core.events import Event, decode_body
from pyworkflow_core.storage import Append, LeaseChange

START = ord("=")
FOLLOW = ord("+")


class Line(Struct, array_like=True, frozen=True, gc=False):
    """One line, decoded.

    Attributes:
        run_id: the run.
        incarnation: its incarnation.
        first: sequence number of the first event; for a grave, of the event that never came.
        events: event ids and bodies.
        lease: a change of the run's lease in the same step.
    """

    run_id: str
    incarnation: str
    first: int
    events: list[tuple[str, Raw]]
    lease: tuple[str, str, int | None] | None = None

    def to_events(self) -> list[Event]:
        """The line's events."""
        run_id = self.run_id
        return [
            Event(run_id, n, event_id, bytes(body))
            for n, (event_id, body) in enumerate(self.events, self.first)
        ]

    def to_lease(self) -> LeaseChange | None:
        """The line's lease change."""
        return None if self.lease is None else LeaseChange(*self.lease)


_encode = msgspec.json.Encoder().encode
_decode_line = msgspec.json.Decoder(Line).decode
_decode_ids = msgspec.json.Decoder(list[str]).decode


def encode_append(append: Append, *, starts: bool) -> bytes:
    """The line of an append; `starts` if it is the first of its commit.

    Raises:
        StorageError: a body is not one line of JSON, so that it could not be read back.
    """
    parts = []
    for event in append.events:
        _check_body(event)
        parts.append(b"[\t%b,\t%b\t]" % (_encode(event.event_id), event.body))
    lease = b""
    if (change := append.lease) is not None:
        lease = b"," + _encode((change.token, change.owner, change.until))
    return _seal(
        append.run_id, append.incarnation, append.expected + 1, b",".join(parts), lease, starts=starts
    )


def encode_grave(run_id: str, incarnation: str, head: int, *, starts: bool = True) -> bytes:
    """The line that says that this incarnation of the run was deleted."""
    return _seal(run_id, incarnation, head + 1, b"", b"", starts=starts)


def _seal(run_id: str, incarnation: str, first: int, events: bytes, lease: bytes, *, starts: bool) -> bytes:
    start = line_start(run_id, incarnation, first)
    text = b"%c %b%b]%b]" % (START if starts else FOLLOW, start, events, lease)
    return b"%08x%b\n" % (crc32(text), text)


def line_start(run_id: str, incarnation: str, first: int) -> bytes:
    """How the JSON of a line of this run begins."""
    return b"[%b,%b,%d,[" % (_encode(run_id), _encode(incarnation), first)


def _check_body(event: Event) -> None:
    """Refuse a body that would break its line, or that no fold could ever read."""
    body = event.body
    try:
        if not body.isascii():
            body.decode()
        if body[:1] != b"[" or body[-1:] != b"]" or b"\n" in body or b"\r" in body:
            raise StorageError(
                f"run {event.run_id!r}: the body of event {event.sequence} is not one line of JSON text, "
                '["type",version,time,{data}]'
            )
        decode_body(body)
    except (CodecError, UnicodeDecodeError) as error:
        raise StorageError(
            f"run {event.run_id!r}: the body of event {event.sequence} cannot be stored: {error}"
        ) from error


def is_sound(line: bytes) -> bool:
    """Whether a line, with its line break, is exactly what was written."""
    return (
        line[-1:] == b"\n"
        and b"%08x" % crc32(memoryview(line)[8:-1]) == line[:8]
        and line[8] in {START, FOLLOW}
    )


def decode_line(line: bytes) -> Line:
    """Decode a sound line.

    Raises:
        ValueError: it is of another format.
    """
    return _decode_line(memoryview(line)[10:])


def split_events(data: bytes, run_id: str, first: int, count: int) -> list[Event] | None:
    """The `count` events of whole lines of one run, numbered from `first`, without parsing the lines.

    None if a body holds tabs of its own; the lines must then be decoded one by one.
    """
    parts = data.split(b"\t")
    if len(parts) != 3 * count + 1:
        return None
    ids = _decode_ids(b"[%b]" % b"".join(parts[1::3])[:-1])
    return list(map(Event, repeat(run_id), range(first, first + count), ids, parts[2::3]))
