"""The feed: the journal in its own order, from a position on.

A position is ``segment.generation.offset.events``: a place in one file, and how many events
of the line there were handed out already. Compaction makes a new file, in which old
positions mean nothing; they are refused, never guessed.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from pyworkflow_core.errors import FeedPositionLost
from pyworkflow_core.storage import FeedPage

from .lines import decode_line
from .segments import Place

if TYPE_CHECKING:
    from pyworkflow_core.events import Event

    from .store import Store

_POSITION = re.compile(r"(\d{1,8})\.(\d{1,4})\.(\d{1,18})\.(\d{1,9})", re.ASCII)


def read_feed(store: Store, after: str | None, limit: int) -> FeedPage:
    """The next events of all living runs."""
    store.follow_compaction()
    place, skip = (Place(1, 0), 0) if after is None else _read_position(store, after)
    events: list[Event] = []
    if limit > 0:
        for at, line in store.journal.lines(place, store.journal.end):
            parsed = decode_line(line)
            head = store.head(parsed.run_id)
            if head is not None and head.record.incarnation == parsed.incarnation:
                fresh = parsed.to_events()[skip:]
                room = limit - len(events)
                if len(fresh) > room:
                    events += fresh[:room]
                    return FeedPage(events, _write_position(store, at, skip + room))
                events += fresh
            place, skip = Place(at.segment, at.offset + len(line)), 0
            if len(events) == limit:
                break
    return FeedPage(events, _write_position(store, place, skip))


def _write_position(store: Store, place: Place, skip: int) -> str:
    if place.segment < store.journal.end.segment and place.offset >= _size(store, place.segment):
        place = Place(place.segment + 1, 0)  # a position that outlives compaction of the segment before
    return f"{place.segment}.{store.journal.generations[place.segment]}.{place.offset}.{skip}"


def _size(store: Store, segment: int) -> int:
    end = store.journal.end
    return end.offset if segment == end.segment else os.path.getsize(store.journal.path(segment))


def _read_position(store: Store, position: str) -> tuple[Place, int]:
    match = _POSITION.fullmatch(position)
    if match is not None:
        segment, generation, offset, skip = (int(part) for part in match.groups())
        if store.journal.generations.get(segment) == generation and _is_boundary(store, segment, offset):
            return Place(segment, offset), skip
    raise FeedPositionLost(f"{position!r} is no position that this store still holds; begin again with None")


def _is_boundary(store: Store, segment: int, offset: int) -> bool:
    """Whether a line of the segment begins or ends there."""
    if offset == 0 or offset > _size(store, segment):
        return offset == 0
    fd = store.disk.open(store.journal.path(segment), os.O_RDONLY)
    try:
        return store.disk.read(fd, 1, offset - 1) == b"\n"
    finally:
        os.close(fd)
