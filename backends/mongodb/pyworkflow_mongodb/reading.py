"""Reading events: a run's document first, then the chunks of what is not in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from pyworkflow_core.errors import CorruptLog
from pyworkflow_core.events import Event

from .documents import Document, chunks_behind, events_of, number
from .namespace import Collections

LOG_FIELDS = {"inc": 1, "head": 1, "base": 1, "tail": 1}
_CHUNKS_AT_ONCE = 200


class Slice(Struct, frozen=True):
    """A part of a run's log.

    Attributes:
        run_id: the run.
        after: the part begins behind this sequence.
        upto: its last sequence.
    """

    run_id: str
    after: int
    upto: int


async def read_log(collections: Collections, run_id: str, after: int, limit: int | None) -> list[Event]:
    """A run's events behind `after`, at most `limit` of them."""
    seen = ""
    while True:
        document = await collections.do(
            collections.runs.find_one, {"_id": run_id, "head": {"$gt": number(after)}}, LOG_FIELDS
        )
        if document is None:
            return []
        upto = document["head"] if limit is None else min(document["head"], after + limit)
        events = await read_slice(collections, document, Slice(run_id, after, upto))
        if len(events) == upto - after:
            return events
        # Chunks never change. They go when their run is deleted: then the document is another one by now.
        if seen == document["inc"]:
            raise CorruptLog(
                f"run {run_id!r}: of events {after + 1} to {upto} only {len(events)} are there",
                location=f"{collections.chunks.full_name}, run {run_id!r}, incarnation {seen!r}",
            )
        seen = document["inc"]


async def read_slice(collections: Collections, document: Document, part: Slice) -> list[Event]:
    """The events of a part of a run's log, as far as they are there: without a gap from its begin.

    Args:
        collections: where the run is.
        document: the run's, with `LOG_FIELDS`.
        part: what to read; at most up to the document's head.
    """
    base, after, upto = document["base"], part.after, part.upto
    events: list[Event] = []
    while after < min(base, upto):
        key = chunks_behind(part.run_id, document["inc"], after)
        few = min(_CHUNKS_AT_ONCE, upto - after)
        chunks = await collections.find(collections.chunks, {"_id": key}, sort=[("_id", 1)], limit=few)
        found = _merge(part.run_id, after, upto, chunks)
        if not found:
            return events
        events += found
        after += len(found)
    if after < upto:
        rest = document["tail"][after - base : upto - base]
        events += events_of(part.run_id, after, rest)
    return events


def _merge(run_id: str, after: int, upto: int, chunks: Sequence[Mapping[str, Any]]) -> list[Event]:
    """The events of chunks in the order of their ends; chunks that nobody needed overlap others."""
    events: list[Event] = []
    for chunk in chunks:
        last, length = chunk["_id"]["l"], chunk["_id"]["n"]
        known = after + len(events)
        first = last - length
        if last <= known:
            continue
        if first > known or length != len(chunk["events"]):
            break
        events += events_of(run_id, known, chunk["events"][known - first : upto - first])
        if after + len(events) >= upto:
            break
    return events
