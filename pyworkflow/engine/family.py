"""The runs that one call of the front door drives in its process: a run, its children, what continues them.

A worker drives what it claims. A program without workers has `start` and `resume` only, and they
take up whatever of the run's family is due: a child that was just started, the parent that was
told of its end, the successor of a run that continued as new. Runs of other queues are left to
the workers of those.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from pyworkflow_core.errors import CodecError, HistoryVersionError, NonDeterminismError, StorageError
from pyworkflow_core.record import RunRecord
from pyworkflow_core.storage import Claim

from ..definitions import get_workflow_version
from ..errors import WorkflowNotRegisteredError
from .clock import Alarm
from .drive import Drive, RunLost
from .engine import Engine
from .history import envelopes_of, open_children
from .outbox import Errand

log = logging.getLogger("pyworkflow")


async def drive_for(
    engine: Engine,
    claim: Claim,
    *,
    linger: int = 0,
    adopt: Callable[[str], object] | None = None,
    make: type[Drive] = Drive,
) -> Drive | Errand:
    """The drive of a claimed run; of one that has ended, the errand that its log still owes.

    Raises:
        WorkflowNotRegisteredError: its workflow, or the run's version of it, is not defined here; the claim
            is released.
    """
    if claim.record.status.is_terminal:
        return Errand(engine, claim)
    try:
        definition = get_workflow_version(claim.record.workflow, claim.record.detail.workflow_version)
    except BaseException:
        await engine.storage.release(claim)
        raise
    return make(engine, definition, claim, linger=linger, adopt=adopt)


async def claim_one(engine: Engine, run_id: str, now: int | None = None) -> Claim | None:
    """Claim a run if it is due and nobody has it; also not this process, whatever its lease says."""
    if run_id in engine.live:
        return None
    claims = await engine.storage.claim(
        owner=engine.owner_name,
        now=engine.clock.now() if now is None else now,
        lease=engine.settings.lease,
        run_id=run_id,
    )
    return claims[0] if claims else None


class Family:
    """The members of a run's family, as far as they are known here.

    Args:
        engine: what the process's runs share.
        queue: runs of this queue are driven here; None for those of every queue.
        linger: waits up to this many microseconds stay in memory.

    Attributes:
        linger: as given.
        errors: what the functions of runs raised that failed here, by run id.
    """

    def __init__(self, engine: Engine, queue: str | None, *, linger: int = 0) -> None:
        self.errors: dict[str, BaseException] = {}
        self._engine = engine
        self._queue = queue
        self.linger = linger
        self._root = ""
        self._members: set[str] = set()
        self._left: set[str] = set()
        self._explored: set[str] = set()
        self._unseen: set[str] = set()
        self._parents: set[str] = set()
        self._wakes: dict[str, int] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._attendant: asyncio.Task[None] | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._changed = False
        self._settling = False
        self.next_wake: int | None = None

    def adopt(self, run_id: str) -> None:
        """Drive this run here, too, whenever it is due."""
        if run_id not in self._left:
            self._members.add(run_id)
            self._unseen.add(run_id)
        if self._attendant is None:
            self._attendant = asyncio.get_running_loop().create_task(self._attend())
        self._note_change()

    async def settle(self, run_id: str) -> None:
        """Drive the run and its family until none of them is due.

        Raises:
            NonDeterminismError: the run's code no longer matches its history; that of another
                member is logged.
            StorageError: the storage cannot be used.
        """
        self._root = run_id
        self._unseen |= self._members  # other processes may have been at them
        self.adopt(run_id)
        self._settling = True
        assert self._attendant is not None
        try:
            await self._attendant
        finally:
            self._attendant, self._settling = None, False

    async def close(self) -> None:
        """Stop what is under way; each run is left in good order."""
        tasks = [*self._tasks.values(), *([] if self._attendant is None else [self._attendant])]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self._attendant = None

    async def _attend(self) -> None:
        self._engine.followers.add(self._look_at)
        try:
            await self._attend_members()
        finally:
            self._engine.followers.discard(self._look_at)

    def _look_at(self, run_id: str) -> None:
        """Somebody in this process told the run something: it may be due."""
        if run_id in self._members:
            self._unseen.add(run_id)
            self._note_change()

    async def _attend_members(self) -> None:
        while True:
            self._changed = False  # what comes during the look is looked at again
            await self._begin_due()
            if self._settling and not self._tasks:
                return
            await self._pause(self.next_wake)
            for run_id in [run_id for run_id, task in self._tasks.items() if task.done()]:
                self._tasks.pop(run_id).result()
                # What it did may have made its parent due.
                self._unseen |= {run_id, *self._parents}

    async def _begin_due(self) -> None:
        """Take up the members that are due, and learn when the next one is."""
        engine = self._engine
        now = engine.clock.now()
        self._unseen |= {run_id for run_id, wake in self._wakes.items() if wake <= now}
        while self._unseen:
            run_id = self._unseen.pop()
            if run_id in self._tasks:
                continue
            self._wakes.pop(run_id, None)
            record = await engine.storage.get(run_id)
            self._unseen |= await self._relatives(run_id, record)
            if run_id not in self._members or record is None or record.wake_at is None:
                continue
            if record.wake_at > engine.clock.now():
                self._wakes[run_id] = record.wake_at
                continue
            claim = await claim_one(engine, run_id)
            if claim is not None:
                task = asyncio.get_running_loop().create_task(self._drive(claim), name=run_id)
                self._tasks[run_id] = task
                task.add_done_callback(lambda _: self._note_change())
        self.next_wake = min(self._wakes.values(), default=None)

    async def _relatives(self, run_id: str, record: RunRecord | None) -> set[str]:
        """Members that became known by looking at this one, which is one no longer if it is done."""
        elsewhere = record is not None and self._queue not in {None, record.queue}
        if record is None or (elsewhere and not record.status.is_terminal):
            self._members.discard(run_id)
            self._parents.discard(run_id)
            return set()
        detail, found = record.detail, set()
        if detail.children and not record.status.is_terminal:
            self._parents.add(run_id)
        else:
            self._parents.discard(run_id)
        if detail.children and run_id not in self._explored:
            self._explored.add(run_id)
            history = envelopes_of(await self._engine.storage.read(run_id, limit=record.head))
            found |= set(open_children(history))
        if detail.continued_to is not None:
            found.add(detail.continued_to)
        if record.status.is_terminal and not detail.owes:
            self._members.discard(run_id)
        found -= self._left | self._members
        self._members |= found
        return found

    async def _drive(self, claim: Claim) -> None:
        run_id = claim.run_id
        try:
            drive = await drive_for(self._engine, claim, linger=self.linger, adopt=self.adopt)
            await drive.run()
        except RunLost:
            return
        except WorkflowNotRegisteredError:
            self._leave(run_id)  # somebody else's code: it is for them
        except (NonDeterminismError, HistoryVersionError, CodecError, StorageError) as error:
            if run_id == self._root:
                raise
            log.error("run %s cannot be driven here and stays as its log has it: %s", run_id, error)
            self._leave(run_id)
        else:
            if drive.error is not None:
                self.errors[run_id] = drive.error

    def _leave(self, run_id: str) -> None:
        self._members.discard(run_id)
        self._left.add(run_id)

    def _note_change(self) -> None:
        self._changed = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _pause(self, wake: int | None) -> None:
        if self._changed:
            return
        self._waiter = asyncio.get_running_loop().create_future()
        alarm: Alarm | None = None
        if wake is not None:
            alarm = self._engine.clock.call_at(wake, self._note_change)
        try:
            await self._waiter
        finally:
            self._waiter = None
            if alarm is not None:
                alarm.cancel()
