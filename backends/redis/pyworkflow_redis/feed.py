"""The feed across buckets, and its positions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from zlib import crc32

from pyworkflow_core.errors import FeedPositionLost
from pyworkflow_core.events import Event
from pyworkflow_core.storage import FeedPage

from .rows import decode_events

BUDGET = 1000
"""Entries that a server looks at in one go."""

_MOST = 10_000
_DIGITS = 15

Ask = Callable[[list[tuple[int, tuple[Any, ...]]]], Awaitable[list[Any]]]
"""Has the script run in buckets, with these arguments."""

Place = tuple[int, int]
"""An entry of a bucket's feed, and an event within it."""


def read_position(position: str | None, tag: str, buckets: int) -> list[Place]:
    """A place in each bucket.

    Raises:
        FeedPositionLost: it is no position of this namespace.
    """
    if position is None:
        return [(0, 0)] * buckets
    head, *parts = position.split(".")
    places = [_read_place(part) for part in parts]
    if head != tag or len(places) != buckets or None in places:
        raise lost(position)
    return [place for place in places if place is not None]


def _read_place(text: str) -> Place | None:
    entry, colon, event = text.partition(":")
    numbers = (entry, event if colon else "0")
    if all(n.isascii() and n.isdecimal() and len(n) <= _DIGITS for n in numbers):
        return int(entry), int(numbers[1])
    return None


def write_position(tag: str, places: list[Place]) -> str:
    """The position of these places."""
    return ".".join([tag, *(f"{entry}:{event}" if event else f"{entry}" for entry, event in places)])


def lost(position: str) -> FeedPositionLost:
    """The error for a position that means nothing here."""
    return FeedPositionLost(f"{position[:80]!r} is no feed position of this namespace; begin again with None")


async def read(ask: Ask, tag: str, buckets: int, after: str | None, limit: int) -> FeedPage:
    """The next events of all buckets.

    Raises:
        FeedPositionLost: the position is not one of this feed.
    """
    places = read_position(after, tag, buckets)
    limit = min(limit, _MOST)
    # Small pages must not always begin with the same bucket.
    start = crc32((after or "").encode()) % buckets
    open_buckets = [*range(start, buckets), *range(start)]
    events: list[Event] = []
    while open_buckets and len(events) < limit:
        share = max(1, -(-(limit - len(events)) // len(open_buckets)))
        answers = await ask([(b, (*places[b], share, BUDGET)) for b in open_buckets])
        more = []
        for bucket, answer in zip(open_buckets, answers, strict=True):
            if answer is None:
                raise lost(after or "")
            entry, event, follows, *stretches = answer
            found = _read_stretches(stretches)
            if len(events) + len(found) > limit:
                continue  # read again by the next page
            events += found
            places[bucket] = entry, event
            if follows:
                more.append(bucket)
        open_buckets = more
    return FeedPage(events, write_position(tag, places))


def _read_stretches(stretches: list[Any]) -> list[Event]:
    events = []
    for run_id, after, entries in zip(stretches[::3], stretches[1::3], stretches[2::3], strict=True):
        events += decode_events(run_id.decode(), after, entries)
    return events
