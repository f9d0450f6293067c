"""Bugs in claims: who gets a run, for how long, and what moves its wake time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from ...record import RunRecord
from ...storage import Answer, Append, Claim, LeaseChange
from ..hosts.ram import RamStore
from ..hosts.state import Run, State


class KeepsOneDueTime(RamStore):
    """Keeps one due time for wake-ups and leases, which every append sets."""

    def _apply(self, state: State, append: Append) -> None:
        super()._apply(state, append)
        run = self._run(state, append.run_id)
        if run is not None and append.lease is None:
            run.until = append.record.wake_at or 0


class WakesThroughLeases(RamStore):
    """Takes a run whose wake time came after the lease began for due at once."""

    def _due_at(self, run: Run) -> int | None:
        wake_at = run.record.wake_at
        woken = wake_at is not None and wake_at == run.record.updated_at and run.record.head > 1
        return wake_at if woken else super()._due_at(run)


class NeverEndsLeases(RamStore):
    """Looks for runs whose token is null, so that only a release ends a lease."""

    def _is_due(self, run: Run, now: int) -> bool:
        return run.token is None and super()._is_due(run, now)


class EndsLeasesLate(RamStore):
    """Compares the end of a lease with "less", where "less or equal" is meant."""

    def _is_due(self, run: Run, now: int) -> bool:
        return super()._is_due(run, now) and (run.token is None or run.until < now)


class ReleasesByOwner(RamStore):
    """Compares the owner's name where it ought to compare the token."""

    def _held_run(self, state: State, claim: Claim) -> Run | None:
        run = self._run(state, claim.run_id)
        return run if run is not None and run.token is not None and run.owner == claim.owner else None


class ReleasesAnything(RamStore):
    """Extends and releases the run's lease, whoever holds it by now."""

    def _held_run(self, state: State, claim: Claim) -> Run | None:
        run = self._run(state, claim.run_id)
        return run if run is not None and run.token is not None else None


class RevivesLeases(RamStore):
    """Writes the lease back when it is extended, also where it was released or lost."""

    async def _extend(self, claim: Claim, until: int) -> bool:
        await asyncio.sleep(0)
        run = self._run(self._state, claim.run_id)
        if run is not None and run.token in (None, claim.token):
            self._set_lease(run, claim.owner, claim.token, until)
            return True
        return False


class MakesTokensOfNames(RamStore):
    """Makes the token out of run and owner, so that a second claim has the first one's."""

    def _new_claim(self, run: Run, owner: str, until: int) -> Claim:
        return replace(super()._new_claim(run, owner, until), token=f"{run.record.run_id}:{owner}")


class PicksBeforeItTakes(RamStore):
    """Selects due runs, and leases them in a second statement that does not look again."""

    async def _claim(
        self, owner: str, now: int, lease: int, limit: int, queues: tuple[str, ...] | None, run_id: str | None
    ) -> list[Claim]:
        runs = self._pick(self._state, now, limit, queues, run_id)
        await asyncio.sleep(0)
        return [self._take(run, owner, now + lease) for run in runs]


class OrdersByTimeFirst(RamStore):
    """Orders due runs by time, and by priority only among equals."""

    def _claim_order(self, run: Run) -> tuple[int, int, str]:
        priority, due_at, run_id = super()._claim_order(run)
        return due_at, priority, run_id


class PrefersHighNumbers(RamStore):
    """Takes a larger number for the more urgent priority."""

    def _claim_order(self, run: Run) -> tuple[int, int, str]:
        priority, due_at, run_id = super()._claim_order(run)
        return -priority, due_at, run_id


class OrdersByWakeTime(RamStore):
    """Orders by wake time, and forgets that a lease that ended later makes a run due later."""

    def _claim_order(self, run: Run) -> tuple[int, int, str]:
        priority, _, run_id = super()._claim_order(run)
        return priority, run.record.wake_at or 0, run_id


class CutsBeforeOrdering(RamStore):
    """Takes the first due rows that it finds, and orders those."""

    def _pick(
        self, state: State, now: int, limit: int, queues: tuple[str, ...] | None, run_id: str | None
    ) -> list[Run]:
        runs = [r for r in state.runs.values() if self._is_due(r, now) and self._is_wanted_queue(r, queues)]
        runs = [r for r in runs if run_id in (None, r.record.run_id)]
        return sorted(runs[:limit], key=self._claim_order)


class ServesOneQueue(RamStore):
    """Looks at the first of the queues that it is asked for."""

    def _is_wanted_queue(self, run: Run, queues: tuple[str, ...] | None) -> bool:
        return queues is None or run.record.queue == queues[0]


class FoldsQueues(RamStore):
    """Keeps queues in a column whose collation ignores case."""

    def _is_wanted_queue(self, run: Run, queues: tuple[str, ...] | None) -> bool:
        return queues is None or run.record.queue.casefold() in {queue.casefold() for queue in queues}


