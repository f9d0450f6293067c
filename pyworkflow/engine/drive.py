"""Driving one run: deliveries into the machine, its commands into the log, steps into the world.

The rules that matter here: an append that was computed on a state which the log contradicts
is never made again; a command takes effect only once its event is durable; after a conflict
the run in memory is thrown away and rebuilt from the log, and results of steps that were not
recorded yet are kept and delivered again.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import deque
from typing import Any

import msgspec

from pyworkflow_core.errors import (
    CodecError,
    HistoryVersionError,
    LimitExceeded,
    NonDeterminismError,
    StorageError,
)
from pyworkflow_core.events import Envelope, Event, encode_body
from pyworkflow_core.payloads import (
    CancellationRequested,
    HookCreated,
    Payload,
    RunRecovered,
    StepCompleted,
    StepFailed,
    StepRetrying,
    StepStarted,
    WorkflowInterrupted,
    WorkflowResumed,
    WorkflowStarted,
    WorkflowSuspended,
)
from pyworkflow_core.record import RunRecord, evolve
from pyworkflow_core.replay import HookCall, Machine, StepCall
from pyworkflow_core.storage import Append, Claim, Committed, LeaseChange, Refused

from ..definitions import WorkflowDefinition
from .ending import ending_of, stalled
from .engine import Engine
from .execute import execute
from .history import envelopes_of, open_steps

log = logging.getLogger("pyworkflow")

Key = tuple[str, int]
_OWNER_EVENTS = (WorkflowStarted, WorkflowResumed, RunRecovered)


class RunLost(Exception):
    """Another process owns the run now, or it was deleted. Nothing more may be appended here."""


class Drive:
    """One run in the hands of this process.

    Args:
        engine: what the process's runs share.
        definition: the workflow.
        claim: the lease on the run; for a new run, the one that its first append takes.
        linger: waits up to this many microseconds stay in memory instead of suspending.

    Attributes:
        run_id: the run.
        record: the run's record after the last durable event; None before the first.
        error: what the workflow function raised, once the run failed here.
        stopping: why no new step may begin; empty while the run may go on.
        replay_retry: microseconds until a run whose replay failed is due again.
    """

    def __init__(
        self, engine: Engine, definition: WorkflowDefinition[Any, Any], claim: Claim, *, linger: int = 0
    ) -> None:
        self.engine = engine
        self.definition = definition
        self.claim = claim
        self.run_id = claim.run_id
        self.incarnation = claim.record.incarnation
        self.record: RunRecord | None = claim.record if claim.record.head else None
        self.head = claim.record.head
        self.error: BaseException | None = None
        self.stopping = ""
        self.replay_retry = 0
        self._linger = linger
        self._machine = self._new_machine()
        self._inbox: deque[Payload] = deque()
        self._taken: list[Payload] = []
        self._running: dict[Key, asyncio.Task[None]] = {}
        self._launches: list[StepCall] = []
        self._announce: list[HookCall] = []
        self._background: set[asyncio.Task[Any]] = set()
        self._conflicts = 0
        self._sending: Append | None = None
        self._waker: asyncio.Future[None] | None = None
        self._look = False
        self._lost = False

    # ---- beginnings ----------------------------------------------------------------

    async def begin(self, started: WorkflowStarted) -> bool:
        """Create the run with its first events. False, and nothing done, if it exists."""
        at = self.engine.clock.now()
        self._machine.feed([Envelope(1, at, started)])
        bodies = [encode_body(started, at)]
        self._collect_commands(bodies, at)
        if self._machine.outcome is not None:
            bodies.append(self._ending(at))
        try:
            created = await self._send(bodies, at)
        except BaseException:
            self._drop()
            raise
        if not created:
            self._drop()
            return False
        self._taken.clear()
        self._launch()
        return True

    async def enqueue(self, started: WorkflowStarted) -> bool:
        """Create the run for somebody else to drive. False, and nothing done, if it exists."""
        at = self.engine.clock.now()
        try:
            return await self._send([encode_body(started, at)], at, release=True)
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
        record = self.claim.record
        resumed = record.status in {"suspended", "pending"}
        while True:
            history = await self._load(record)
            at = self.engine.clock.now()
            first = self._first_event(record, resumed)
            again = [] if isinstance(first, WorkflowInterrupted) else open_steps(history)
            payloads = [first, *(msgspec.structs.replace(s, attempt=s.attempt + 1) for s in again)]
            if await self._send([encode_body(p, at) for p in payloads], at):
                break
            record = await self._current_record()
            self._check_owner(await self._load(record, after=self.head))
            self.record, self.head = record, record.head
        if isinstance(first, WorkflowInterrupted):
            return
        self._machine.feed([*history, *(Envelope(1, at, p) for p in payloads)])
        self._launches = self._machine.open_steps()
        if not resumed:  # the last owner may have died before it said that the hook exists
            self._announce = list(self._machine.hooks.values())
        self._launch()

    def _first_event(self, record: RunRecord, resumed: bool) -> Payload:
        token = self.claim.token
        if resumed:
            return WorkflowResumed(token)
        detail = record.detail
        count = detail.recoveries + 1
        if count <= detail.max_recoveries:
            return RunRecovered(token, count)
        return WorkflowInterrupted(
            f"taken up {detail.recoveries} times after its process died, without a step completed since; "
            f"the limit is {detail.max_recoveries}",
            detail.recoveries,
        )

    # ---- the loop ------------------------------------------------------------------

    async def run(self) -> None:
        """Drive the run until it ends or suspends.

        Raises:
            RunLost: another process took it.
            NonDeterminismError: the code no longer matches the history.
            StorageError: the storage cannot be used; the run is as its log says.
        """
        self.engine.enter(self)
        try:
            if self._machine.started is None:
                await self.take_up()
            while not self._ended and await self._go_on():
                pass
        except asyncio.CancelledError:
            await self._leave("interrupted")
            raise
        except (NonDeterminismError, HistoryVersionError, CodecError) as error:
            await self._give_back(error)
            raise
        finally:
            self.engine.leave(self)
            self._drop()

    @property
    def _ended(self) -> bool:
        return self.record is not None and self.record.status.is_terminal

    async def _go_on(self) -> bool:
        """One turn of the loop; False once the run was suspended."""
        if self._look:
            self._look = False
            await self._read_tail()
        if self.stopping:
            if self._running:
                await self._pause(None)
                return True
            await self._leave(self.stopping)
            return False
        at = max(self.engine.clock.now(), self._machine.now)
        if await self._turn(at):
            return True
        if self._inbox or self._look:
            return True
        wake = self._next_wake()
        if wake is not None and wake <= self.engine.clock.now():
            return True
        if self._running:
            await self._pause(wake)
            return True
        if wake is None and not self._machine.waiting():
            return await self._fail_stalled(at)
        if wake is not None and wake - at <= self._linger:
            await self._pause(wake)
            return True
        return not await self._suspend(wake, at)

    async def _turn(self, at: int) -> bool:
        """Deliver what is there and append it with the commands that follow; False if nothing is."""
        machine = self._machine
        if self._conflicts:
            await self._read_tail()
        bodies: list[bytes] = []
        if self._conflicts >= 2 and (careful := self._next_delivery(at)) is not None:
            # A busy run must not livelock: make the delivery durable first, and run the code after.
            self._taken.append(careful)
            if await self._send([encode_body(careful, at)], at):
                self._taken.clear()
                machine.feed([Envelope(1, at, careful)])
                self._after_delivery(careful)
                self._collect_commands(bodies, at)
                if bodies and not await self._send(bodies, at):
                    return True
                self._launch()
            return True
        self._collect_commands(bodies, at)
        most, room = self.engine.settings.turn_events, self._room
        while len(bodies) < most and room > 0 and not machine.pending and machine.outcome is None:
            payload = self._next_delivery(at)
            if payload is None:
                break
            self._taken.append(payload)
            before = len(bodies)
            bodies.append(encode_body(payload, at))
            machine.feed([Envelope(1, at, payload)])
            self._after_delivery(payload)
            self._collect_commands(bodies, at)
            room -= sum(map(len, bodies[before:]))
        if machine.outcome is not None:
            bodies.append(self._ending(at))
        if not bodies:
            return False
        if await self._send(bodies, at):
            self._taken.clear()
            self._launch()
        return True

    def _after_delivery(self, payload: Payload) -> None:
        if payload.__class__ is StepStarted:
            assert isinstance(payload, StepStarted)
            self._launches.append(self._machine.steps[payload.step, payload.ordinal])

    @property
    def _room(self) -> int:
        limit = self.engine.storage.limits.append_bytes
        return limit // 4 if limit is not None else 4 * 1024 * 1024

    def _collect_commands(self, bodies: list[bytes], at: int) -> None:
        machine = self._machine
        if not machine.pending or machine.outcome is not None:
            return
        for call, payload in machine.take_commands(max(self.engine.settings.turn_events - len(bodies), 1)):
            bodies.append(encode_body(payload, at))
            if payload.__class__ is StepStarted:
                assert isinstance(call, StepCall)
                self._launches.append(call)
            elif payload.__class__ is HookCreated:
                assert isinstance(call, HookCall)
                self._announce.append(call)

    def _next_delivery(self, at: int) -> Payload | None:
        while self._inbox:
            payload = self._inbox.popleft()
            if self._is_wanted(payload):
                return payload
        deadline = self._deadline
        if deadline is not None and deadline <= at and not self._machine.cancel_requested:
            return CancellationRequested("max_duration exceeded", "max_duration")
        return self._machine.next_due(at)

    def _is_wanted(self, payload: Payload) -> bool:
        assert isinstance(payload, (StepCompleted, StepFailed, StepRetrying))
        call = self._machine.steps.get((payload.step, payload.ordinal))
        return call is not None and call.retry_at is None

    @property
    def _deadline(self) -> int | None:
        started = self._machine.started
        return started.deadline if started is not None else None

    def _next_wake(self) -> int | None:
        wake = self._machine.next_wake()
        deadline = None if self._machine.cancel_requested else self._deadline
        if deadline is None:
            return wake
        return deadline if wake is None else min(wake, deadline)

    # ---- appending -----------------------------------------------------------------

    async def _send(self, bodies: list[bytes], at: int, *, release: bool = False) -> bool:
        """Append; True once durable. After a conflict the machine is rebuilt, and the answer is False."""
        base = int(self.engine.ids.event_id(), 16)
        head, run_id = self.head, self.run_id
        events = tuple(
            Event(run_id, head + 1 + i, f"{(base + i) & 0xFFFFFFFFFFFFFFFF:016x}", body)
            for i, body in enumerate(bodies)
        )
        record = evolve(self.record, events, incarnation=self.incarnation)
        lease = self._lease_change(at, release or record.status.is_terminal)
        append = Append(run_id, self.incarnation, head, events, record, lease)
        self._sending = append
        answer = await self.engine.queue.append(append)
        self._sending = None
        if isinstance(answer, Committed):
            self._committed(append)
            return True
        if isinstance(answer, Refused):
            raise answer.error
        self._conflicts += 1
        if self._machine.started is not None and head:
            await self._rebuild()
        return False

    def _committed(self, append: Append) -> None:
        self.head += len(append.events)
        self.record = append.record
        self._conflicts = 0
        if append.lease is not None and append.lease.until is not None:
            self.claim = msgspec.structs.replace(self.claim, until=append.lease.until)

    def _lease_change(self, at: int, release: bool) -> LeaseChange | None:
        lease = self.engine.settings.lease
        if release:
            return LeaseChange(self.claim.token, self.claim.owner, None)
        if self.record is None or self.claim.until - at < lease * 2 // 3:
            return LeaseChange(self.claim.token, self.claim.owner, at + lease)
        return None

    async def _suspend(self, wake: int | None, at: int) -> bool:
        waiting = tuple(word[:120] for word in self._machine.waiting()[:10])
        return await self._send([encode_body(WorkflowSuspended(wake, waiting), at)], at, release=True)

    async def _fail_stalled(self, at: int) -> bool:
        payload, self.error = stalled(self.run_id, self.engine.codec)
        await self._send([encode_body(payload, at)], at)
        return True

    def _ending(self, at: int) -> bytes:
        payload, self.error = ending_of(self._machine, self.definition, self.engine.codec)
        body = encode_body(payload, at)
        limit = self.engine.storage.limits.event_bytes
        if limit is None or len(body) <= limit:
            return body
        too_large = LimitExceeded(
            f"run {self.run_id!r}: its result takes {len(body)} bytes and the storage takes {limit}; "
            "store it elsewhere and return a reference"
        )
        payload, self.error = ending_of(self._machine, self.definition, self.engine.codec, instead=too_large)
        return encode_body(payload, at)

    # ---- the log moved without us --------------------------------------------------

    async def _load(self, record: RunRecord, after: int = 0) -> list[Envelope[Any]]:
        return envelopes_of(
            await self.engine.storage.read(self.run_id, after=after, limit=record.head - after)
        )

    async def _current_record(self) -> RunRecord:
        record = await self.engine.storage.get(self.run_id)
        if record is None or record.incarnation != self.incarnation:
            raise RunLost(f"run {self.run_id!r} was deleted while it was driven here")
        return record

    def _check_owner(self, tail: list[Envelope[Any]]) -> None:
        for envelope in tail:
            if isinstance(envelope.data, _OWNER_EVENTS) and envelope.data.owner != self.claim.token:
                raise RunLost(f"run {self.run_id!r} was taken by another process")

    async def _rebuild(self) -> None:
        """Throw the run in memory away and replay the log; unrecorded results wait in the inbox."""
        self._inbox.extendleft(reversed([p for p in self._taken if _is_report(p)]))
        self._taken.clear()
        self._launches.clear()
        self._announce.clear()
        self.error = None
        record = await self._current_record()
        history = await self._load(record)
        self._check_owner(history[self.head :])
        self._machine.evict()
        self._machine = self._new_machine()
        self.record, self.head = record, record.head
        if record.status.is_terminal:
            raise RunLost(f"run {self.run_id!r} was ended by another process")
        self._machine.feed(history)
        self._cancel_unwanted()

    async def _read_tail(self) -> None:
        """Deliver what others appended."""
        events = await self.engine.storage.read(self.run_id, after=self.head)
        if not events:
            if self._lost:
                await self._current_record()
            return
        tail = envelopes_of(events)
        self._check_owner(tail)
        self.record = evolve(self.record, events, incarnation=self.incarnation)
        self.head = events[-1].sequence
        if self.record.status.is_terminal:
            raise RunLost(f"run {self.run_id!r} was ended by another process")
        self._machine.feed(tail)

    def look(self) -> None:
        """Read the log's tail soon: somebody appended to it."""
        self._look = True
        self._wake_up()

    def stop(self, reason: str) -> None:
        """Begin no new step; suspend when those under way have ended."""
        self.stopping = reason
        self._wake_up()

    async def keep_alive(self) -> None:
        """Extend the lease when a third of it has gone, and look for foreign events."""
        now = self.engine.clock.now()
        lease = self.engine.settings.lease
        if self.claim.until - now < lease * 2 // 3:
            if await self.engine.storage.extend(self.claim, now + lease):
                self.claim = msgspec.structs.replace(self.claim, until=now + lease)
            else:
                self._lost = True
                self.look()
        record = await self.engine.storage.get(self.run_id)
        if record is None or record.head > self.head:
            self._lost = record is None
            self.look()

    # ---- steps ---------------------------------------------------------------------

    def _launch(self) -> None:
        """Begin what has become durable: steps, and telling people about hooks."""
        loop = asyncio.get_running_loop()
        steps = self._machine.steps
        for call in self._launches:
            key = (call.name, call.ordinal)
            if steps.get(key) is call and key not in self._running:
                self._running[key] = loop.create_task(
                    self._step(key, call), name=f"{call.name}#{call.ordinal}"
                )
        self._launches.clear()
        if len(self._running) > len(steps):
            self._cancel_unwanted()
        for hook in self._announce:
            if hook.on_created is not None:
                task = loop.create_task(self._tell(hook))
                self._background.add(task)
                task.add_done_callback(self._background.discard)
        self._announce.clear()

    def _cancel_unwanted(self) -> None:
        for key, task in self._running.items():
            if key not in self._machine.steps:
                task.cancel()

    async def _step(self, key: Key, call: StepCall) -> None:
        engine = self.engine
        try:
            payload = await execute(call, engine.codec, engine.clock.now, engine.rng, engine.storage.limits)
            if payload is not None:
                self._inbox.append(payload)
        finally:
            self._running.pop(key, None)
            self._wake_up()

    async def _tell(self, hook: HookCall) -> None:
        assert hook.on_created is not None
        try:
            told = hook.on_created(f"{self.run_id}.{hook.token}")
            if inspect.isawaitable(told):
                await told
        except Exception:
            log.exception("run %s: on_created of hook %r failed", self.run_id, hook.name)

    async def _pause(self, wake: int | None) -> None:
        """Wait until a step ends, somebody looks in, or it is time."""
        self._waker = waker = asyncio.get_running_loop().create_future()
        if self._inbox or self._look:
            return
        alarm = self.engine.clock.call_at(wake, self._wake_up) if wake is not None else None
        try:
            await waker
        finally:
            self._waker = None
            if alarm is not None:
                alarm.cancel()

    def _wake_up(self) -> None:
        if self._waker is not None and not self._waker.done():
            self._waker.set_result(None)

    # ---- endings -------------------------------------------------------------------

    async def _leave(self, reason: str) -> None:
        """Suspend a run that could go on: results that are there are recorded, the run stays due."""
        await self._end_steps()
        try:
            if self._sending is not None:
                answer = await self.engine.queue.append(self._sending)
                if not isinstance(answer, Committed):
                    await self.engine.storage.release(self.claim)
                    return
                self._committed(self._sending)
            if self._ended or self.record is None:
                return
            at = max(self.engine.clock.now(), self._machine.now)
            reports = [p for p in self._inbox if self._is_wanted(p)]
            payloads = [*reports, WorkflowSuspended(at, (), reason)]
            if not await self._send([encode_body(p, at) for p in payloads], at, release=True):
                await self.engine.storage.release(self.claim)
        except (StorageError, RunLost) as error:
            log.warning(
                "run %s: could not be suspended (%s); it is taken up when its lease ends", self.run_id, error
            )

    async def _give_back(self, error: Exception) -> None:
        """A replay failed: leave the run suspended, so that mended code can take it up."""
        await self._end_steps()
        at = max(self.engine.clock.now(), self._machine.now)
        reason = f"replay failed: {type(error).__name__}: {str(error).splitlines()[0]}"[:300]
        try:
            record = await self._current_record()
            self._check_owner(await self._load(record, after=self.head))
            self.record, self.head = record, record.head
            self._machine.evict()
            self._machine = self._new_machine()
            body = encode_body(WorkflowSuspended(at + self.replay_retry, (), reason), at)
            if not await self._send([body], at, release=True):
                await self.engine.storage.release(self.claim)
        except (StorageError, RunLost) as problem:
            log.warning("run %s: could not be suspended after %s: %s", self.run_id, reason, problem)

    async def _end_steps(self) -> None:
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=self.engine.settings.grace / 1e6)

    def _drop(self) -> None:
        for task in self._running.values():
            task.cancel()
        self._machine.evict()

    def _new_machine(self) -> Machine:
        codec, definition = self.engine.codec, self.definition

        async def main(started: WorkflowStarted) -> Any:
            args, kwargs = codec.decode_args(started.args, reach=definition.reach)
            return await definition.func(*args, **kwargs)

        return Machine(self.run_id, main, codec=codec, draw_token=self.engine.ids.token)


def _is_report(payload: Payload) -> bool:
    return isinstance(payload, (StepCompleted, StepFailed, StepRetrying))
