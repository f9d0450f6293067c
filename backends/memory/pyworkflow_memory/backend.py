"""The memory backend: the storage contract in its shortest form.

Everything happens in one step under a lock, so nothing is ever half done. Events are
immutable and shared; the one mutable part of a record, its attributes, is copied on its
way in and out.
"""

from __future__ import annotations

import secrets
import threading
from bisect import bisect_right
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from pyworkflow_core.checks import read_cursor, write_cursor
from pyworkflow_core.errors import ConfigurationError, FeedPositionLost
from pyworkflow_core.record import copy_record
from pyworkflow_core.sequencing import answer_moved
from pyworkflow_core.storage import (
    Answer,
    Append,
    Capabilities,
    Claim,
    Committed,
    Conflict,
    FeedPage,
    Page,
    RunQuery,
    StorageBackend,
)

from .due import DueRuns, Run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyworkflow_core.events import Event
    from pyworkflow_core.record import RunRecord


class _Store:
    """What the handles of one name share."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.runs: dict[str, Run] = {}
        self.buried: set[tuple[str, str]] = set()  # run ids and incarnations that were deleted
        self.due = DueRuns()
        self.order: list[tuple[int, str]] = []  # (-created_at, run id); sorted when listed
        self.sorted = True
        self.feed: list[tuple[list[Event], int, int]] = []  # log, first and last index of an append
        self.tag = secrets.token_hex(4)


_named: dict[str, _Store] = {}


class InMemoryStorageBackend(StorageBackend):
    """Keeps runs in this process's memory.

    Args:
        name: handles of equal name share one store; None makes a store of its own.
    """

    capabilities = Capabilities(feed=True)

    def __init__(self, name: str | None = None) -> None:
        self._store = _Store() if name is None else _named.setdefault(name, _Store())

    async def _open(self) -> None:
        pass

    async def _close(self) -> None:
        self._store = _Store()

    async def _commit(self, appends: Sequence[Append], within: Any) -> list[Answer]:
        store = self._store
        with store.lock:
            return [_append(store, append) for append in appends]

    async def _read(self, run_id: str, after: int, limit: int | None) -> list[Event]:
        with self._store.lock:
            run = self._store.runs.get(run_id)
            return [] if run is None else run.events[after : None if limit is None else after + limit]

    async def _get(self, run_id: str) -> RunRecord | None:
        run = self._store.runs.get(run_id)
        return None if run is None else copy_record(run.record)

    async def _find(self, query: RunQuery, cursor: str | None, limit: int) -> Page:
        store = self._store
        created_at, run_id = read_cursor(cursor) if cursor is not None else (0, "")
        with store.lock:
            if not store.sorted:
                store.order.sort()
                store.sorted = True
            place = 0 if cursor is None else bisect_right(store.order, (-created_at, run_id))
            found: list[RunRecord] = []
            for key in store.order[place:]:
                run = store.runs.get(key[1])
                # A deleted run leaves its key behind until the id comes up here.
                if run is None or run.record.created_at != -key[0] or not query.matches(run.record):
                    continue
                if found and found[-1].run_id == key[1]:
                    continue
                if len(found) == limit:
                    return Page(found, write_cursor(found[-1]))
                found.append(copy_record(run.record))
            return Page(found, None)

    async def _claim(
        self, owner: str, now: int, lease: int, limit: int, queues: tuple[str, ...] | None, run_id: str | None
    ) -> list[Claim]:
        store = self._store
        claims: list[Claim] = []
        with store.lock:
            if run_id is not None:
                run = store.runs.get(run_id)
                due = run.due_at() if run is not None else None
                if run is None or due is None or due > now:
                    return []
                if queues is not None and run.record.queue not in queues:
                    return []
                return [_lease(store, run, owner, now + lease)]
            taken = store.due.take(now, queues)
            while len(claims) < limit and (run := next(taken, None)) is not None:
                claims.append(_lease(store, run, owner, now + lease))
        return claims

    async def _extend(self, claim: Claim, until: int) -> bool:
        return self._set_lease(claim, until)

    async def _release(self, claim: Claim) -> bool:
        return self._set_lease(claim, None)

    def _set_lease(self, claim: Claim, until: int | None) -> bool:
        store = self._store
        with store.lock:
            run = store.runs.get(claim.run_id)
            if run is None or run.token != claim.token:
                return False
            run.token = None if until is None else claim.token
            run.until = until or 0
            store.due.put(run)
            return True

    async def _delete(self, run_id: str, expected: int) -> None:
        store = self._store
        with store.lock:
            run = store.runs.get(run_id)
            if run is None:
                return
            if run.record.head != expected:
                raise ValueError(
                    f"run {run_id!r}: its head is {run.record.head}, not {expected}; nothing was removed"
                )
            del store.runs[run_id]
            store.buried.add((run_id, run.record.incarnation))
            store.due.remove(run)
            run.events.clear()  # the feed shares this list

    async def _feed(self, after: str | None, limit: int) -> FeedPage:
        store = self._store
        with store.lock:
            entry, offset = (0, 0) if after is None else _read_position(store, after)
            events: list[Event] = []
            while entry < len(store.feed) and len(events) < limit:
                log, start, stop = store.feed[entry]
                events += log[start + offset : min(stop, start + offset + limit - len(events))]
                if log and len(events) == limit and log[stop - 1] is not events[-1]:
                    offset = events[-1].sequence - start
                else:
                    entry, offset = entry + 1, 0
            return FeedPage(events, f"{store.tag}.{entry}.{offset}")


def _append(store: _Store, append: Append) -> Answer:
    run_id = append.run_id
    run = store.runs.get(run_id)
    head = 0 if run is None else run.record.head
    own = run is None or run.record.incarnation == append.incarnation
    if append.expected != head or not own:
        stored = run.events[append.expected : append.expected + len(append.events)] if run and own else []
        return answer_moved(append, head, stored)
    record = copy_record(append.record)
    if run is None:
        if (run_id, append.incarnation) in store.buried:
            return Conflict(run_id, 0)  # written for the run that was deleted
        run = store.runs[run_id] = Run(record)
        _list(store, record)
        moved = True
    else:
        old = run.record
        moved = old.wake_at != record.wake_at or old.queue != record.queue or old.priority != record.priority
        if old.created_at != record.created_at:
            _list(store, record)
        run.record = record
    run.events += append.events
    store.feed.append((run.events, head, record.head))
    change = append.lease
    if change is not None and run.token in (None, change.token):
        run.token = None if change.until is None else change.token
        run.owner, run.until = change.owner, change.until or 0
        moved = True
    if moved:
        store.due.put(run)
    return Committed(run_id, record.head)


def _list(store: _Store, record: RunRecord) -> None:
    store.order.append((-record.created_at, record.run_id))
    store.sorted = False


def _lease(store: _Store, run: Run, owner: str, until: int) -> Claim:
    run.token, run.owner, run.until = secrets.token_hex(8), owner, until
    store.due.put(run)
    return Claim(run.record.run_id, owner, run.token, until, copy_record(run.record))


def _read_position(store: _Store, position: str) -> tuple[int, int]:
    tag, _, place = position.partition(".")
    entry, _, offset = place.partition(".")
    if tag == store.tag and entry.isdecimal() and offset.isdecimal() and int(entry) <= len(store.feed):
        return int(entry), int(offset)
    raise FeedPositionLost(f"{position!r} is no feed position of this store; begin again with None")


def open_url(url: str) -> InMemoryStorageBackend:
    """Make a handle from ``memory://`` (a store of its own) or ``memory://name`` (shared by name).

    Raises:
        ConfigurationError: the URL has options; there are none.
    """
    parts = urlsplit(url)
    if parts.query or parts.fragment:
        raise ConfigurationError(
            f"{url!r}: the memory backend has no options; write memory:// or memory://name"
        )
    return InMemoryStorageBackend(_name(url))


def forget(url: str) -> None:
    """Drop the store of ``memory://name``; open handles keep what they have."""
    _named.pop(_name(url) or "", None)


def _name(url: str) -> str | None:
    return unquote(url.partition(":")[2].lstrip("/")) or None
