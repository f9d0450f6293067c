"""Between records and rows: what an append writes, what a row says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from pyworkflow_core.errors import CorruptLog, LimitExceeded
from pyworkflow_core.events import Event
from pyworkflow_core.record import RunRecord, RunStatus
from pyworkflow_core.storage import Append

LARGEST = 2**63 - 1
_STATUS = {str(status): status for status in RunStatus}
_encode = msgspec.json.Encoder().encode
_decode_attributes = msgspec.json.Decoder(dict[str, str]).decode


class Lease(NamedTuple):
    """The three columns of a lease; all None if there is none."""

    token: str | None
    owner: str | None
    until: int | None


class Locked(NamedTuple):
    """What decides about an append, from a row that is locked.

    Attributes:
        head: 0 for a run that was deleted.
        incarnation: of the run that there is, or was last.
        lease: the run's lease.
        buried: earlier incarnations of the id, each between two NUL bytes.
        settled: the columns `Statements.settled`.
    """

    head: int
    incarnation: str
    lease: Lease
    buried: bytes | None
    settled: tuple[Any, ...]

    def takes(self, append: Append) -> bool:
        """Whether the append may be written."""
        if append.expected != self.head:
            return False
        if self.head:
            return append.incarnation == self.incarnation
        return self.buried is None or grave(append.incarnation) not in self.buried


def grave(incarnation: str) -> bytes:
    """How an incarnation is noted in the column ``buried``."""
    return b"\0" + incarnation.encode() + b"\0"


def read_locked(row: Sequence[Any]) -> Locked:
    """The row of `Statements.lock_runs`, behind the run id."""
    _, head, incarnation, token, owner, until, buried = row[:7]
    lease = Lease(optional(token), optional(owner), until)
    return Locked(head, text(incarnation), lease, buried, tuple(row[7:]))


def text(value: str | bytes) -> str:
    """Text from a column of text, or of bytes where the database compares nothing else exactly."""
    return value.decode() if isinstance(value, bytes) else value


def optional(value: str | bytes | None) -> str | None:
    """As `text`, of a column that may be null."""
    return value.decode() if isinstance(value, bytes) else value


def fit(number: int) -> int:
    """The nearest number that a column can hold: what is asked for beyond it comes out the same."""
    return max(-LARGEST - 1, min(LARGEST, number))


def lease_after(append: Append, lease: Lease) -> Lease:
    """The run's lease after the append."""
    change = append.lease
    if change is None or lease.token not in {None, change.token}:
        return lease
    if change.until is None:
        return Lease(None, None, None)
    return Lease(change.token, change.owner, fit(change.until))


def record_values(record: RunRecord) -> dict[str, Any]:
    """The columns of a record, with names as `Statements.insert_run` takes them."""
    return {
        "new_run_id": record.run_id,
        "new_incarnation": record.incarnation,
        "new_head": record.head,
        "new_status": str(record.status),
        "new_workflow": record.workflow,
        "new_queue": record.queue,
        "new_priority": record.priority,
        "new_created_at": record.created_at,
        "new_updated_at": record.updated_at,
        "new_wake_at": record.wake_at,
        "new_parent": record.parent,
        "new_attributes": _encode(record.attributes) if record.attributes else None,
        "new_rest": record.rest,
    }


def run_values(append: Append, lease: Lease) -> dict[str, Any]:
    """The columns that an append writes."""
    values = record_values(append.record)
    values["new_token"], values["new_owner"], values["new_lease_until"] = lease
    return values


def event_values(append: Append, position: int | None) -> list[dict[str, Any]]:
    """The rows of an append's events, from the feed position `position` on."""
    return [
        {
            "new_run_id": event.run_id,
            "new_sequence": event.sequence,
            "new_event_id": event.event_id,
            "new_body": event.body,
            "new_position": None if position is None else position + place,
        }
        for place, event in enumerate(append.events)
    ]


def read_record(row: Sequence[Any]) -> RunRecord:
    """The record in the first columns of a row.

    Raises:
        CorruptLog: a column holds what no version of this code wrote.
    """
    run_id, incarnation, head, status, workflow, queue, priority, created, updated, wake = row[:10]
    parent, attributes, rest = row[10:13]
    run_id = text(run_id)
    try:
        return RunRecord(
            run_id=run_id,
            incarnation=text(incarnation),
            head=head,
            status=_STATUS[text(status)],
            workflow=text(workflow),
            queue=text(queue),
            priority=priority,
            created_at=created,
            updated_at=updated,
            wake_at=wake,
            parent=optional(parent),
            attributes={} if attributes is None else _decode_attributes(attributes),
            rest=bytes(rest),
        )
    except (KeyError, ValueError, TypeError, msgspec.MsgspecError) as error:
        where = f"row {run_id!r} of the runs"
        raise CorruptLog(f"{where} cannot be read: {error}", location=where) from error


def read_events(run_id: str, rows: Sequence[Sequence[Any]]) -> list[Event]:
    """Events from rows of sequence, event id and body."""
    return [Event(run_id, row[0], text(row[1]), bytes(row[2])) for row in rows]


def find_unfit(append: Append) -> LimitExceeded | None:
    """Why no column holds what the append would write; None if all is well."""
    record = append.record
    numbers = (record.head, record.priority, record.created_at, record.updated_at, record.wake_at or 0)
    for number in numbers:
        if not -LARGEST - 1 <= number <= LARGEST:
            return LimitExceeded(f"run {append.run_id!r}: {number} does not fit into 64 bits")
    if append.lease is not None and not (is_text(append.lease.token) and is_text(append.lease.owner)):
        return LimitExceeded(
            f"run {append.run_id!r}: token and owner of a lease are text of at most 255 bytes, without NUL"
        )
    return None


def is_text(value: str) -> bool:
    """Whether a column could hold `value`: nothing else is ever found in one."""
    if value.isascii():
        return "\0" not in value and len(value) <= 255
    try:
        return "\0" not in value and len(value.encode()) <= 255
    except UnicodeEncodeError:
        return False
