"""Driving one run: deliveries into the machine, its commands into the log, steps into the world.

The rules that matter here: an append that was computed on a state which the log contradicts
is never made again; a command takes effect only once its event is durable; after a conflict
the run in memory is thrown away and rebuilt from the log, and results of steps that were not
recorded yet are kept and delivered again.
"""

from __future__ import annotations

import asyncio
import logging

import msgspec

from pyworkflow_core.errors import (
    CodecError,
    HistoryVersionError,
    NonDeterminismError,
    StorageError,
)
from pyworkflow_core.events import Envelope
from pyworkflow_core.payloads import (
    Payload,
    WorkflowInterrupted,
    WorkflowStarted,
    WorkflowSuspended,
)
from pyworkflow_core.record import RunStatus

from .beginning import first_event
from .driven import DrivenRun
from .ending import ending_of, stalled, value_bytes
from .giveback import giving_back
from .history import open_steps, was_left_because
from .outbox import Errand
from .pump import Pump
from .runlog import RunLost
from .turn import Turn

log = logging.getLogger("pyworkflow")

__all__ = ["Drive", "RunLost"]

Key = tuple[str, int]
_CUT_OFF = "its process was stopped"


class Drive(DrivenRun):
    """One run in the hands of this process: the loop that drives it, its beginnings and its ends.

    Attributes:
        replay_retry: microseconds until a run whose replay failed is due again.
    """

    replay_retry = 0

    # ---- beginnings ----------------------------------------------------------------

    async def begin(self, started: WorkflowStarted) -> bool:
        """Create the run with its first events. False, and nothing done, if it exists."""
        at = self.engine.clock.now()
        created = False
        try:
            self._machine.feed([Envelope(1, at, started)])
            payloads: list[Payload] = [started]
            room = self.log.room - value_bytes(started)
            if room > 0:
                self._collect_commands(payloads, room)
            self._end(payloads)
            leaves = self._add_suspension(payloads, at)
            created = await self.log.send(payloads, at, release=leaves)
        finally:
            if not created:
                self._drop()
        if created:
            self._rest(suspended=leaves)
            self._sent(payloads, at)
            self._launch()
        return created

    async def enqueue(self, started: WorkflowStarted) -> bool:
        """Create the run for somebody else to drive. False, and nothing done, if it exists."""
        try:
            return await self.log.send([started], self.engine.clock.now(), release=True)
        finally:
            self._drop()

    async def take_up(self) -> None:
        """Take an existing run that was claimed: record that, then replay it.

        The record comes first, so that a run which kills its process is counted even if it
        does so while it is replayed.

        Raises:
            RunLost: another process has it.
            NonDeterminismError: the code no longer matches the history.
        """
        log = self.log
        record = log.claim.record
        resumed = record.status in {RunStatus.SUSPENDED, RunStatus.PENDING}
        while True:
            assert log.record is not None
            history = await log.load(log.record)
            at = self.engine.clock.now()
            first = first_event(record, log.claim.token, resumed=resumed)
            again = [] if isinstance(first, WorkflowInterrupted) else open_steps(history)
            # What does not fit into this append is tried again afterwards.
            self._restarts.extend((s.step, s.ordinal) for s in again[log.most_events :])
            attempts = [msgspec.structs.replace(s, attempt=s.attempt + 1) for s in again[: log.most_events]]
            payloads = [first, *attempts]
            if await log.send(payloads, at):
                break
            self._restarts.clear()
            await log.catch_up()
        if isinstance(first, WorkflowInterrupted):
            return
        self._machine.feed([*history, *(Envelope(1, at, p) for p in payloads)])
        self._find_debts(log.record, history)
        later = set(self._restarts)
        self._launches = [c for c in self._machine.open_steps() if (c.name, c.ordinal) not in later]
        if not resumed or was_left_because(history, _CUT_OFF):  # before it said that the hook exists, perhaps
            self._announce = list(self._machine.hooks.values())
        self._launch()

    # ---- the loop ------------------------------------------------------------------

    async def run(self) -> None:
        """Drive the run until it ends or suspends.

        Raises:
            RunLost: another process took it.
            NonDeterminismError: the code no longer matches the history.
            StorageError: the storage cannot be used; the run is as its log says.
        """
        self.engine.enter(self)
        await Pump(self._run()).wait()

    async def _run(self) -> None:
        try:
            if self._machine.started is None:
                await self.take_up()
            await self._workshop.begin_jobs()
            while not self.log.ended and not self._has_left and await self._go_on():
                if self._workshop.jobs:
                    await self._workshop.begin_jobs()
            await self._workshop.finish_telling(self.engine.settings.grace)
            await self._settle_up()
            await self._workshop.end(self.engine.settings.grace)
        except asyncio.CancelledError:
            await self._leave(_CUT_OFF)
            raise
        except (NonDeterminismError, HistoryVersionError, CodecError) as error:
            await self._give_back(error)
            raise
        finally:
            self.engine.leave(self)
            self._drop()

    def look(self) -> None:
        """Read the log's tail soon: somebody appended to it."""
        self._look = True
        self._workshop.wake_up()

    def stop(self, reason: str) -> None:
        """Begin no new step; suspend when those under way have ended."""
        self.stopping = reason
        self._workshop.wake_up()

    @property
    def held_until(self) -> int:
        """When the lease ends, in microseconds, unless it is extended."""
        return self.log.claim.until

    async def keep_alive(self) -> None:
        """Extend the lease when a third of it has gone, and look for foreign events."""
        held = await self.log.extend()
        record = await self.engine.storage.get(self.run_id)
        if not held or record is None or record.head > self.log.head:
            self.look()

    @property
    def _goes_on_by_itself(self) -> bool:
        """Whether there is something to do that needs no step and nobody outside."""
        backlog = self._backlog
        orphans = backlog is not None and bool(backlog.orphans)
        return bool(self._machine.pending or self._machine.outcome) or orphans

    async def _go_on(self) -> bool:
        """One turn of the loop; False once the run was suspended."""
        workshop = self._workshop
        looked = self._look
        if self._backlog is not None and not await self._attend(self._backlog):
            return True
        if self._debts is not None:
            await self._pay()
        workshop.grant(self._machine.children)
        workshop.entries.grant(self._machine)
        if looked:
            self._look = False
            await self._read_tail()
        turn = workshop.next_turn if workshop.turns else None
        if turn is not None and (self.stopping or not self._goes_on_by_itself):
            await self._give_turn(turn)
            return True
        if not looked and self._idle and not workshop.has_news and not self.stopping:
            # Nothing came while the last append was under way: only a step or a timer can help.
            self._idle = False
            await workshop.pause(self._next_wake())
            return True
        if self.stopping:
            if workshop.is_busy and not workshop.only_waits:
                if not await self._write_entry():
                    await workshop.pause(None)
                return True
            await self._leave(self.stopping)
            return False
        at = max(self.engine.clock.now(), self._machine.now)
        if await self._turn(at) or workshop.has_news or self._look or workshop.next_turn:
            return True
        wake = self._next_wake()
        if wake is not None and wake <= self.engine.clock.now():
            return True
        if workshop.is_busy or (wake is not None and wake - at <= self._linger):
            await workshop.pause(wake)
            return True
        if wake is None and not self._machine.waiting():
            payload, self.error = stalled(self.run_id, self.engine.codec)
            await self._send([payload], at)
            return True
        return not await self._suspend(wake, at)

    async def _turn(self, at: int) -> bool:
        """Deliver what is there and append it with the commands that follow; False if nothing is."""
        if self.log.conflicts:
            await self._read_tail()
            if self.log.conflicts >= 2 and await self._deliver_carefully(at):
                return True
        payloads = self._collect(at)
        machine, backlog = self._machine, self._backlog
        if not payloads:
            if backlog is not None:
                backlog.dismiss()
            return False
        may_wait = backlog is not None and backlog.may_wait and machine.outcome is None
        leaves = self._add_suspension(payloads, at)
        if await (self._keep(payloads, at) if may_wait else self._send(payloads, at, release=leaves)):
            self._rest(suspended=leaves)
            self._taken.clear()
            self._launch()
            unfinished = machine.pending or self._restarts or self._refused or machine.outcome is not None
            if backlog is not None and backlog.orphans:
                unfinished = True
            self._idle = self._workshop.is_busy and not unfinished
        return True

    def _collect(self, at: int) -> list[Payload]:
        """What is there to deliver and what the code asks for in answer, as far as it fits one append."""
        machine, backlog = self._machine, self._backlog
        if backlog is not None:
            backlog.begin_turn()
        payloads: list[Payload] = []
        room = self.log.room
        if machine.pending:
            self._collect_commands(payloads, room)
        while self._has_room(payloads, room) and not machine.pending and machine.outcome is None:
            payload = self._next_delivery(at)
            if payload is None:
                break
            room -= value_bytes(payload)
            self._taken.append(payload)
            payloads.append(payload)
            if backlog is not None:
                backlog.weigh_delivery(payload, machine.steps)
            self._deliver(payload, at)
            if room > 0 and machine.pending:
                self._collect_commands(payloads, room)
        if machine.outcome is not None:
            self._end(payloads)
        return payloads

    async def _deliver_carefully(self, at: int) -> bool:
        """Make one delivery durable first and run the code after, so that a busy run cannot livelock."""
        payload = self._next_delivery(at)
        if payload is None:
            return False
        self._taken.append(payload)
        if await self._send([payload], at):
            self._taken.clear()
            self._deliver(payload, at)
            self._launch()
        return True

    async def _write_entry(self) -> bool:
        """Append what a step wants in the log, and nothing else; False if there is nothing."""
        held = () if self._backlog is None else self._backlog.strangers
        entry = (
            None if self._machine.outcome is not None else self._workshop.entries.next(self._machine, held)
        )
        if entry is None:
            return False
        at = max(self.engine.clock.now(), self._machine.now)
        if await self._send([entry], at):
            self._deliver(entry, at)
        return True

    async def _give_turn(self, turn: Turn) -> None:
        """Append nothing until a step's transaction has ended, and the step's completion within it."""
        self._idle = False
        if not await self._flush():
            return
        report = await turn.give()
        if report is None:
            return
        await self._read_tail()
        machine = self._machine
        at = max(self.engine.clock.now(), machine.now)
        payloads: list[Payload] = []
        self._collect_commands(payloads, self.log.room)
        can_be_told = not machine.pending and machine.outcome is None and self._is_wanted(report)
        if can_be_told and await self.log.send([*payloads, report], at, within=turn):
            self._sent(payloads, at)
            self._deliver(report, at)
            self._launch()
        else:
            # What the step returned is forgotten with what it wrote; if it is wanted, it begins anew.
            await turn.refuse()
            await self._rebuild()

    async def _suspend(self, wake: int | None, at: int) -> bool:
        if self.engine.transient:
            await self._workshop.pause(wake)
            return False
        self._rest(suspended=await self._send([self._suspension(wake)], at, release=True))
        return self._has_left

    def _rest(self, *, suspended: bool) -> None:
        """Note whether the run was left with what was appended last."""
        self._has_left = suspended

    def _suspension(self, wake: int | None) -> WorkflowSuspended:
        return WorkflowSuspended(wake, tuple(word[:120] for word in self._machine.waiting()[:10]))

    def _add_suspension(self, payloads: list[Payload], at: int) -> bool:
        """Add to what is about to be appended that the run is left, if nothing will be left to do here.

        It is only ever a shorter way: whatever is in doubt is decided once the append is durable.
        """
        machine = self._machine
        busy = self._backlog is not None or self._workshop.is_busy or self._workshop.has_news
        begun = machine.pending or machine.outcome is not None or self._launches or self._restarts
        owing = self._owing or self._debts is not None or self._refused or self._untold
        told = any(hook.on_created is not None for hook in self._announce)
        if busy or begun or owing or told or self._look or self.stopping or self._workshop.next_turn:
            return False
        wake, head = self._next_wake(), self.log.head + len(payloads)
        soon = not machine.waiting() if wake is None else wake - at <= max(self._linger, 0)
        if soon or self.engine.transient or head >= self._most or len(payloads) > self.log.most_events:
            return False
        suspension = self._suspension(wake)
        if not self.log.fits([*payloads, suspension]):
            return False
        payloads.append(suspension)
        return True

    def _has_room(self, payloads: list[Payload], room: int) -> bool:
        """Whether the next delivery may go into one append with `payloads`; `room` bytes are left there."""
        if not payloads:
            return True
        workshop = self._workshop
        if not workshop.reports and not workshop.entries.entries:
            return len(payloads) < self.log.most_events
        return len(payloads) < self.log.most_events and room > workshop.next_bytes

    def _end(self, payloads: list[Payload]) -> None:
        """Add the terminal event once the function ended, or leave it for an append of its own."""
        if self._machine.outcome is not None and not self._machine.pending:
            limit = self.engine.storage.limits.event_bytes
            ending, self.error = ending_of(self._machine, self.definition, self.engine.codec, limit)
            if not payloads or self.log.fits([*payloads, ending]):
                payloads.append(ending)
                self.ending = ending

    # ---- endings -------------------------------------------------------------------

    async def _settle_up(self) -> None:
        """Pay what the run owes at its end. If that cannot be done now, the run stays due."""
        if self.log.record is not None and self.log.ended and self.log.record.detail.owes:
            try:
                await Errand(self.engine, self.log.claim).run()
            except StorageError as error:
                log.warning("run %s: other runs could not be told of its end yet: %s", self.run_id, error)

    async def _leave(self, reason: str) -> None:
        """Suspend a run that could go on: results that are there are recorded, the run stays due."""
        self.stopping = reason
        await self._workshop.end(self.engine.settings.grace)
        try:
            if self._backlog is not None:
                await self._backlog.settle()
            if self.log.is_sending and not await self._settle():
                return
            if self._backlog is not None and (self._backlog.broken or self._backlog.astray):
                await self._backlog.flush()
                await self._rebuild()
            if self.log.ended:
                await self.log.release()  # what it owes is for others to deliver
                return
            while self.log.record is not None and not await self._record_and_suspend(reason):
                pass
        except (StorageError, NonDeterminismError, RunLost) as error:
            log.warning(
                "run %s: could not be suspended (%s); it is taken up when its lease ends", self.run_id, error
            )

    async def _settle(self) -> bool:
        """Learn what became of the append that was under way; False if nothing is left to do."""
        made, backlog = await self.log.settle(), self._backlog
        own = backlog is None or backlog.settled(made=made)
        if made and own:
            self._taken.clear()
        if self.log.ended:
            return False
        if not made and self._machine.started is None:
            await self.log.release()
            return False
        if not own and backlog is not None:
            await backlog.flush()
        await self._rebuild()
        return True

    async def _record_and_suspend(self, reason: str) -> bool:
        """Append the results that are there, and that the run was left; False if it has to be done again."""
        machine = self._machine
        at = max(self.engine.clock.now(), machine.now)
        payloads: list[Payload] = []
        room = self.log.room
        # One at a time: what follows from one result may be that nobody waits for the next.
        while self._has_room(payloads, room) and machine.outcome is None:
            report = self._next_report()
            if report is None:
                payloads.append(WorkflowSuspended(at, (), reason))
                break
            room -= value_bytes(report)
            self._taken.append(report)
            payloads.append(report)
            machine.feed([Envelope(1, at, report)])
        if machine.outcome is not None:
            self._collect_commands(payloads, room)
        self._end(payloads)
        left = isinstance(payloads[-1], WorkflowSuspended)
        if not await self._send(payloads, at, release=left):
            return False
        self._taken.clear()
        if not left and self.log.ended:
            await self.log.release()  # what it owes is for others to deliver
        return left or self.log.ended

    async def _give_back(self, error: Exception) -> None:
        """A replay failed: leave the run suspended, so that mended code can take it up."""
        await self._workshop.end(self.engine.settings.grace)
        at = max(self.engine.clock.now(), self._machine.now)
        try:
            if self._backlog is not None:
                await self._backlog.flush()
            await self.log.catch_up()
            assert self.log.record is not None
            history = await self.log.load(self.log.record)
            if not await self.log.send(
                [giving_back(history, error, at, self.replay_retry)], at, release=True
            ):
                await self.log.release()
        except (StorageError, RunLost) as problem:
            log.warning("run %s: could not be suspended (%s) after: %s", self.run_id, problem, error)
