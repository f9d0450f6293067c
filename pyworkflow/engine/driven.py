"""A run in the memory of this process: the machine that replays it, its log, its steps.

What is computed on a state that the log contradicts is thrown away here, and the run rebuilt
from its log; results of steps that were not recorded yet are kept and delivered again. When
to do what is `Drive`'s business.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import Any

from pyworkflow_core.carried import OWN_TOKEN
from pyworkflow_core.events import Envelope
from pyworkflow_core.payloads import (
    CancellationRequested,
    ChildWorkflowReleased,
    ChildWorkflowStarted,
    DeliveriesMade,
    HookCreated,
    HookRefused,
    Payload,
    SignalSent,
    StepCancelled,
    StepCompleted,
    StepFailed,
    StepRetrying,
    StepStarted,
)
from pyworkflow_core.record import RunRecord
from pyworkflow_core.replay import HookCall, StepCall
from pyworkflow_core.storage import Claim

from ..config import get_config
from ..definitions import SYSTEM, WorkflowDefinition
from ..durability import Durability
from .backlog import Backlog
from .beginning import machine_for
from .engine import Engine
from .outbox import Debt, Start, debts_of, pay
from .runlog import RunLog
from .tokens import Take
from .workshop import Workshop

log = logging.getLogger("pyworkflow")

Key = tuple[str, int]


class DrivenRun:
    """One run in the memory of this process.

    Args:
        engine: what the process's runs share.
        definition: the workflow.
        claim: the lease on the run; for a new run, the one that its first append takes.
        linger: waits up to this many microseconds stay in memory instead of suspending.
        adopt: called with the ids of children that this process may drive; None to leave them
            to workers.

    Attributes:
        run_id: the run.
        log: the run's log.
        error: what the workflow function raised, once the run failed here.
        ending: the payload of the run's last event, once the run ended here.
        stopping: why no new step may begin; empty while the run may go on.
    """

    def __init__(
        self,
        engine: Engine,
        definition: WorkflowDefinition[Any, Any],
        claim: Claim,
        *,
        linger: int = 0,
        adopt: Callable[[str], object] | None = None,
    ) -> None:
        self.engine = engine
        self.definition = definition
        self.run_id = claim.run_id
        self.log = RunLog(engine, claim)
        self.error: BaseException | None = None
        self.ending: Payload | None = None
        self.stopping = ""
        self._linger = linger
        self._adopt = adopt
        self._machine = machine_for(engine, definition, self.run_id, self.log.incarnation)
        self._workshop = Workshop(engine, claim.run_id)
        self._taken: list[Payload] = []
        self._launches: list[StepCall] = []
        self._restarts: deque[Key] = deque()
        self._announce: list[HookCall] = []
        self._untold: list[HookCall] = []
        self._refused: deque[HookRefused] = deque()
        self._debts: list[Debt] | None = None
        self._owing = False
        self._paid = False
        self._look = False
        self._idle = False
        self._given_up = False
        self._has_left = False  # what was appended last gave the run back
        self._backlog = self._new_backlog(engine.settings.durability or definition.durability)
        config = get_config()
        # What the engine runs for itself sees to its own length.
        limited = not definition.name.startswith(SYSTEM)
        self._warn_at = (limited and config.history_warning) or 1 << 62
        self._most = (limited and config.history_limit) or 1 << 62

    def _new_backlog(self, durability: Durability) -> Backlog | None:
        """None where everything waits until it is durable, as far as is known; see `_collect_commands`."""
        return None if durability == "sync" else Backlog(self.log, self._workshop, durability)

    @property
    def record(self) -> RunRecord | None:
        """The run's record after the last durable event; None before the first."""
        return self.log.record

    # ---- deliveries and commands ---------------------------------------------------

    def _deliver(self, payload: Payload, at: int) -> None:
        machine = self._machine
        machine.feed([Envelope(1, at, payload)])
        if payload.__class__ is StepStarted:
            self._launches.append(machine.steps[payload.step, payload.ordinal])

    def _collect_commands(self, payloads: list[Payload], room: int) -> None:
        """Add commands that the code issued; `room` is left for the arguments of children."""
        machine = self._machine
        if not machine.pending:
            return
        for call, payload in machine.take_commands(max(self.log.most_events - len(payloads), 1), room):
            payloads.append(payload)
            if payload.__class__ is StepStarted:
                self._launches.append(call)  # type: ignore[arg-type]
                if call.definition.durability is not None and self._backlog is None:  # type: ignore[attr-defined]
                    self._backlog = Backlog(self.log, self._workshop, "sync")
            elif payload.__class__ is StepCancelled:
                self._given_up = True
            elif payload.__class__ is HookCreated:
                self._announce.append(call)  # type: ignore[arg-type]
                self._owing = self._owing or payload.token.startswith(OWN_TOKEN)
            elif payload.__class__ in _OWING:
                self._owing = True
            if self._backlog is not None:
                self._backlog.weigh(payload, call)  # type: ignore[arg-type]

    def _next_delivery(self, at: int) -> Payload | None:
        machine, workshop = self._machine, self._workshop
        if workshop.reports:
            report = self._next_report()
            if report is not None:
                return report
        while self._restarts:
            call = self._machine.steps.get(self._restarts.popleft())
            if call is not None and call.retry_at is None:
                return self._machine.next_attempt(call)
        held = () if self._backlog is None else self._backlog.strangers
        request = workshop.next_request(machine.children, held) if workshop.requests else None
        if request is not None:
            self._owing = True
            return request
        while self._refused:
            refused = self._refused.popleft()
            if (refused.hook, refused.ordinal) in self._machine.hooks:
                return refused
        entry = workshop.entries.next(machine, held) if workshop.entries.entries else None
        if entry is not None:
            return entry
        if not machine.cancel_requested:
            started = machine.started
            if started is not None and started.deadline is not None and started.deadline <= at:
                return CancellationRequested("max_duration exceeded", "max_duration")
            head = self.log.head if self._backlog is None else machine.head
            if head >= self._most:
                return CancellationRequested(f"its history reached {head} events", "history_limit")
        return machine.next_due(at)

    def _next_report(self) -> Payload | None:
        reports = self._workshop.reports
        while reports:
            report = reports.popleft()
            if self._backlog is not None and self._backlog.sets_aside(report):
                continue
            if self._is_wanted(report):
                return report
            # Nobody waits for it in the state at hand, which a conflict may prove wrong.
            self._taken.append(report)
        return None

    def _is_wanted(self, report: Payload) -> bool:
        assert isinstance(report, _REPORTS)
        key = (report.step, report.ordinal)
        call = self._machine.steps.get(key)
        strange = self._backlog is not None and self._backlog.is_strange(key)
        return call is not None and call.retry_at is None and not strange

    @property
    def _deadline(self) -> int | None:
        """When the run has to be ended, if nobody asked for that yet."""
        started = self._machine.started
        return None if started is None or self._machine.cancel_requested else started.deadline

    def _next_wake(self) -> int | None:
        wake, deadline = self._machine.next_wake(), self._deadline
        return wake if deadline is None else deadline if wake is None else min(wake, deadline)

    # ---- the log and the run in memory ---------------------------------------------

    async def _send(self, payloads: list[Payload], at: int, *, release: bool = False) -> bool:
        """Append; True once durable. After a conflict the run is rebuilt, and the answer is False."""
        paid = self._paid and self._debts is None and not self._refused
        if paid:
            payloads = [DeliveriesMade(), *payloads]
        to = self.log if self._backlog is None or not self._backlog.holds else self._backlog
        if not await to.send(payloads, at, release=release):
            await self._rebuild()
            return False
        if paid:
            self._paid = False
            self._machine.head += 1
        self._sent(payloads, at)
        return True

    async def _keep(self, payloads: list[Payload], at: int) -> bool:
        """Leave it to the backlog when to append; False if the run had to be rebuilt."""
        assert self._backlog is not None
        if not await self._backlog.keep(payloads, at):
            await self._rebuild()
            return False
        self._sent(payloads, at)
        return True

    async def _flush(self) -> bool:
        """Make durable what the backlog holds; False if the run had to be rebuilt."""
        if self._backlog is None or await self._backlog.flush():
            return True
        await self._rebuild()
        return False

    async def _attend(self, backlog: Backlog) -> bool:
        """See to what the backlog brought about; False if the run had to be rebuilt."""
        backlog.check()
        if backlog.broken:
            await self._rebuild()
            return False
        if self.stopping:
            backlog.dismiss()
        late = backlog.begin_late()
        if late:
            self._launches += late
            self._launch()
        return True

    def _sent(self, payloads: list[Payload], at: int) -> None:
        """Note what durable events owe to other runs, and whether the log grows long."""
        if self._owing:
            self._owing = False
            if not self.log.ended:
                owed = debts_of(self.engine, self.run_id, [(at, payload) for payload in payloads])
                self._debts = [*(self._debts or ()), *owed]
        if self.log.head >= self._warn_at:
            self._warn_at = 2 * self.log.head
            log.warning(
                "run %s: its history has %d events and ends it at %d: call continue_as_new() before that",
                self.run_id,
                self.log.head,
                self._most,
            )

    def _find_debts(self, record: RunRecord, history: list[Envelope[Any]]) -> None:
        """Learn from the log what it still owes."""
        self._owing = self._paid = False
        self._debts = None
        self._refused.clear()
        if record.detail.owes:
            self._debts = debts_of(self.engine, self.run_id, ((e.at, e.data) for e in history))

    async def _pay(self) -> None:
        """Deliver what the log owes; that it was done goes with the next append."""
        debts = self._debts or []
        refused = await self.log.patiently(lambda: pay(self.engine, debts))
        self._debts = None
        self._paid = True
        if refused:
            self._refused.extend(refused)
            self._idle = False
            keys = {(payload.hook, payload.ordinal) for payload in refused}
            self._untold = [hook for hook in self._untold if (hook.name, hook.ordinal) not in keys]
        self._tell_of_hooks()
        started = self._machine.started
        if self._adopt is not None and started is not None:
            for debt in debts:
                if isinstance(debt, Take):
                    continue
                here = not isinstance(debt, Start) or debt.start.queue == started.queue
                if here or self.engine.transient:
                    self._adopt(debt.run_id)

    async def _rebuild(self) -> None:
        """Throw the run in memory away and replay the log; unrecorded results are delivered again."""
        kept = [p for p in self._taken if isinstance(p, (StepCompleted, StepFailed, StepRetrying))]
        self._workshop.reports.extendleft(reversed(kept))
        self._taken.clear()
        self._launches.clear()
        self._announce.clear()
        self._restarts.clear()
        self._idle = False
        if self._backlog is not None:
            self._backlog.broken = True
        self.error = self.ending = None
        record = await self.log.current()
        history = await self.log.load(record)
        self.log.check_owner(history[self.log.head :])
        if self._backlog is not None:
            self._backlog.salvage()
        self._machine.evict()
        self._machine = machine_for(self.engine, self.definition, self.run_id, self.log.incarnation)
        self.log.move_to(record)
        self._machine.feed(history)
        self._find_debts(record, history)
        self._stop_steps()
        self._workshop.entries.grant(self._machine)
        # An attempt that is durable, and of which this process lost sight on the way here.
        begun = self._machine.open_steps()
        self._launches = self._workshop.missing(begun)
        if self._backlog is not None:
            known = self._backlog.is_strange
            self._launches += [call for call in begun if known((call.name, call.ordinal))]
        self._launch()

    async def _read_tail(self) -> None:
        if self._backlog is not None and self._backlog.holds:
            await self._look_behind(self._backlog)
            return
        tail = await self.log.read_tail()
        if tail:
            self._machine.feed(tail)
            self._workshop.entries.grant(self._machine)
        else:
            await self.log.current()

    async def _look_behind(self, backlog: Backlog) -> None:
        """Rebuild the run if somebody appended to its log behind what this process knows to be there."""
        if await backlog.land() and (await self.log.current()).head == self.log.head:
            return
        self.log.conflicts += not backlog.broken  # as if the next append had met it
        await self._rebuild()

    def _launch(self) -> None:
        """Begin what has become durable, or needs not."""
        if self._backlog is not None:
            self._launches = self._backlog.sort_out(self._launches, self._machine.steps)
        if not self.stopping:
            self._workshop.begin(self._launches, self._machine.steps)
        if self._given_up:
            self._given_up = False
            self._stop_steps()
        self._launches.clear()
        if self._announce:
            self._untold += self._announce
            self._announce.clear()
            self._tell_of_hooks()

    def _tell_of_hooks(self) -> None:
        """Tell people about hooks that are durable, and have their tokens."""
        if self._debts is None and self._untold:
            self._workshop.announce(self._untold)
            self._untold.clear()

    def _stop_steps(self) -> None:
        """Cancel the steps that the workflow no longer waits for."""
        machine = self._machine
        reason = machine.cancel_reason if machine.cancel_delivered else "the workflow no longer waits for it"
        wanted = machine.steps if self._backlog is None else {*machine.steps, *self._backlog.orphans}
        self._workshop.cancel_unwanted(wanted, reason)

    def _drop(self) -> None:
        if self._backlog is not None:
            self._backlog.close()
        self._workshop.drop()
        self._machine.evict()


_REPORTS = (StepCompleted, StepFailed, StepRetrying)
_OWING: set[type[Payload]] = {ChildWorkflowStarted, ChildWorkflowReleased, SignalSent}
