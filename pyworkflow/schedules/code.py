"""The workflow that every schedule is a run of."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

import msgspec
from msgspec.structs import replace

from pyworkflow_core.errors import CodecError
from pyworkflow_core.payloads import (
    ChildWorkflowCancelled,
    ChildWorkflowCompleted,
    ChildWorkflowFailed,
    ScheduleChanged,
    SignalReceived,
)
from pyworkflow_core.replay import (
    ChildCall,
    ChildEnd,
    Machine,
    ReleaseCall,
    ScheduleNote,
    current_machine,
)

from ..definitions import StepDefinition, workflow
from ..engine.continuing import continue_as_new
from .plan import (
    BACKFILL,
    DELETE,
    SCHEDULE,
    TRIGGER,
    UPDATE,
    Ask,
    Facts,
    Plan,
    asked,
    ended,
    facts_of,
    first_event_of,
    looked,
    meet,
    next_buffered,
    run_id_of,
    shown,
    started,
    to_ask,
)
from .spec import OverlapPolicy, Times
from .times import Look, look

_TURNS = 50
"""Turns of one run, before the schedule continues as new: so a log has a few hundred events."""

_STATUS: dict[type[Any], str] = {
    ChildWorkflowCompleted: "completed",
    ChildWorkflowFailed: "failed",
    ChildWorkflowCancelled: "cancelled",
}


async def _look(
    workflow: str, times: dict[str, Any], schedule: str, anchor: int, after: int, now: int
) -> list[dict[str, Any] | None]:
    found = await look(msgspec.convert(times, Times), schedule, anchor, after, now)
    return [msgspec.to_builtins(found), await _know(workflow)]


async def _know(workflow: str) -> dict[str, Any] | None:
    facts = facts_of(workflow)
    return None if facts is None else msgspec.to_builtins(facts)


# What it finds depends on the time zones, the cron library and the workflows of the process, so it
# is a step, and replays go by what was recorded. It fails where a library is missing, and
# is tried again until a process comes by that has it.
_LOOK: StepDefinition[..., list[Any]] = StepDefinition(
    _look, name="pyworkflow.look", max_retries=1_000_000_000, retry_delay="1m"
)
_KNOW: StepDefinition[..., Any] = StepDefinition(_know, name="pyworkflow.know")


class _Schedule:
    """A schedule at work."""

    def __init__(self, machine: Machine, plan: Plan, state: ScheduleChanged) -> None:
        self.machine = machine
        self.plan = plan
        self.state = replace(state, heard=0)  # of this run
        self._noted = self.state
        self._bell = asyncio.Event()
        self._signals: deque[SignalReceived] = deque()
        self._ends: deque[ChildEnd] = deque()
        self._stopping: set[str] = set()
        self._updated = False
        self._unplanned = False

    async def run(self) -> None:
        """Go on until the schedule is deleted, or its log has grown."""
        listener = asyncio.create_task(self._listen())
        try:
            await self._go_on()
        finally:
            # What comes from here on is for the run that continues this one.
            listener.cancel()

    async def _go_on(self) -> None:
        for run_id in self.state.running:
            self._watch(run_id)
        turns = 0
        while True:
            self._bell.clear()
            await self._turn()
            turns += 1
            if replace(self.state, heard=self._noted.heard) != self._noted:
                self._noted = self.state
                ScheduleNote(self.machine, shown(self.state)).issue()
            if self.state.status == "deleted":
                return
            if self._signals or self._ends or self._is_due_at(self.machine.now):
                continue
            if turns >= _TURNS or self._updated:
                # Whoever looks at a schedule reads its plan from the arguments.
                continue_as_new(msgspec.to_builtins(self.plan), msgspec.to_builtins(self.state))
            await self._wait()

    async def _turn(self) -> None:
        while self._ends:
            how = self._ends.popleft()
            self.state = ended(self.state, how.run_id, _STATUS[how.__class__], self.machine.now)
        while self._signals:
            await self._take(self._signals.popleft())
            self.state = replace(self.state, heard=self.state.heard + 1)
        if self._is_due_at(self.machine.now):
            await self._fire(self.machine.now)
        while True:
            self.state, due = next_buffered(self.state)
            if due is None:
                break
            self._start(due, run_id_of(self.plan, "due", due))

    def _is_due_at(self, now: int) -> bool:
        """Whether there is a reason to look at the clock."""
        if self.state.status != "active":
            return False
        wake = self.state.wake_at
        return self._unplanned if wake is None else wake <= now

    async def _take(self, signal: SignalReceived) -> None:
        try:
            ask = to_ask(self.machine.decode(signal.payload) if len(signal.payload) else None)
        except CodecError:
            ask = None
        if ask is None:
            return  # somebody said something that makes no sense; a schedule must not end by that
        if signal.signal != DELETE and self._is_due_at(ask.at):
            await self._fire(min(ask.at, self.machine.now))  # what was due before that
        if signal.signal in {TRIGGER, BACKFILL} and self.plan.facts is None:
            self._learn(await _KNOW(self.plan.workflow))
        if signal.signal == TRIGGER:
            self._start(ask.at, run_id_of(self.plan, TRIGGER, signal.signal_id))
        elif signal.signal == BACKFILL:
            for due in ask.due:
                self._start(due, run_id_of(self.plan, BACKFILL, signal.signal_id, due))
        else:
            self._ask(signal.signal, ask)

    def _ask(self, signal: str, ask: Ask) -> None:
        before = self.state
        self.plan, self.state = asked(self.plan, before, signal, ask)
        self._updated = self._updated or signal == UPDATE
        if self.state is not before and self.state.next_at is None:
            self._unplanned = True

    async def _fire(self, now: int) -> None:
        """Look at the clock, and do what the due times up to `now` ask for."""
        state = self.state
        self._unplanned = False
        times = msgspec.to_builtins(self.plan.times)
        seen, known = await _LOOK(
            self.plan.workflow, times, self.plan.schedule_id, state.anchor, state.after, now
        )
        self._learn(known)
        plan, found = self.plan, msgspec.convert(seen, Look)
        self.state = looked(self.state, found)
        for due in found.due:
            self.state, starts = meet(self.state, plan.overlap, due)
            if starts:
                self._start(due, run_id_of(plan, "due", due))
        if plan.overlap is OverlapPolicy.CANCEL_OTHER and self.state.buffered:
            self._stop_others()

    def _learn(self, known: Any) -> None:
        if known is not None:
            self.plan = replace(self.plan, facts=msgspec.convert(known, Facts))

    def _start(self, due: int, run_id: str) -> None:
        machine = self.machine
        start = first_event_of(self.plan, machine.run_id, due, machine.now)
        ChildCall(machine, start, lambda _name, _ordinal: run_id, abandon=True, make_handle=str).issue()
        self.state = started(self.state, run_id, due, machine.now)
        self._watch(run_id)

    def _stop_others(self) -> None:
        for run_id in self.state.running:
            child = self.machine.children.get(run_id)
            if child is not None and child.ended is None and run_id not in self._stopping:
                self._stopping.add(run_id)
                reason = f"schedule {self.plan.schedule_id} starts another run"
                ReleaseCall(self.machine, child, reason, None).issue()

    def _watch(self, run_id: str) -> None:
        child = self.machine.children[run_id]
        if child.ended is not None:
            self._ends.append(child.ended)
            return
        waiter = self.machine.loop.create_future()
        waiter.add_done_callback(self._on_end)
        child.waiters.append(waiter)

    def _on_end(self, waiter: asyncio.Future[ChildEnd]) -> None:
        self._ends.append(waiter.result())
        self._bell.set()

    async def _listen(self) -> None:
        while True:
            self._signals.append(await self.machine.inbox.get(self.machine))
            self._bell.set()

    async def _wait(self) -> None:
        """Until the next firing, a signal, or the end of a run."""
        wake = self.state.wake_at
        alarm = None if wake is None else self.machine.loop.call_at(wake / 1e6, self._bell.set)
        try:
            await self._bell.wait()
        finally:
            if alarm is not None:
                alarm.cancel()


async def _drive(plan: dict[str, Any], state: dict[str, Any]) -> None:
    machine = current_machine.get()
    assert machine is not None
    await _Schedule(machine, msgspec.convert(plan, Plan), msgspec.convert(state, ScheduleChanged)).run()


# Whoever drives it may die as often as processes die: that is never a reason to give a schedule up.
workflow(name=SCHEDULE, max_recovery_attempts=1_000_000_000)(_drive)
