"""Bugs in handles: lifecycle, deleting, namespaces."""

from __future__ import annotations

import asyncio
import threading

from msgspec.structs import replace

from ...errors import StorageClosed
from ...record import RunRecord
from ...storage import Append, Claim
from ..hosts.ram import NAMESPACES, RamStore
from ..hosts.state import Run, State


class ClosesOnce(RamStore):
    """Complains of a second close."""

    async def close(self) -> None:
        """Close an open handle."""
        if self.closed:
            raise StorageClosed("closed already")
        await super().close()


class ReadsWhenClosed(RamStore):
    """Answers what needs no connection, also when it is closed."""

    async def get(self, run_id: str) -> RunRecord | None:
        """The run's record."""
        return await self._get(run_id) if self.closed else await super().get(run_id)

    get_run = get


class OpensAgainWhenClosed(RamStore):
    """Connects on first use, also after the last one."""

    async def _ready(self) -> None:
        self._closed = False
        await super()._ready()


class LeaksKeyErrors(RamStore):
    """Looks up the run of a claim without thinking that it may be deleted."""

    def _held_run(self, state: State, claim: Claim) -> Run | None:
        run = state.runs[claim.run_id]
        return run if run.token == claim.token else None


class LeaksOverflows(RamStore):
    """Hands times on to a driver that takes integers of 64 bits, without looking how large they are."""

    def _is_due(self, run: Run, now: int) -> bool:
        return super()._is_due(run, int.from_bytes(now.to_bytes(8, signed=True), signed=True))


class LeavesItsThread(RamStore):
    """Starts a thread for its heartbeat when it is opened, and does not end it when it is closed."""

    async def _open(self) -> None:
        threading.Thread(target=threading.Event().wait, daemon=True).start()


class LeavesItsTask(RamStore):
    """Starts a task that looks for news when it is opened, and does not end it when it is closed."""

    async def _open(self) -> None:
        self._looking = asyncio.ensure_future(self._look_for_news())

    async def _look_for_news(self) -> None:
        await asyncio.sleep(60)
        await self._look_for_news()


class ForgetsGraves(RamStore):
    """Forgets a deleted run altogether, so that its first append can come again."""

    def _is_buried(self, state: State, append: Append) -> bool:
        return False


class IgnoresIncarnations(RamStore):
    """Compares sequence numbers only, and takes an append for a run that is long deleted."""

    def _is_same_incarnation(self, run: Run, append: Append) -> bool:
        return True


class DeletesOnlyTheLog(RamStore):
    """Deletes the events, and leaves the record."""

    def _bury(self, state: State, run: Run) -> None:
        run.events.clear()
        run.record = replace(run.record, head=0)
        state.buried.add((run.record.run_id, run.record.incarnation))


class LeavesTheDueEntry(RamStore):
    """Deletes log and record, and leaves the row of the run in the table of what is due."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._left: list[Run] = []

    def _bury(self, state: State, run: Run) -> None:
        super()._bury(state, run)
        self._left.append(run)

    def _pick(
        self, state: State, now: int, limit: int, queues: tuple[str, ...] | None, run_id: str | None
    ) -> list[Run]:
        left = [r for r in self._left if self._is_due(r, now) and run_id in (None, r.record.run_id)]
        return (super()._pick(state, now, limit, queues, run_id) + left)[:limit]


class LeavesTheLease(RamStore):
    """Keeps leases in a table by run id, which deleting a run does not touch."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._left: dict[str, Run] = {}

    def _bury(self, state: State, run: Run) -> None:
        super()._bury(state, run)
        self._left[run.record.run_id] = run

    def _apply(self, state: State, append: Append) -> None:
        super()._apply(state, append)
        old, run = self._left.pop(append.run_id, None), self._run(state, append.run_id)
        if old is not None and old.token is not None and run is not None:
            self._set_lease(run, old.owner, old.token, old.until)


class DeletesWhateverIsThere(RamStore):
    """Deletes without looking whether the head is still the expected one."""

    def _deletable(self, state: State, run_id: str, expected: int) -> Run | None:
        return self._run(state, run_id)


class SharesWhatIsDue(RamStore):
    """Keeps what is due in one set for the whole server, whose keys lack the namespace."""

    def _pick(
        self, state: State, now: int, limit: int, queues: tuple[str, ...] | None, run_id: str | None
    ) -> list[Run]:
        runs: list[Run] = []
        for space in NAMESPACES.values():
            runs += super()._pick(space.state, now, limit, queues, run_id)
        return sorted(runs, key=self._claim_order)[:limit]


class SharesRecords(RamStore):
    """Keeps the records of all namespaces in one table, and forgets the namespace where it reads one."""

    async def _get(self, run_id: str) -> RunRecord | None:
        await asyncio.sleep(0)
        found = [self._run(space.state, run_id) for space in (self._space, *NAMESPACES.values())]
        return next((self._copy(run.record) for run in found if run is not None), None)