class ForgetsTheQueueOfOneRun(RamStore):
    """Leaves the queues aside where a run is named."""

    def _pick(
        self, state: State, now: int, limit: int, queues: tuple[str, ...] | None, run_id: str | None
    ) -> list[Run]:
        return super()._pick(state, now, limit, queues if run_id is None else None, run_id)


class SortsNullsFirst(RamStore):
    """Takes a run that has no wake time for one that was due long ago."""

    def _due_at(self, run: Run) -> int | None:
        due_at = super()._due_at(run)
        return run.until if due_at is None and not run.record.status.is_terminal else due_at


class WakesForTheFinished(RamStore):
    """Keeps the due entry of a run that has ended, since only a new wake time replaces it."""

    def _set_record(self, run: Run, record: RunRecord) -> None:
        before = run.record.wake_at
        super()._set_record(run, record)
        if record.status.is_terminal:
            run.record = replace(run.record, wake_at=before)


class ReleasesTheWakeTime(RamStore):
    """Clears the due time at a release, and the wake-up with it."""

    async def _release(self, claim: Claim) -> bool:
        held = await super()._release(claim)
        run = self._run(self._state, claim.run_id)
        if held and run is not None:
            run.record = replace(run.record, wake_at=None)
        return held


class RestoresTheWakeTime(RamStore):
    """Writes the run back at a release as it was when it was claimed."""

    async def _release(self, claim: Claim) -> bool:
        held = await super()._release(claim)
        run = self._run(self._state, claim.run_id)
        if held and run is not None:
            run.record = replace(run.record, wake_at=claim.record.wake_at)
        return held


class PostponesAtClaim(RamStore):
    """Hides a claimed run by moving its wake time to the end of the lease."""

    def _take(self, run: Run, owner: str, until: int) -> Claim:
        claim = super()._take(run, owner, until)
        run.record = replace(run.record, wake_at=until)
        return claim


class PostponesAtExtend(RamStore):
    """Moves the wake time along with the lease when that is extended."""

    async def _extend(self, claim: Claim, until: int) -> bool:
        held = await super()._extend(claim, until)
        run = self._run(self._state, claim.run_id)
        if held and run is not None and run.record.wake_at is not None:
            run.record = replace(run.record, wake_at=until)
        return held


class ForgetsTheAppendsLease(RamStore):
    """Writes log and record, and leaves the lease to the next heartbeat."""

    def _change_lease(self, run: Run, change: LeaseChange) -> None:
        pass


class OnlyReleasesWithAppends(RamStore):
    """Releases a lease with an append, but neither takes nor extends one."""

    def _change_lease(self, run: Run, change: LeaseChange) -> None:
        if change.until is None:
            super()._change_lease(run, change)


class StealsTheLease(RamStore):
    """Lets any append change the lease, whoever holds it."""

    def _change_lease(self, run: Run, change: LeaseChange) -> None:
        self._set_lease(run, change.owner, change.token, change.until)


class ReleasesByAppendingLater(RamStore):
    """Makes the append, and changes the lease in a second step, which a reader can come before."""

    async def _commit(self, appends: Sequence[Append], within: Any) -> list[Answer]:
        bare = [replace(append, lease=None) for append in appends]
        answers = await super()._commit(bare, within)
        for _ in range(3):
            await asyncio.sleep(0)
        for append, answer in zip(appends, answers, strict=True):
            run = self._run(self._state, append.run_id)
            if append.lease is not None and run is not None and answer == self._committed(append):
                self._change_lease(run, append.lease)
        return answers


class ForgetsLeasesOfTheDead(RamStore):
    """Keeps the ends of leases in the handle that gave them; for others a leased run stays leased."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._own: set[str] = set()

    def _take(self, run: Run, owner: str, until: int) -> Claim:
        claim = super()._take(run, owner, until)
        self._own.add(claim.token)
        return claim

    def _is_due(self, run: Run, now: int) -> bool:
        return super()._is_due(run, now) and (run.token is None or run.token in self._own)


class BreaksLeasesFromOutside(RamStore):
    """Clears the lease at every append that does not speak of it."""

    def _apply(self, state: State, append: Append) -> None:
        super()._apply(state, append)
        run = self._run(state, append.run_id)
        if run is not None and append.lease is None and append.record.wake_at != run.until:
            run.token = None


class LosesWakeUpsOfTheLeased(RamStore):
    """Leaves the due entry of a leased run alone; its holder will look, it hopes."""

    def _set_record(self, run: Run, record: RunRecord) -> None:
        before = run.record.wake_at
        leased = run.token is not None
        super()._set_record(run, record)
        if leased:
            run.record = replace(run.record, wake_at=before)
