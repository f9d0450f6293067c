"""Listings across buckets: each bucket answers in order, and the answers are merged."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from heapq import merge
from typing import Any

import msgspec

from pyworkflow_core.checks import read_cursor, write_cursor
from pyworkflow_core.record import RunRecord, RunStatus
from pyworkflow_core.storage import Page, RunQuery

from .keys import newest_first
from .rows import decode_row

BUDGET = 2000
"""Runs that a server looks at in one go; it does nothing else meanwhile."""

_LARGEST_PAGE = 1000
_FIRST, _LAST = -(2**63), 2**63 - 1

Ask = Callable[[list[tuple[int, tuple[Any, ...]]]], Awaitable[list[Any]]]
"""Has the script run in buckets, with these arguments."""


def _bounds(query: RunQuery, cursor: str | None) -> tuple[bytes, bytes] | None:
    """Where in a listing to begin and to end; None if nothing can lie between."""
    newest = _LAST if query.created_before is None else query.created_before - 1
    oldest = _FIRST if query.created_from is None else query.created_from
    if newest < oldest or newest < _FIRST or oldest > _LAST:
        return None
    begin = b"[" + newest_first(newest)
    if cursor is not None:
        created_at, run_id = read_cursor(cursor)
        if created_at <= newest:
            begin = b"(" + newest_first(created_at) + run_id.encode("utf-8", "replace")
    return begin, b"+" if oldest <= _FIRST else b"(" + newest_first(oldest - 1)


def _groups(query: RunQuery) -> list[list[str]]:
    """Listings that hold all that match, in groups; each group would do."""
    groups = [[f"i:s:{status}" for status in query.status or RunStatus]]
    if query.workflow:
        groups.append([f"i:w:{query.workflow}"])
    if query.queue is not None and query.queue != "default":
        groups.append([f"i:q:{query.queue}"])
    if query.parent is not None:
        groups.append([f"i:p:{query.parent}"])
    for name, value in query.attributes.items():
        groups.append([f"i:a:{len(name.encode())}:{name}={value}"])
    return groups


def _pattern(query: RunQuery) -> bytes:
    wanted: dict[str, Any] = {}
    if query.status is not None:
        wanted["status"] = {str(status): True for status in query.status}
    for name in ("workflow", "queue", "parent"):
        if (value := getattr(query, name)) is not None:
            wanted[name] = value
    if query.attributes:
        wanted["attributes"] = query.attributes
    return msgspec.json.encode(wanted)


_Place = tuple[bytes, bytes]
_Found = tuple[bytes, bytes, RunRecord]
_END = (b"\xff" * 9, b"")


def _place(found: _Found) -> _Place:
    return found[0], found[1]


class _Stream:
    """What a bucket has found, and where it would go on."""

    def __init__(self, bucket: int, begin: bytes) -> None:
        self.bucket = bucket
        self.next = begin
        self.found: list[_Found] = []

    @property
    def reached(self) -> _Place:
        """Everything up to here is found."""
        return self.next[1:9], self.next[9:]

    def take(self, answer: list[Any]) -> None:
        self.next, *pairs = answer
        for run_id, row in zip(pairs[::2], pairs[1::2], strict=True):
            record = decode_row(run_id.decode(), row)
            self.found.append((newest_first(record.created_at), run_id, record))


async def find(ask: Ask, buckets: int, query: RunQuery, cursor: str | None, limit: int) -> Page:
    """One page of the runs that match, newest first, then by id."""
    bounds = _bounds(query, cursor)
    if bounds is None or (query.status is not None and not query.status):
        return Page([], None)
    limit = min(limit, _LARGEST_PAGE)
    begin, upto = bounds
    fixed = (upto, _pattern(query), *(word for group in _groups(query) for word in (len(group), *group)))
    streams = [_Stream(bucket, begin) for bucket in range(buckets)]
    wanted = limit + 1
    share = wanted if buckets == 1 else min(wanted, 2 * wanted // buckets + 4)
    asked = streams
    page: list[_Found] = []
    while asked:
        answers = await ask([(s.bucket, (share, BUDGET, s.next, *fixed)) for s in asked])
        for stream, answer in zip(asked, answers, strict=True):
            stream.take(answer)
        page, end = _first(streams, wanted)
        # Those go on whose finds are all in the page, which may therefore lack what they find next.
        asked = [s for s in streams if s.next and (not s.found or _place(s.found[-1]) <= end)]
        if len(page) == wanted:
            break
    records = [record for _, _, record in page[:limit]]
    return Page(records, write_cursor(records[-1]) if len(page) == wanted else None)


def _first(streams: list[_Stream], count: int) -> tuple[list[_Found], _Place]:
    """The first runs of all streams, up to the place behind which one of them may find more."""
    end = min((stream.reached for stream in streams if stream.next), default=_END)
    page: list[_Found] = []
    for entry in merge(*(stream.found for stream in streams), key=_place):
        if len(page) == count or _place(entry) > end:
            break
        page.append(entry)
    return page, end
