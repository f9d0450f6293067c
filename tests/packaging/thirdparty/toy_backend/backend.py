"""Runs in a dictionary. Nothing here awaits, so each method is one atomic step."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pyworkflow_core.checks import read_cursor, write_cursor
from pyworkflow_core.errors import EventIdReused
from pyworkflow_core.events import Event
from pyworkflow_core.record import RunRecord
from pyworkflow_core.storage import (
    Answer,
    Append,
    Capabilities,
    Claim,
    Committed,
    Conflict,
    LeaseChange,
    Page,
    Refused,
    RunQuery,
    StorageBackend,
)


@dataclass
class _Run:
    record: RunRecord
    events: list[Event] = field(default_factory=list)
    token: str = ""
    lease_until: int = 0


class ToyBackend(StorageBackend):
    """Keeps runs until it is closed."""

    capabilities = Capabilities()

    def __init__(self) -> None:
        self._runs: dict[str, _Run] = {}

    async def _open(self) -> None:
        """Nothing to connect to."""

    async def _close(self) -> None:
        self._runs.clear()

    async def _commit(self, appends: Sequence[Append], within: Any) -> list[Answer]:
        return [self._append(append) for append in appends]

    def _append(self, append: Append) -> Answer:
        run = self._runs.get(append.run_id)
        head = run.record.head if run is not None else 0
        if run is not None and run.record.incarnation != append.incarnation:
            return Conflict(append.run_id, head)
        if head != append.expected:
            return _settle(append, run.events if run is not None else [])
        if run is None:
            run = self._runs[append.run_id] = _Run(append.record)
        run.record = append.record
        run.events.extend(append.events)
        if append.lease is not None:
            _change_lease(run, append.lease)
        return Committed(append.run_id, run.record.head)

    async def _read(self, run_id: str, after: int, limit: int | None) -> list[Event]:
        run = self._runs.get(run_id)
        events = run.events[after:] if run is not None else []
        return events if limit is None else events[:limit]

    async def _get(self, run_id: str) -> RunRecord | None:
        run = self._runs.get(run_id)
        return run.record if run is not None else None

    async def _find(self, query: RunQuery, cursor: str | None, limit: int) -> Page:
        found = sorted((r.record for r in self._runs.values() if query.matches(r.record)), key=_newest_first)
        if cursor is not None:
            created_at, run_id = read_cursor(cursor)
            found = [r for r in found if _newest_first(r) > (-created_at, run_id)]
        page = found[:limit]
        return Page(page, write_cursor(page[-1]) if len(found) > limit else None)

    async def _claim(
        self, owner: str, now: int, lease: int, limit: int, queues: tuple[str, ...] | None, run_id: str | None
    ) -> list[Claim]:
        due = [
            run
            for run in self._runs.values()
            if run.record.wake_at is not None
            and max(run.record.wake_at, run.lease_until) <= now
            and (queues is None or run.record.queue in queues)
            and (run_id is None or run.record.run_id == run_id)
        ]
        due.sort(key=lambda run: (run.record.priority, run.record.wake_at, run.record.run_id))
        claims = []
        for run in due[:limit]:
            run.token, run.lease_until = secrets.token_hex(16), now + lease
            claims.append(Claim(run.record.run_id, owner, run.token, run.lease_until, run.record))
        return claims

    async def _extend(self, claim: Claim, until: int) -> bool:
        run = self._holder(claim)
        if run is None:
            return False
        run.lease_until = until
        return True

    async def _release(self, claim: Claim) -> bool:
        run = self._holder(claim)
        if run is None:
            return False
        run.token, run.lease_until = "", 0
        return True

    def _holder(self, claim: Claim) -> _Run | None:
        run = self._runs.get(claim.run_id)
        return run if run is not None and run.token == claim.token else None

    async def _delete(self, run_id: str, expected: int) -> None:
        run = self._runs.get(run_id)
        if run is None:
            return
        if run.record.head != expected:
            raise ValueError(f"run {run_id!r} is at event {run.record.head}, not at {expected}")
        del self._runs[run_id]


def open_url(url: str) -> ToyBackend:
    """Make a new, empty backend; everything behind the scheme is ignored."""
    return ToyBackend()


def _settle(append: Append, events: list[Event]) -> Answer:
    """Say whether an append that comes too late is one that is already in the log."""
    there = events[append.expected : append.expected + len(append.events)]
    if [e.event_id for e in there] != [e.event_id for e in append.events]:
        return Conflict(append.run_id, len(events))
    if [e.body for e in there] != [e.body for e in append.events]:
        return Refused(append.run_id, EventIdReused(f"run {append.run_id!r}: an event id with another body"))
    return Committed(append.run_id, append.record.head)


def _change_lease(run: _Run, change: LeaseChange) -> None:
    if run.token not in ("", change.token):
        return
    if change.until is None:
        run.token, run.lease_until = "", 0
    else:
        run.token, run.lease_until = change.token, change.until


def _newest_first(record: RunRecord) -> tuple[int, str]:
    return -record.created_at, record.run_id
