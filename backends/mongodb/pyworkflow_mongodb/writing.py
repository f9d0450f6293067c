"""What an append does to a run's document: one update, which compares the head and sets everything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bson import Int64
from msgspec import Struct
from pymongo import UpdateOne

from pyworkflow_core.record import RunRecord, encode_record
from pyworkflow_core.storage import Append, LeaseChange

from .documents import (
    DUE,
    SCHEDULE,
    Document,
    changed_columns,
    columns,
    due_of,
    event_documents,
    number,
    record_of,
)

TAIL_EVENTS = 8
"""A tail of so many events becomes a chunk at the next append: few chunks, and short documents to write."""
TAIL_BYTES = 1024 * 1024
"""A tail may become longer than this only by one append, which its limits keep below a document's."""


class Tail(Struct, frozen=True):
    """What a document holds beside its head; incarnation and head tell it, whoever looks.

    Attributes:
        incarnation: the run's.
        head: the last sequence.
        base: the tail stands behind this one.
        events: the tail.
        size: bytes of its bodies.
        record: the run's.
    """

    incarnation: str
    head: int
    base: int
    events: list[Document]
    size: int
    record: RunRecord

    def is_full(self, more: int) -> bool:
        """Whether it must become a chunk before events of so many bytes are added."""
        return len(self.events) >= TAIL_EVENTS or (self.size + more > TAIL_BYTES and bool(self.events))


def tail_of(document: Mapping[str, Any]) -> Tail:
    """The tail of a run's document."""
    events = document["tail"]
    size = sum(len(event["body"]) for event in events)
    return Tail(document["inc"], document["head"], document["base"], events, size, record_of(document))


class Write(Struct, frozen=True):
    """An append as an update.

    Attributes:
        append: the append.
        where: the document that it changes, or makes.
        change: what it changes.
        tail: what the document holds afterwards; None if it is not known.
        full: the tail that must be a chunk before; None if the events go behind it.
    """

    append: Append
    where: Document
    change: Document | list[Document]
    tail: Tail | None
    full: Tail | None = None

    @property
    def makes(self) -> bool:
        """Whether it makes the document if there is none."""
        return self.append.expected == 0

    @property
    def operation(self) -> UpdateOne:
        """The update, as a part of a bulk."""
        return UpdateOne(self.where, self.change, upsert=self.makes)


def write(append: Append, tail: Tail | None) -> Write:
    """The update of an append.

    Args:
        append: the append.
        tail: what the document holds, if it is known: that of the expected head.
    """
    size = sum(len(event.body) for event in append.events)
    events = event_documents(append.events)
    fields: Document = {
        "head": number(append.record.head),
        "span": f"{append.expected} {append.record.head} {append.incarnation}",
        "record": encode_record(append.record),
    }
    if append.expected == 0:
        fields["inc"] = append.incarnation
        return _create(append, fields | columns(append.record), events, size)
    fields |= columns(append.record) if tail is None else changed_columns(append.record, tail.record)
    full = tail if tail is not None and tail.is_full(size) else None
    if full is not None:
        fields["base"] = Int64(append.expected)
    moves = append.lease is not None or not SCHEDULE.isdisjoint(fields)
    change: Any = _with_schedule if moves else _without_schedule
    where = {"_id": append.run_id, "inc": append.incarnation, "head": Int64(append.expected)}
    made = change(fields, events, append.lease, reset=full is not None)
    after = None if tail is None else _tail_after(append, tail, events, size, reset=full is not None)
    return Write(append, where, made, after, full)


def _create(append: Append, fields: Document, events: list[Document], size: int) -> Write:
    """Make a run's document, or fill that of a deleted run; never one of an incarnation that was deleted."""
    lease = append.lease
    until = None if lease is None else lease.until
    fields |= {
        "base": Int64(0),
        "tail": events,
        "lease": None if lease is None or until is None else _lease(lease),
        "due": due_of(append.record.wake_at, until),
    }
    # Where this finds nothing, it inserts; and where there is a run, that fails by its id.
    where = {"_id": append.run_id, "head": {"$exists": False}, "dead": {"$ne": append.incarnation}}
    return Write(
        append, where, {"$set": fields}, Tail(append.incarnation, len(events), 0, events, size, append.record)
    )


def _without_schedule(
    fields: Document, events: list[Document], lease: LeaseChange | None, *, reset: bool
) -> Document:
    if reset:
        return {"$set": {**fields, "tail": events}}
    return {"$set": fields, "$push": {"tail": {"$each": events}}}


def _with_schedule(
    fields: Document, events: list[Document], lease: LeaseChange | None, *, reset: bool
) -> list[Document]:
    """What is due follows from the lease, which only the document knows: let the server work it out."""
    stage: Document = {name: {"$literal": value} for name, value in fields.items()}
    new = {"$literal": events}
    stage["tail"] = new if reset else {"$concatArrays": ["$tail", new]}
    if lease is not None:
        token = {"$literal": lease.token}
        ours = {"$eq": [{"$ifNull": ["$lease.token", token]}, token]}
        change = None if lease.until is None else {"$literal": _lease(lease)}
        stage["lease"] = {"$cond": [ours, change, "$lease"]}
    return [{"$set": stage}, {"$set": {"due": DUE}}]


def _lease(lease: LeaseChange) -> Document:
    return {"token": lease.token, "owner": lease.owner, "until": number(lease.until or 0)}


def _tail_after(append: Append, tail: Tail, events: list[Document], size: int, *, reset: bool) -> Tail:
    head, record = append.record.head, append.record
    if reset:
        return Tail(append.incarnation, head, append.expected, events, size, record)
    return Tail(append.incarnation, head, tail.base, [*tail.events, *events], tail.size + size, record)
