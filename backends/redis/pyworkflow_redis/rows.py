"""How records, events and leases lie in Redis, as text that `redis-cli` can show.

A run is one string: fields that end with a NUL byte, which no id holds, then the record's
opaque rest. Scripts read the fields of `FIELDS` by name; nothing looks into the rest. Numbers
are decimal text, because numbers in Lua lose precision above 2^53. An event is its id, a NUL
byte and its body.
"""

from __future__ import annotations

import msgspec

from pyworkflow_core.errors import CorruptLog, LimitExceeded
from pyworkflow_core.events import Event
from pyworkflow_core.record import RunRecord, RunStatus
from pyworkflow_core.storage import Append

from .keys import created_at_of, newest_first

_encode = msgspec.json.Encoder().encode
_decode_attributes = msgspec.json.Decoder(dict[str, str]).decode
_LAST = 2**63 - 1
_PLAIN = b"{}"


def encode_row(record: RunRecord) -> bytes:
    """The row of a run. Scripts know its layout: see ``scripts/row.lua``."""
    wake = b"" if record.wake_at is None else b"%d" % record.wake_at
    return b"%d\0%b\0%b\0%d\0%b\0%b%b\0%b\0%b\0%b\0%d\0%b" % (
        record.head,
        record.incarnation.encode(),
        wake,
        record.priority,
        record.queue.encode(),
        newest_first(record.created_at),
        record.status.encode(),
        record.workflow.encode(),
        record.parent.encode() if record.parent is not None else b"",
        _encode(record.attributes) if record.attributes else _PLAIN,
        record.updated_at,
        record.rest,
    )


def decode_row(run_id: str, row: bytes) -> RunRecord:
    """The record of a row.

    Raises:
        CorruptLog: it is none.
    """
    try:
        head, incarnation, wake, priority, queue, row_rest = row.split(b"\0", 5)
        place, tail = row_rest[:8], row_rest[8:]
        status, workflow, parent, attributes, updated, rest = tail.split(b"\0", 5)
        return RunRecord(
            run_id=run_id,
            incarnation=incarnation.decode(),
            head=int(head),
            status=RunStatus(status.decode()),
            workflow=workflow.decode(),
            queue=queue.decode(),
            priority=int(priority),
            created_at=created_at_of(place),
            updated_at=int(updated),
            wake_at=int(wake) if wake else None,
            parent=parent.decode() if parent else None,
            attributes={} if attributes == _PLAIN else _decode_attributes(attributes),
            rest=rest,
        )
    except (ValueError, msgspec.MsgspecError) as error:
        raise CorruptLog(
            f"run {run_id!r}: its row is not readable: {row[:80]!r}…", location=run_id
        ) from error


def encode_event(event: Event) -> bytes:
    """An entry of a run's log."""
    return b"%b\0%b" % (event.event_id.encode(), event.body)


def decode_events(run_id: str, after: int, entries: list[bytes]) -> list[Event]:
    """The events of entries that follow event `after`.

    Raises:
        CorruptLog: an entry is none.
    """
    events = []
    for sequence, entry in enumerate(entries, after + 1):
        event_id, nul, body = entry.partition(b"\0")
        if not nul:
            raise CorruptLog(f"run {run_id!r}: event {sequence} is damaged", location=f"{run_id}/{sequence}")
        events.append(Event(run_id, sequence, event_id.decode(), body))
    return events


def find_unfit(append: Append) -> LimitExceeded | None:
    """Why no row holds what the append would write; None if all is well."""
    record = append.record
    lease = append.lease
    numbers = [record.head, record.priority, record.created_at, record.updated_at, record.wake_at or 0]
    if lease is not None and lease.until is not None:
        numbers.append(lease.until)
    for number in numbers:
        if not -_LAST - 1 <= number <= _LAST:
            return LimitExceeded(f"run {append.run_id!r}: {number} does not fit into 64 bits")
    return None
