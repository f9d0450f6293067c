"""The replay machine: one run's code over one run's events.

Feed it the history, and afterwards each new event; it runs the workflow code as far as the
events let it and keeps what the code asked for as pending commands. A delivery is made one
at a time, in log order, and the ready queue is drained between two of them. It does no I/O,
reads no clock and starts no thread; whoever drives it does (see `pyworkflow.engine`).
"""

from __future__ import annotations

import contextvars
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from ..codec import Codec, default_codec
from ..events import Envelope
from ..payloads import (
    CancellationRequested,
    HookCreated,
    HookDisposed,
    HookExpired,
    Payload,
    SignalSent,
    SleepCancelled,
    SleepCompleted,
    SleepStarted,
    StepCancelled,
    StepStarted,
    TimerFired,
    WorkflowCancelled,
    WorkflowCompleted,
    WorkflowContinuedAsNew,
    WorkflowFailed,
    WorkflowInterrupted,
    WorkflowStarted,
)
from .agenda import Agenda
from .calls import CANCEL_REQUEST, Call, SleepCall, StepCall
from .children import Child, child_of
from .handlers import HANDLERS
from .hooks import HookCall
from .in_steps import StepNotes
from .inbox import Inbox
from .loop import Timer, WorkflowLoop, WorkflowTask, current_machine
from .mail import Mail
from .mismatch import check_end, command_mismatch, command_missing, not_waiting
from .notebook import Notebook
from .outcome import Outcome, outcome_of
from .requests import request_to_stop

Key = tuple[str, int]
Command = tuple[Call, bool]
"""A call, and whether it is given up (true) or begun (false)."""


