"""The feed: every run's events, in each run's order, read from the oplog through a change stream.

The stream only tells which appends there were, in the order in which they were committed; the events
are read from the runs, which never change what they have. So a deleted run's events are gone from the
feed, and no document is sent twice.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import msgspec
from bson.timestamp import Timestamp
from msgspec import Struct
from pymongo.errors import PyMongoError

from pyworkflow_core.events import Event
from pyworkflow_core.storage import FeedPage, Position

from . import faults
from .documents import Document
from .driver import open_stream
from .namespace import Collections
from .positions import Scan, Stream, next_moment, read_position, write_position
from .reading import LOG_FIELDS, Slice, read_slice

_SPAN = "updateDescription.updatedFields.span"
_APPENDS: list[Document] = [
    {"$match": {"$or": [{"fullDocument.span": {"$type": "string"}}, {_SPAN: {"$type": "string"}}]}},
    {"$project": {"documentKey": 1, "fullDocument.span": 1, _SPAN: 1}},
]
_NOW = Timestamp(0, 0)
_AWAIT_MS = 20
_AT_ONCE = 500


class Span(Struct, frozen=True):
    """Events of a run that the stream, or a look at the runs, tells of.

    Attributes:
        part: run and sequences.
        incarnation: the run's.
        before: the place at its begin.
        behind: the place behind all of it.
    """

    part: Slice
    incarnation: str
    before: Scan | Stream
    behind: Scan | Stream


class _Opened(Struct):
    """A change stream that stands at a position, with what it has told beyond it."""

    position: Position
    stream: Any
    ahead: list[Span]


class Feed:
    """Reads pages of the feed, and keeps its change stream open from one page to the next.

    Args:
        collections: whose feed.
        name: the namespace's name in positions.
    """

    def __init__(self, collections: Collections, name: str) -> None:
        self._collections = collections
        self._name = name
        self._opened: _Opened | None = None

    async def page(self, after: Position | None, limit: int) -> FeedPage:
        """See `StorageBackend.feed`.

        Raises:
            FeedPositionLost: the position is none of this feed, or the oplog does not reach back to it.
        """
        place = Scan(_NOW, "", 0) if after is None else read_position(self._name, after)
        try:
            while isinstance(place, Scan):
                spans, rest = await self._scan(place, limit)
                events, left = await self._read(spans, limit)
                place = left[0].before if left else rest
                if events or limit == 0:
                    return FeedPage(events, write_position(self._name, place))
            return await self._follow(place, limit)
        except PyMongoError as error:
            raise faults.lost_position(error) or faults.typed(error, "the feed") from error

    async def close(self) -> None:
        """Let go of the stream."""
        opened, self._opened = self._opened, None
        if opened is not None:
            await _close(opened)

    # ---- the runs as they were ---------------------------------------------------------

    async def _scan(self, place: Scan, limit: int) -> tuple[list[Span], Scan | Stream]:
        """What runs had at the moment, from a place on, and the place behind all that was looked at."""
        runs, few = self._collections.runs, min(limit, _AT_ONCE) + 1
        concern: Document = {"level": "snapshot"}
        if place.moment != _NOW:
            concern["atClusterTime"] = place.moment
        command = {
            "find": runs.name,
            "filter": {"_id": {"$gte": place.run_id}, "head": {"$gt": 0}},
            "projection": {"inc": 1, "head": 1},
            "sort": {"_id": 1},
            "limit": few,
            "batchSize": few,
            "singleBatch": True,
            "readConcern": concern,
        }
        cursor = (await self._collections.do(self._collections.database.command, command))["cursor"]
        moment: Timestamp = cursor["atClusterTime"]
        if limit == 0:
            return [], Scan(moment, place.run_id, place.sequence)
        spans = []
        for document in cursor["firstBatch"]:
            run_id, head = document["_id"], document["head"]
            known = place.sequence if run_id == place.run_id else 0
            before, behind = Scan(moment, run_id, known), Scan(moment, run_id, head)
            spans.append(Span(Slice(run_id, known, head), document["inc"], before, behind))
        if len(spans) == few:
            return spans, spans[-1].behind
        return spans, Stream(next_moment(moment), "", 0)

    # ---- the change stream -------------------------------------------------------------

    async def _follow(self, place: Stream, limit: int) -> FeedPage:
        position = write_position(self._name, place)
        if limit == 0:
            return FeedPage([], position)
        opened, self._opened = self._opened, None  # nobody else has it now
        if opened is not None and opened.position != position:
            await _close(opened)
            opened = None
        if opened is None:
            stream = await open_stream(
                self._collections.runs, _APPENDS, max_await_time_ms=_AWAIT_MS, **place.where()
            )
            opened = _Opened(position, stream, [])
        try:
            events = await self._advance(opened, place, limit)
        except BaseException:
            await _close(opened)
            raise
        await self.close()  # that of somebody who was quicker
        self._opened = opened
        return FeedPage(events, opened.position)

    async def _advance(self, opened: _Opened, place: Stream, limit: int) -> list[Event]:
        """The next events, none only if there are no more; moves the opened stream behind them."""
        while True:
            spans, rest, ended = opened.ahead, place, False
            while not ended and len(spans) < min(limit, _AT_ONCE):
                change = await self._collections.do(opened.stream.try_next)
                if change is not None:
                    spans.append(_span(change, _stream(spans[-1].behind) if spans else place))
                ended = change is None
            if spans:
                rest = _stream(spans[-1].behind)
            if ended and opened.stream.resume_token is not None:
                rest = Stream(None, opened.stream.resume_token["_data"], 0)
            events, left = await self._read(spans, limit)
            opened.ahead, place = left, _stream(left[0].before) if left else rest
            opened.position = write_position(self._name, place)
            if events or ended:
                return events

    # ---- events ------------------------------------------------------------------------

    async def _read(self, spans: Sequence[Span], limit: int) -> tuple[list[Event], list[Span]]:
        """Up to `limit` events, and what is left of the spans."""
        names = list(dict.fromkeys(span.part.run_id for span in spans))
        what = {"_id": {"$in": names}, "head": {"$gt": 0}}
        found = await self._collections.find(self._collections.runs, what, fields=LOG_FIELDS) if names else []
        documents = {document["_id"]: document for document in found}
        events: list[Event] = []
        for index, span in enumerate(spans):
            document, part = documents.get(span.part.run_id), span.part
            if document is None or document["inc"] != span.incarnation or document["head"] < part.upto:
                continue  # deleted
            upto = min(part.upto, part.after + limit - len(events))
            if upto < part.upto:
                events += await read_slice(self._collections, document, Slice(part.run_id, part.after, upto))
                return events, [_trimmed(span, upto), *spans[index + 1 :]]
            events += await read_slice(self._collections, document, part)
        return events, []


async def _close(opened: _Opened) -> None:
    with contextlib.suppress(PyMongoError):
        await opened.stream.close()


def _stream(place: Scan | Stream) -> Stream:
    assert isinstance(place, Stream)
    return place


def _trimmed(span: Span, sequence: int) -> Span:
    """What is left of a span behind one of its events."""
    part = Slice(span.part.run_id, sequence, span.part.upto)
    return msgspec.structs.replace(
        span, part=part, before=msgspec.structs.replace(span.before, sequence=sequence)
    )


def _span(change: Document, before: Stream) -> Span:
    """The append that a change tells of."""
    told = change.get("fullDocument") or change["updateDescription"]["updatedFields"]
    expected, head, incarnation = told["span"].split(" ", 2)
    part = Slice(change["documentKey"]["_id"], max(int(expected), before.sequence), int(head))
    return Span(part, incarnation, before, Stream(None, change["_id"]["_data"], 0))
