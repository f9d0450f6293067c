"""What lies where: the documents, and how runs and events become them and are found again.

A collection ``NAMESPACE.runs`` with one document a run::

    _id         run id
    inc, head   incarnation and last sequence number: what an append is compared with
    span        "expected head incarnation" of the latest append, for the feed
    record      the run record, encoded
    base, tail  the events behind `base`: [{id, body}, …]
    queue, priority, created, status, workflow, parent, attributes
                columns of the record that listings and claims look at
    wake, lease wake time; {token, owner, until}, or null
    due         the later of the two, or null: what claims look for
    dead        incarnations that were deleted

A deleted run leaves ``_id`` and ``dead``. Its older events stand in ``NAMESPACE.chunks``, in documents
``{_id: {r: run, i: incarnation, l: last sequence, n: length}, events: […]}``. A chunk holds committed
events only, so a chunk that nobody needed in the end says nothing wrong.

Numbers are BSON's 64 bits. What does not fit is bounded; no clock shows it, and the record is exact.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bson import Int64
from bson.min_key import MinKey

from pyworkflow_core.events import Event
from pyworkflow_core.record import RunRecord, decode_record

Document = dict[str, Any]
LEAST, MOST = Int64(-(2**63)), Int64(2**63 - 1)


def number(value: int) -> Int64:
    """A number as BSON has it."""
    return Int64(value) if LEAST <= value <= MOST else MOST if value > 0 else LEAST


def optional(value: int | None) -> Int64 | None:
    """A number, or null."""
    return None if value is None else number(value)


def attribute(key: str, value: str) -> str:
    """An attribute as listings look for it."""
    return f"{key}\0{value}"


def columns(record: RunRecord) -> Document:
    """What listings and claims look at."""
    return {
        "wake": optional(record.wake_at),
        "queue": record.queue,
        "priority": number(record.priority),
        "created": number(record.created_at),
        "status": str(record.status),
        "workflow": record.workflow,
        "parent": record.parent,
        "attributes": [attribute(key, value) for key, value in record.attributes.items()],
    }


def changed_columns(record: RunRecord, old: RunRecord) -> Document:
    """The columns in which a record differs from the one before it."""
    changed: Document = {}
    if record.wake_at != old.wake_at:
        changed["wake"] = optional(record.wake_at)
    if record.queue != old.queue:
        changed["queue"] = record.queue
    if record.priority != old.priority:
        changed["priority"] = number(record.priority)
    if record.created_at != old.created_at:
        changed["created"] = number(record.created_at)
    if record.status is not old.status:
        changed["status"] = str(record.status)
    if record.workflow != old.workflow:
        changed["workflow"] = record.workflow
    if record.parent != old.parent:
        changed["parent"] = record.parent
    if record.attributes != old.attributes:
        changed["attributes"] = [attribute(key, value) for key, value in record.attributes.items()]
    return changed


SCHEDULE = frozenset({"wake", "queue", "priority"})
"""The columns that claims look at."""


def due_of(wake: int | None, until: int | None) -> Int64 | None:
    """The later of wake time and end of the lease; null if the run waits for somebody."""
    if wake is None or until is None:
        return optional(wake)
    return number(max(wake, until))


DUE: Document = {"$cond": [{"$eq": ["$wake", None]}, None, {"$max": ["$wake", "$lease.until"]}]}
"""The same, where the document knows what the writer does not."""


def event_documents(events: Sequence[Event]) -> list[Document]:
    """Events as they stand in a tail or a chunk: their place says their sequence."""
    return [{"id": event.event_id, "body": event.body} for event in events]


def events_of(run_id: str, after: int, documents: Iterable[Document]) -> list[Event]:
    """Events of a tail or a chunk, of which the first stands behind `after`."""
    return [Event(run_id, n, doc["id"], bytes(doc["body"])) for n, doc in enumerate(documents, after + 1)]


def record_of(document: Mapping[str, Any]) -> RunRecord:
    """The run record of a run's document."""
    return decode_record(bytes(document["record"]))


def chunk_key(run_id: str, incarnation: str, last: int, length: int) -> Document:
    """The key of a chunk. Fields are compared in this order, so a run's chunks lie side by side."""
    return {"r": run_id, "i": incarnation, "l": Int64(last), "n": Int64(length)}


def chunks_behind(run_id: str, incarnation: str, after: int) -> Document:
    """The keys of a run's chunks with events behind `after`."""
    first = {"r": run_id, "i": incarnation, "l": Int64(after + 1), "n": MinKey()}
    return {"$gte": first, "$lt": _end(run_id, incarnation)}


def chunks_of(run_id: str, incarnation: str) -> Document:
    """The keys of all of a run's chunks."""
    return chunks_behind(run_id, incarnation, -1)


def _end(run_id: str, incarnation: str) -> Document:
    return {"r": run_id, "i": incarnation, "l": MOST, "n": MinKey()}