class Machine:
    """Runs the code of one run over its events.

    Args:
        run_id: the run.
        main: makes the workflow function's coroutine from the run's first event.
        codec: how values are written.
        draw_token: draws the secret of a hook when its command is recorded, not in a replay.
        incarnation: the run's incarnation; ids of its children follow from it.
        event_bytes: the largest event that the storage takes; None for any size.

    Attributes:
        run_id: the run.
        codec: how values are written.
        now: the workflow's time: microseconds since 1970 of the event delivered last.
        head: sequence number of the last event fed.
        pending: commands that the code issued and the log does not hold yet, in issue order.
        steps: steps begun and not answered, by name and ordinal.
        sleeps: sleeps begun and not ended.
        hooks: hooks created and not answered.
        in_steps: what steps that have not ended recorded, by name and ordinal.
        mail: answers to hooks that the code has not taken.
        inbox: signals that the code has not taken.
        notebook: what the code wrote down, and what it can work out.
        children: every child known to the run, by its run id.
        timers: asyncio's timers that have not fired, by ordinal.
        started: the payload of the run's first event.
        owner: token of the process that took the run last, as far as the events say.
        suspended: whether the last owner left the run suspended.
        recoveries: recoveries since the last completion.
        cancel_reason: text of the cancellation request that was delivered.
        cancel_source: who asked for it.
        cancel_delivered: whether it was delivered to the code.
        agenda: what time brings, and when.
        outcome: how the function ended; None while it has not.
        ended: the terminal event's payload, once fed.
    """

    def __init__(
        self,
        run_id: str,
        main: Callable[[WorkflowStarted], Coroutine[Any, Any, Any]],
        *,
        codec: Codec = default_codec,
        draw_token: Callable[[], str] = str,
        incarnation: str = "",
        event_bytes: int | None = None,
    ) -> None:
        self.run_id = run_id
        self.incarnation = incarnation
        self.rewinds: list[tuple[int, str, int]] = []  # of a run that was reopened
        self.event_bytes = event_bytes
        self.draw_token = draw_token
        self.codec = codec
        self.decode = codec.decode
        self.loop = WorkflowLoop(self)  # type: ignore[abstract] # the rest is set by name
        self.now = 0
        self.head = 0
        self.pending: deque[Command] = deque()
        self.steps: dict[Key, StepCall] = {}
        self.sleeps: dict[Key, SleepCall] = {}
        self.hooks: dict[Key, HookCall] = {}
        self.in_steps: dict[Key, StepNotes] = {}
        self.mail = Mail()
        self.inbox = Inbox()
        self.notebook = Notebook(self)
        self.children: dict[str, Child] = {}
        self.timers: dict[int, Timer] = {}
        self.unawaited: dict[int, Call] = {}
        self.step_ordinals: dict[str, int] = {}
        self.sleep_ordinals: dict[str, int] = {}
        self.hook_ordinals: dict[str, int] = {}
        self.child_ordinals: dict[str, int] = {}
        self.orders = 0
        self.shields = 0
        self.signals = 0  # that the code has sent
        self.started: WorkflowStarted | None = None
        self.owner: str | None = None
        self.suspended = False
        self.recoveries = 0
        self.cancel_reason: str | None = None
        self.cancel_source = ""
        self.outcome: Outcome | None = None
        self.ended: Payload | None = None
        # The history being fed; the fast path of `StepCall` reads ahead in it.
        self.history: list[Envelope[Any]] = []
        self.pos = 0
        self.end = 0
        self._first = 1
        self._main = main
        self._root: WorkflowTask | None = None
        self._returned: list[Any] = []
        self._cancel_asked = False
        self.cancel_delivered = False
        self._timer_count = 0
        self.agenda = Agenda(self)

    # ---- feeding -------------------------------------------------------------------

    def feed(self, envelopes: list[Envelope[Any]]) -> None:
        """Take the run's next events, in order, and run the code as far as they let it.

        Raises:
            NonDeterminismError: the code does not ask for what the history has.
            HistoryVersionError: an event is of a type or version that this code cannot replay.
            CodecError: a recorded result cannot be revived.
        """
        self.history, self.pos, self.end = envelopes, 0, len(envelopes)
        self._first = self.head + 1
        handlers = _HANDLERS
        entered = self.loop.enter()
        try:
            while self.pos < self.end:
                envelope = envelopes[self.pos]
                self.pos += 1
                handler = handlers.get(envelope.data.__class__)
                if handler is not None:
                    handler(self, envelope)
        finally:
            self.loop.leave(entered)
            self.head = self._first + self.pos - 1
            self.history, self.pos, self.end = [], 0, 0

    @property
    def sequence(self) -> int:
        """Sequence number of the event being fed."""
        return self._first + self.pos - 1

    def later(self) -> list[Envelope[Any]]:
        """Events fed together with this one, and behind it."""
        return self.history[self.pos :]

    def take_commands(self, limit: int | None = None, room: int = 1 << 62) -> list[tuple[Call, Payload]]:
        """The pending commands as events to append, oldest first; they count as recorded.

        Args:
            limit: how many at most; the rest stays pending.
            room: bytes for the arguments of children; the one that exceeds it is the last.
        """
        taken: list[tuple[Call, Payload]] = []
        while self.pending and (limit is None or len(taken) < limit) and room > 0:
            call, given_up = self.pending.popleft()
            room -= call.weight
            payload = call.cancelled_payload() if given_up else call.started()
            self._record(call, given_up, payload)
            self.head += 1
            taken.append((call, payload))
        return taken

    # ---- what is due ---------------------------------------------------------------

    def next_wake(self) -> int | None:
        """When the next sleep, timer, hook timeout or retry is due; None if none is pending."""
        return self.agenda.next()

    def next_due(self, now: int) -> Payload | None:
        """The event to deliver next of those that time brings, or None.

        Deliver it before asking again: it may cancel the others.
        """
        answer = self.mail.next_delivery(self.hooks)
        if answer is not None:
            return answer
        found = self.agenda.take(now)
        if found is None:
            return None
        due, what = found
        if isinstance(what, Timer):
            return TimerFired(what.ordinal, due)
        if isinstance(what, SleepCall):
            return SleepCompleted(what.name, what.ordinal)
        if isinstance(what, HookCall):
            return HookExpired(what.name, what.ordinal)
        assert isinstance(what, StepCall)
        return self.next_attempt(what)

    def next_attempt(self, call: StepCall) -> StepStarted:
        """The event that begins another attempt of a step."""
        first = call.started()
        assert isinstance(first, StepStarted)
        return StepStarted(first.step, first.ordinal, first.args, call.attempt + 1, first.at)

    def open_steps(self) -> list[StepCall]:
        """Steps whose last attempt has begun and not ended, oldest first."""
        return [call for call in self.steps.values() if call.retry_at is None]

    def waiting(self) -> list[str]:
        """What the run waits for, in words."""
        calls: list[Call] = [*self.steps.values(), *self.sleeps.values(), *self.hooks.values()]
        words = [f"{c.KIND} {c.name}#{c.ordinal}" for c in sorted(calls, key=lambda c: c.order)]
        words += [f"child {c.name} {c.run_id}" for c in self.children.values() if c.ended is None]
        words += ["signals"] if self.inbox.is_awaited else []
        return words + [f"timer #{n}" for n in self.timers]

    # ---- what the code does --------------------------------------------------------

    def add_timer(self, timer: Timer) -> None:
        """Keep a timer of asyncio's until it fires or is cancelled."""
        self._timer_count += 1
        timer.ordinal = self._timer_count
        self.timers[timer.ordinal] = timer
        self.agenda.add(timer.due, timer)

    def abandon(self, call: Call) -> None:
        """The code no longer waits for `call`."""
        if not self.loop.dead:
            self._forget(call)
            self.pending.append((call, True))

    def deliver_cancellation(self) -> None:
        """Cancel the workflow function, if that was asked for and nothing shields it."""
        root = self._root
        if self._cancel_asked and not self.cancel_delivered and not self.shields and root is not None:
            self.cancel_delivered = True
            root.cancel(CANCEL_REQUEST)
            if not root._must_cancel:  # type: ignore[attr-defined]
                # It is on its way. Still counted, task groups of the clean-up would raise it again (3.13).
                root.uncancel()

    def raise_request(self) -> None:
        """Raise a request that a shield keeps back, where the code asks for it."""
        if self._cancel_asked and not self.cancel_delivered:
            self.cancel_delivered = True
            raise request_to_stop(self)

    @property
    def cancel_requested(self) -> bool:
        """Whether a cancellation request is in the events."""
        return self._cancel_asked

    @property
    def cancel_was_raised(self) -> bool:
        """Whether a cancellation came to the code; one that is delivered as the function ends does not."""
        root = self._root
        return self.cancel_delivered and root is not None and not root._must_cancel  # type: ignore[attr-defined]

    def evict(self) -> None:
        """Drop the run from memory; see `WorkflowLoop.evict`."""
        self.loop.evict()
        for calls in (self.steps, self.sleeps, self.hooks, self.timers, self.unawaited, self.children):
            calls.clear()
        self.pending.clear()
        self.agenda.clear()
        self._root = None

    # ---- handlers ------------------------------------------------------------------

    def drain(self) -> None:
        """Run what is ready; see whether the function has ended."""
        self.loop.drain()
        root = self._root
        if root is not None and root.done():
            if self.outcome is None:
                self.outcome = outcome_of(root, self._returned, cancelled=self.cancel_delivered)
            # Nothing that other tasks still wait for is recorded any more; what was done at once, is.
            self.pending = deque(entry for entry in self.pending if entry[0].is_done_at_once)

    def _record(self, call: Call, given_up: bool, payload: Payload) -> None:
        """What a command event does, whether it is read from the log or about to be appended."""
        if given_up:
            return
        call.recorded = True
        if call.settled:
            return  # given up before its command was recorded
        key = (call.name, call.ordinal)
        if isinstance(call, StepCall):
            call.attempt = 1
            self.steps[key] = call
        elif isinstance(call, SleepCall):
            self.sleeps[key] = call
            self.agenda.add(call.wake_at, call)
        elif isinstance(call, HookCall):
            assert isinstance(payload, HookCreated)
            call.token = payload.token
            self.hooks[key] = call
            self.mail.created(call)
            if call.expires_at is not None:
                self.agenda.add(call.expires_at, call)

    def _forget(self, call: Call) -> None:
        key = (call.name, call.ordinal)
        if isinstance(call, StepCall):
            self.steps.pop(key, None)
        elif isinstance(call, SleepCall):
            self.sleeps.pop(key, None)
        elif isinstance(call, HookCall):
            self.hooks.pop(key, None)

    def on_command(self, envelope: Envelope[Any]) -> None:
        """A command event: the code must ask for it next."""
        payload = envelope.data
        if not self.pending:
            raise command_missing(self, payload)
        call, given_up = self.pending[0]
        reason = "step" if given_up else call.mismatch(payload)
        if reason:
            raise command_mismatch(self, payload, reason)
        self.pending.popleft()
        self._record(call, False, payload)

    def on_given_up(self, envelope: Envelope[Any]) -> None:
        """An event that says that the code gave a call up."""
        payload = envelope.data
        if not self.pending:
            raise command_missing(self, payload)
        call, given_up = self.pending[0]
        if not given_up or call.cancelled_payload() != payload:
            raise command_mismatch(self, payload, "step")
        self.pending.popleft()

    def take_waiting(self, calls: dict[Key, Any], key: Key, envelope: Envelope[Any]) -> Any:
        """The call that an event answers."""
        call = calls.pop(key, None)
        if call is None:
            raise not_waiting(self, envelope.data)
        self.advance(envelope.at)
        return call

    def advance(self, at: int) -> None:
        """Move the workflow's time on."""
        # A clock that ran backwards between two processes must not turn workflow time back.
        self.now = max(self.now, at)

    def on_started(self, envelope: Envelope[WorkflowStarted]) -> None:
        """The first event: the code begins."""
        self.started = envelope.data
        self.owner = envelope.data.owner
        self.suspended = envelope.data.owner is None
        carried = envelope.data.carried
        if carried is not None:
            self.mail.carry(carried.hooks)
            self.inbox.carry(carried.signals, carried.known)
            self.notebook.context = carried.context
            self.children.update((child.run_id, child_of(child)) for child in carried.children)
        self.advance(envelope.at)
        context = contextvars.copy_context()
        context.run(current_machine.set, self)
        self._root = self.loop.create_task(self._function(envelope.data), name="workflow", context=context)
        self.drain()

    async def _function(self, started: WorkflowStarted) -> Any:
        # Kept here: if a request is delivered while it returns, the task forgets what it returned.
        self._returned.append(await self._main(started))
        return self._returned[0]

    def on_cancellation_requested(self, envelope: Envelope[CancellationRequested]) -> None:
        """Somebody asked the run to stop."""
        if self._cancel_asked:
            return
        self._cancel_asked = True
        self.cancel_reason = envelope.data.reason
        self.cancel_source = envelope.data.source
        self.advance(envelope.at)
        self.deliver_cancellation()
        self.drain()

    def on_ended(self, envelope: Envelope[Any]) -> None:
        """The last event: the code must have ended as it says."""
        check_end(self, envelope.data)
        self.ended = envelope.data


_HANDLERS: dict[type[Any], Callable[[Machine, Envelope[Any]], None]] = HANDLERS | {
    WorkflowStarted: Machine.on_started,
    StepCancelled: Machine.on_given_up,
    SignalSent: Machine.on_command,
    SleepStarted: Machine.on_command,
    SleepCancelled: Machine.on_given_up,
    HookDisposed: Machine.on_given_up,
    CancellationRequested: Machine.on_cancellation_requested,
    WorkflowCompleted: Machine.on_ended,
    WorkflowFailed: Machine.on_ended,
    WorkflowCancelled: Machine.on_ended,
    WorkflowInterrupted: Machine.on_ended,
    WorkflowContinuedAsNew: Machine.on_ended,
}
