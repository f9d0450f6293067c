"""A drive that can stay in memory while its run is suspended, and go on without a replay.

That is allowed as long as nobody else took the run: what came from outside meanwhile (answers,
news of children, a request to stop) is read and delivered as it is to a run under way.
"""

from __future__ import annotations

from typing import Any

from pyworkflow_core.events import Envelope
from pyworkflow_core.payloads import (
    Payload,
    RunRecovered,
    WorkflowCancelled,
    WorkflowCompleted,
    WorkflowContinuedAsNew,
    WorkflowFailed,
    WorkflowInterrupted,
    WorkflowResumed,
    WorkflowSuspended,
)
from pyworkflow_core.storage import Claim

from .beginning import machine_for
from .drive import Drive
from .runlog import RunLog
from .workshop import Workshop


class KeptDrive(Drive):
    """A drive whose run stays in memory when it suspends in good order, until somebody drops it.

    Attributes:
        was_replayed: whether the run was rebuilt from its log the last time it was driven.
    """

    was_replayed = False
    _is_resting = False
    _known = 0
    _woken = False

    @property
    def can_stay(self) -> bool:
        """Whether the run is suspended, and what is in memory is what its log says."""
        record = self.record
        return self._is_resting and record is not None and not record.detail.owes

    def wake(self, claim: Claim) -> None:
        """The run was claimed again: the next `run` goes on from memory if it may."""
        self._known = self.log.head
        self.log = RunLog(self.engine, claim)
        self._workshop = Workshop(self.engine, claim.run_id)  # the one before was closed
        self._backlog = self._new_backlog(self.engine.settings.durability or self.definition.durability)
        self._woken = True
        self._has_left = False
        self.stopping = ""

    def evict(self) -> None:
        """Drop the run from memory."""
        self._is_resting = False
        self._drop()

    async def run(self) -> None:
        """Drive the run until it ends or suspends; see `Drive.run`."""
        self._is_resting = self.was_replayed = False
        await super().run()

    async def take_up(self) -> None:
        """Take the run and replay it; see `Drive.take_up`."""
        self.was_replayed = True
        await super().take_up()

    async def _go_on(self) -> bool:
        if self._woken:
            self._woken = False
            await self._go_on_from_memory()
            return True
        return await super()._go_on()

    async def _go_on_from_memory(self) -> None:
        log = self.log
        tail = await log.load(log.claim.record, after=self._known)
        if log.incarnation == self._machine.incarnation and not any(type(e.data) in _MOVED for e in tail):
            at = max(self.engine.clock.now(), self._machine.now)
            resumed = WorkflowResumed(log.claim.token)
            if await log.send([resumed], at):
                self._look = False
                self._machine.head = self._known  # which counts how the run was left, too
                self._machine.feed([*tail, Envelope(1, at, resumed)])
                return
        self._machine.evict()
        self._machine = machine_for(self.engine, self.definition, self.run_id, log.incarnation)
        await self.take_up()

    def _rest(self, *, suspended: bool) -> None:
        super()._rest(suspended=suspended)
        workshop = self._workshop
        self._is_resting = suspended and not (workshop.is_busy or workshop.has_news or self._restarts)

    async def _leave(self, reason: str) -> None:
        self._is_resting = False
        await super()._leave(reason)

    async def _give_back(self, error: Exception) -> None:
        self._is_resting = False
        await super()._give_back(error)

    def _drop(self) -> None:
        if not self.can_stay:
            super()._drop()


# Whoever appended one of these drove the run, or ended it.
_MOVED: set[type[Payload] | type[Any]] = {
    WorkflowResumed,
    RunRecovered,
    WorkflowSuspended,
    WorkflowCompleted,
    WorkflowFailed,
    WorkflowCancelled,
    WorkflowInterrupted,
    WorkflowContinuedAsNew,
}
