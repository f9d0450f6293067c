"""Storages around a storage: they kill, intrude and watch at chosen appends."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from msgspec import Raw

from pyworkflow_core.events import Event, UnknownPayload, encode_body
from pyworkflow_core.ids import IdSource
from pyworkflow_core.payloads import Payload
from pyworkflow_core.record import RunRecord, evolve
from pyworkflow_core.storage import (
    Answer,
    Append,
    Claim,
    Committed,
    Limits,
    Page,
    RunQuery,
    StorageBackend,
)


class Killed(BaseException):
    """The process is dead: nothing that it does from here on reaches the storage."""


class Wrapper(StorageBackend):
    """Passes everything on to `inner`; a test overrides what it wants to disturb.

    Attributes:
        commits: appends that were sent so far.
    """

    def __init__(self, inner: StorageBackend, *, limits: Limits | None = None) -> None:
        self.inner = inner
        self.capabilities = inner.capabilities
        self.limits = limits or inner.limits
        self.commits = 0

    async def _open(self) -> None:
        await self.inner.open()

    async def _close(self) -> None:
        pass

    async def before(self, appends: Sequence[Append]) -> None:
        """Called before each commit."""

    async def after(self, appends: Sequence[Append], answers: list[Answer]) -> None:
        """Called after each commit."""

    async def _commit(self, appends: Sequence[Append], within: Any) -> list[Answer]:
        self.commits += 1
        await self.before(appends)
        answers = await self.inner.commit(appends)
        await self.after(appends, answers)
        return answers

    async def _read(self, run_id: str, after: int, limit: int | None) -> list[Event]:
        return await self.inner.read(run_id, after=after, limit=limit)

    async def _get(self, run_id: str) -> RunRecord | None:
        return await self.inner.get(run_id)

    async def _find(self, query: RunQuery, cursor: str | None, limit: int) -> Page:
        return await self.inner.find(query, cursor=cursor, limit=limit)

    async def _claim(
        self, owner: str, now: int, lease: int, limit: int, queues: tuple[str, ...] | None, run_id: str | None
    ) -> list[Claim]:
        return await self.inner.claim(
            owner=owner, now=now, lease=lease, limit=limit, queues=queues, run_id=run_id
        )

    async def _extend(self, claim: Claim, until: int) -> bool:
        return await self.inner.extend(claim, until)

    async def _release(self, claim: Claim) -> bool:
        return await self.inner.release(claim)

    async def _delete(self, run_id: str, expected: int) -> None:
        await self.inner.delete(run_id, expected=expected)


class KillingStorage(Wrapper):
    """Kills its process around the n-th commit: before it is made, or before it is acknowledged."""

    def __init__(self, inner: StorageBackend, at: int, *, acknowledged: bool) -> None:
        super().__init__(inner)
        self._at = at
        self._after = acknowledged
        self.dead = False

    async def before(self, appends: Sequence[Append]) -> None:
        if self.dead or (self.commits == self._at and not self._after):
            self.dead = True
            raise Killed

    async def after(self, appends: Sequence[Append], answers: list[Answer]) -> None:
        if self.commits == self._at:
            self.dead = True
            raise Killed

    async def _release(self, claim: Claim) -> bool:
        if self.dead:
            raise Killed
        return await super()._release(claim)


class DisturbedStorage(Wrapper):
    """Calls `disturb` with the run id just before chosen commits."""

    def __init__(
        self,
        inner: StorageBackend,
        disturb: Callable[[str], Awaitable[object]],
        when: Callable[[int], bool],
        *,
        limits: Limits | None = None,
    ) -> None:
        super().__init__(inner, limits=limits)
        self._disturb = disturb
        self._when = when

    async def before(self, appends: Sequence[Append]) -> None:
        if self._when(self.commits):
            await self._disturb(appends[0].run_id)


NOISE = UnknownPayload("test.noise", Raw(b"{}"))


async def append_from_outside(
    storage: StorageBackend, run_id: str, payload: Payload | UnknownPayload, ids: IdSource, at: int
) -> bool:
    """Append one event where the log ends; False if there is no such run, or it has ended."""
    while True:
        record = await storage.get(run_id)
        if record is None or record.status.is_terminal:
            return False
        event = Event(run_id, record.head + 1, ids.event_id(), encode_body(payload, at))
        after = evolve(record, [event])
        (answer,) = await storage.commit([Append(run_id, record.incarnation, record.head, (event,), after)])
        if isinstance(answer, Committed):
            return True
