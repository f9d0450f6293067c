"""What an append does to a run's document: one update, which compares the head and sets everything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bson import Int64
from bson.binary import Binary
from msgspec import Struct
from pymongo import UpdateOne

from pyworkflow_core.record import encode_record
from pyworkflow_core.storage import Append, LeaseChange

from .documents import DUE, SCHEDULE, Document, columns, due_of, event_documents, number

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
        columns: as in the document; empty if they were not looked at.
    """

    incarnation: str
    head: int
    base: int
    events: list[Document]
    size: int
    columns: Document

    def is_full(self, more: int) -> bool:
        """Whether it must become a chunk before events of so many bytes are added."""
        return len(self.events) >= TAIL_EVENTS or (self.size + more > TAIL_BYTES and bool(self.events))


def tail_of(document: Mapping[str, Any]) -> Tail:
    """The tail of a run's document."""
    events = document["tail"]
    size = sum(len(event["body"]) for event in events)
    known = {name: document[name] for name in _COLUMNS if name in document}
    return Tail(document["inc"], document["head"], document["base"], events, size, known)


_COLUMNS = ("wake", "queue", "priority", "created", "status", "workflow", "parent", "attributes")


class Write(Struct, frozen=True):
    """An append as an update.

    Attributes:
        append: the append.
        operation: the update.
        tail: what the document holds afterwards.
        full: the tail that must be a chunk before; None if the events go behind it.
    """

    append: Append
    operation: UpdateOne
    tail: Tail
    full: Tail | None = None


def write(append: Append, tail: Tail | None) -> Write:
    """The update of an append.

    Args:
        append: the append.
        tail: what the document holds, if it is known: that of the expected head.
    """
    size = sum(len(event.body) for event in append.events)
    events = event_documents(append.events)
    new_columns = columns(append.record)
    fields: Document = {
        "inc": append.incarnation,
        "head": number(append.record.head),
        "span": f"{append.expected} {append.record.head} {append.incarnation}",
        "record": Binary(encode_record(append.record)),
    }
    if append.expected == 0:
        return _create(append, {**fields, **new_columns}, events, size, new_columns)
    old = tail.columns if tail is not None else {}
    fields |= {name: value for name, value in new_columns.items() if name not in old or old[name] != value}
    full = tail if tail is not None and tail.is_full(size) else None
    if full is not None:
        fields["base"] = Int64(append.expected)
    moves = append.lease is not None or not SCHEDULE.isdisjoint(fields)
    change = _with_schedule if moves else _without_schedule
    where = {"_id": append.run_id, "inc": append.incarnation, "head": Int64(append.expected)}
    operation = UpdateOne(where, change(fields, events, append.lease, reset=full is not None))
    after = _tail_after(append, tail, events, size, new_columns, reset=full is not None)
    return Write(append, operation, after, full)


def _create(append: Append, fields: Document, events: list[Document], size: int, known: Document) -> Write:
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
    operation = UpdateOne(where, {"$set": fields}, upsert=True)
    return Write(append, operation, Tail(append.incarnation, len(events), 0, events, size, known))


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


def _tail_after(
    append: Append, tail: Tail | None, events: list[Document], size: int, known: Document, *, reset: bool
) -> Tail:
    head = append.record.head
    if tail is None:
        return Tail(append.incarnation, head, -1, [], 0, {})  # not known: the next append looks
    if reset:
        return Tail(append.incarnation, head, append.expected, events, size, known)
    return Tail(append.incarnation, head, tail.base, [*tail.events, *events], tail.size + size, known)
