"""What a worker may take up: due runs, and of queues with limits only those that have a slot.

Of a queue with limits no more runs are claimed than it has room for, so that the others wait in
the storage, in its order, and cost nothing. A run that was claimed and may not be driven yet,
because its key has no slot, or because the worker serves every queue and cannot leave one out, is
put aside: its lease is kept, so that nobody claims it in a circle, and it is driven as soon as
there is a slot. If this process dies, the lease ends and others find the run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Protocol

import msgspec

from pyworkflow_core.payloads import SlotsChanged
from pyworkflow_core.record import RunRecord, RunStatus
from pyworkflow_core.storage import Claim

from ..definitions import get_workflow_version
from ..engine.engine import Engine
from ..engine.limiter import Limiter
from ..engine.slots import Slots, Wanted
from ..errors import WorkflowNotRegisteredError
from ..queues import QueueLimits, get_queue_limits

_ASIDE = 4  # leases of a run that is put aside are so many times as long
_AT_ONCE = 100
_TURNS = 20


class Claiming(Protocol):
    """How due runs are claimed."""

    async def __call__(
        self, limit: int, queues: Sequence[str] | None, run_id: str | None = None
    ) -> list[Claim]:
        """Claim at most `limit` runs of these queues, or this run."""


class Gate:
    """Claims for one worker.

    Args:
        engine: what the process's runs share.
        queues: the worker's queues; None for every queue.
        claim: claims due runs.

    Attributes:
        next_look: when something may change that nobody tells; None if nothing does.
    """

    def __init__(self, engine: Engine, queues: Sequence[str] | None, claim: Claiming) -> None:
        self.next_look: int | None = None
        self._engine = engine
        self._queues = queues
        self._claim = claim
        self._limiters: dict[str, Limiter] = {}
        self._aside: dict[str, dict[str, Claim]] = {}
        self._returned: dict[str, set[int]] = {}
        self._held: dict[str, tuple[str, int]] = {}
        self._next_check: dict[str, int] = {}
        self._ready: list[Claim] = []
        self._fresh: set[str] = set()
        self._turn = -1

    @property
    def waiting(self) -> int:
        """How many runs are put aside."""
        return sum(len(aside) for aside in self._aside.values())

    async def claim(self, most: int) -> list[Claim]:
        """Claim up to `most` due runs that may be driven now.

        Raises:
            StorageError: the storage cannot be used; what was claimed until then comes next time.
        """
        limits = self._limits()
        if not limits and not self._aside and not self._ready:
            return await self._claim(most, self._queues)
        self.next_look = None
        self._fresh.clear()
        await self._release(self._aside.keys() - limits.keys())
        others = None if self._queues is None else [q for q in self._queues if q not in limits]
        # Each look begins with another queue, so that none is left over for ever when there is much to do.
        sources: list[str | None] = [*limits, None]
        self._turn = (self._turn + 1) % len(sources)
        for queue in sources[self._turn :] + sources[: self._turn]:
            if queue is None:
                await self._from_others(others, limits, most)
            else:
                await self._from_queue(queue, limits[queue], most)
        await self._keep_aside()
        ready, self._ready = self._ready[:most], self._ready[most:]
        return ready

    def left(self, run_id: str, *, gives_back: bool) -> None:
        """A run is no longer driven here.

        Args:
            run_id: the run.
            gives_back: whether its slot is free. It is not if another process may drive the run,
                or if the run has yet to be recovered.
        """
        queue, number = self._held.pop(run_id, ("", 0))
        if queue and gives_back:
            self._returned.setdefault(queue, set()).add(number)

    async def close(self) -> None:
        """Give back slots and runs.

        Raises:
            StorageError: the storage cannot be used; others find out when the leases end.
        """
        for claim in self._ready:
            queue, number = self._held.pop(claim.run_id, ("", 0))
            if queue:
                self._returned.setdefault(queue, set()).add(number)
            await self._engine.storage.release(claim)
        self._ready.clear()
        await self._release(list(self._aside))
        for queue in [queue for queue, numbers in self._returned.items() if numbers]:
            await self._settle(queue, QueueLimits(), 0)

    # ---- one queue with limits -----------------------------------------------------

    def _limits(self) -> dict[str, QueueLimits]:
        limits = get_queue_limits()
        if self._queues is None or not limits:
            return limits
        return {queue: limits[queue] for queue in self._queues if queue in limits}

    async def _from_queue(self, queue: str, limits: QueueLimits, most: int) -> None:
        limiter = self._limiter(queue)
        await limiter.look()
        clock = self._engine.clock
        full = limiter.slots.room(limits, clock.now(), self._returned.get(queue, ())) == 0
        if full or self._aside.get(queue):
            await self._check(limiter)
        await self._settle(queue, limits, most)
        for turn in range(_TURNS):
            room = min(limiter.slots.room(limits, clock.now()), most - len(self._ready))
            if room <= 0:
                break
            # Runs whose key has no slot may stand in front of many that could go.
            limit = room if limits.per_key_concurrency is None else max(room, min(2**turn, _AT_ONCE))
            claims = await self._claim(limit, [queue])
            self._sort_out(claims, {queue: limits})
            await self._settle(queue, limits, most)
            if len(claims) < limit:
                break
        if self._queues is not None:
            await self._release_those_for_others(limiter.slots, queue, limits)
        self._look_at(limiter.slots.next_token(limits, clock.now()))

    async def _from_others(
        self, queues: Sequence[str] | None, limits: dict[str, QueueLimits], most: int
    ) -> None:
        for _ in range(_TURNS):
            limit = most - len(self._ready)
            if limit <= 0 or (queues is not None and not queues):
                return
            claims = await self._claim(limit, queues)
            for queue in self._sort_out(claims, limits):
                await self._settle(queue, limits[queue], most)
            if len(claims) < limit:
                return

    def _sort_out(self, claims: Iterable[Claim], limits: dict[str, QueueLimits]) -> set[str]:
        """Put aside what needs a slot; the queues of these. The rest is ready."""
        queues = set()
        for claim in claims:
            record = claim.record
            # What has ended only brings others news. What is not known here is not driven here.
            if record.queue not in limits or record.status.is_terminal or not _is_known(record):
                self._ready.append(claim)
                continue
            self._aside.setdefault(record.queue, {})[claim.run_id] = claim
            self._fresh.add(claim.run_id)
            queues.add(record.queue)
        return queues

    async def _settle(self, queue: str, limits: QueueLimits, most: int) -> None:
        """Give slots back, and get some for runs that are put aside, in one append."""
        aside = self._aside.setdefault(queue, {})
        returned = set(self._returned.get(queue, ()))
        if not aside and not returned:
            return
        wanted = [_wanted(claim.record) for claim in sorted(aside.values(), key=_urgency)]
        room = most - len(self._ready)

        def decide(slots: Slots, now: int) -> SlotsChanged | None:
            change = slots.give(wanted, limits, now, most=room, returned=returned)
            return change if change.given or change.returned else None

        change = await self._limiter(queue).change(decide)
        self._returned.get(queue, set()).difference_update(returned)
        for slot in () if change is None else change.given:
            self._held[slot.run_id] = (queue, slot.number)
            await self._let_in(queue, aside[slot.run_id])
            del aside[slot.run_id]

    async def _let_in(self, queue: str, claim: Claim) -> None:
        """A run has its slot: it is ready, as it is now, unless it ended while it was put aside."""
        if claim.run_id not in self._fresh:
            record = await self._engine.storage.get(claim.run_id)
            if record is None or record.status.is_terminal or record.incarnation != claim.record.incarnation:
                self._returned.setdefault(queue, set()).add(self._held.pop(claim.run_id)[1])
                await self._engine.storage.release(claim)
                return
            claim = msgspec.structs.replace(claim, record=record)
        self._ready.append(claim)

    async def _check(self, limiter: Limiter) -> None:
        """Free the slots of runs that ended or left without a word, and take up those of dead processes."""
        engine, queue = self._engine, limiter.queue
        now, lease = engine.clock.now(), engine.settings.lease
        aside = self._aside.setdefault(queue, {})
        slots = [
            slot
            for slot in limiter.slots.holders.values()
            if slot.run_id not in self._held and slot.run_id not in aside
        ]
        if not slots or now < self._next_check.get(queue, 0):
            return
        self._next_check[queue] = now + lease // 3
        gone = self._returned.setdefault(queue, set())
        for slot in slots:
            record = await engine.storage.get(slot.run_id)
            if record is None or record.status.is_terminal:
                gone.add(slot.number)
            elif not _is_suspended(record) or (record.wake_at is not None and record.wake_at <= now):
                # It has a slot, so whoever claims it may drive it.
                claims = await self._claim(1, [queue], slot.run_id)
                if not self._sort_out(claims, {queue: QueueLimits()}) and claims:
                    gone.add(slot.number)  # it is not for this worker to drive, and nobody does
            elif slot.at + lease <= now:
                gone.add(slot.number)

    # ---- runs that are put aside ---------------------------------------------------

    async def _keep_aside(self) -> None:
        """Extend the leases of runs that wait for a slot; those that were lost are others' now."""
        engine = self._engine
        now, span = engine.clock.now(), engine.settings.lease * _ASIDE
        late = [
            (aside, claim)
            for aside in self._aside.values()
            for claim in aside.values()
            if claim.until - now < span // 2
        ]
        for first in range(0, len(late), _AT_ONCE):
            some = late[first : first + _AT_ONCE]
            kept = await asyncio.gather(*(engine.storage.extend(claim, now + span) for _, claim in some))
            for (aside, claim), is_ours in zip(some, kept, strict=True):
                if is_ours:
                    aside[claim.run_id] = msgspec.structs.replace(claim, until=now + span)
                else:
                    del aside[claim.run_id]
        if self.waiting:
            self._look_at(now + engine.settings.lease)

    async def _release(self, queues: Iterable[str]) -> None:
        for queue in list(queues):
            for claim in self._aside.pop(queue, {}).values():
                await self._engine.storage.release(claim)

    async def _release_those_for_others(self, slots: Slots, queue: str, limits: QueueLimits) -> None:
        """Runs that only wait for room in the queue wait in the storage; those of a full key stay aside."""
        aside = self._aside.get(queue)
        if not aside:
            return
        most = limits.per_key_concurrency
        held = slots.by_key()
        for claim in list(aside.values()):
            key = claim.record.detail.concurrency_key
            if most is None or key is None or held[key] < most:
                del aside[claim.run_id]
                await self._engine.storage.release(claim)

    def _limiter(self, queue: str) -> Limiter:
        if queue not in self._limiters:
            self._limiters[queue] = Limiter(self._engine, queue)
        return self._limiters[queue]

    def _look_at(self, when: int | None) -> None:
        if when is not None and (self.next_look is None or when < self.next_look):
            self.next_look = when


def _is_known(record: RunRecord) -> bool:
    try:
        get_workflow_version(record.workflow, record.detail.workflow_version)
    except WorkflowNotRegisteredError:
        return False
    return True


def _is_suspended(record: RunRecord) -> bool:
    return record.status is RunStatus.SUSPENDED or record.status is RunStatus.PENDING


def _wanted(record: RunRecord) -> Wanted:
    detail = record.detail
    begins = record.status is RunStatus.PENDING and detail.continued_from is None
    return Wanted(record.run_id, detail.concurrency_key or "", begins)


def _urgency(claim: Claim) -> tuple[int, int, str]:
    record = claim.record
    return record.priority, record.wake_at or 0, record.run_id
