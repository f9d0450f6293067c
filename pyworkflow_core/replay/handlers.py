"""What each event does to the machine. A feature's own handlers are beside its calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..events import Envelope, UnknownPayload
from ..payloads import (
    ChildWorkflowCancelled,
    ChildWorkflowCompleted,
    ChildWorkflowFailed,
    ChildWorkflowReleased,
    ChildWorkflowStarted,
    HookCreated,
    HookExpired,
    HookReceived,
    HookRefused,
    PatchApplied,
    RunRecovered,
    RunReopened,
    ScheduleChanged,
    SignalReceived,
    SleepCompleted,
    StatePublished,
    StepCheckpointDeleted,
    StepCheckpointSaved,
    StepCompleted,
    StepContextSet,
    StepFailed,
    StepHeartbeat,
    StepRetrying,
    StepStarted,
    TimerFired,
    WorkflowResumed,
    WorkflowSuspended,
)
from .calls import StepCall
from .children import on_child_ended, on_child_released, on_child_started
from .in_steps import notes_of, on_checkpoint_deleted, on_checkpoint_saved, on_heartbeat, on_hook_created
from .inbox import on_signal_received
from .mail import on_hook_expired, on_hook_received, on_hook_refused
from .mismatch import not_waiting, on_unknown
from .notebook import on_note, on_patch_applied
from .reopening import Rewound, on_reopened, on_rewound
from .schedules import on_schedule_changed

if TYPE_CHECKING:
    from .machine import Machine


def on_step_started(machine: Machine, envelope: Envelope[StepStarted]) -> None:
    """A step begins: for the first time, or once more."""
    payload = envelope.data
    if payload.attempt == 1:
        machine.on_command(envelope)
        return
    key = (payload.step, payload.ordinal)
    call = machine.steps.get(key)
    if call is None:
        # Attempts are recorded before a replay; perhaps the log does not say so yet.
        given_up = [c for c, gone in machine.pending if gone and isinstance(c, StepCall)]
        if machine.outcome is not None or key in [(c.name, c.ordinal) for c in given_up]:
            return
        raise not_waiting(machine, payload)
    call.attempt = payload.attempt
    call.retry_at = None


def on_owner(machine: Machine, envelope: Envelope[Any]) -> None:
    """A process took the run."""
    machine.owner = envelope.data.owner
    machine.suspended = False
    if envelope.data.__class__ is RunRecovered:
        machine.recoveries = envelope.data.count


def on_suspended(machine: Machine, envelope: Envelope[WorkflowSuspended]) -> None:
    """The run left memory."""
    machine.suspended = True


def on_step_completed(machine: Machine, envelope: Envelope[StepCompleted]) -> None:
    """A step returned."""
    # The hot path of replayed gathers, so `take_waiting` and `drain` are written out.
    payload = envelope.data
    call = machine.steps.pop((payload.step, payload.ordinal), None)
    if call is None:
        raise not_waiting(machine, payload)
    if envelope.at > machine.now:
        machine.now = envelope.at
    machine.recoveries = 0
    call.settled = True
    if not call.done():
        call.set_result(machine.decode(payload.result, reach=call.reach))
    if machine.loop.ready:
        machine.drain()


def on_step_failed(machine: Machine, envelope: Envelope[StepFailed]) -> None:
    """A step failed for good."""
    payload = envelope.data
    call: StepCall = machine.take_waiting(machine.steps, (payload.step, payload.ordinal), envelope)
    call.fail(machine.codec.decode_error(payload.error, reach=call.reach))
    machine.drain()


def on_step_retrying(machine: Machine, envelope: Envelope[StepRetrying]) -> None:
    """A step failed and is tried again."""
    payload = envelope.data
    call = machine.steps.get((payload.step, payload.ordinal))
    if call is None:
        raise not_waiting(machine, payload)
    call.failures = payload.failures
    call.retry_at = payload.retry_at
    if len(payload.details):
        notes = notes_of(machine, (payload.step, payload.ordinal))
        assert notes is not None
        notes.details = payload.details
    machine.agenda.add(payload.retry_at, call)


def on_sleep_completed(machine: Machine, envelope: Envelope[SleepCompleted]) -> None:
    """A sleep ended."""
    payload = envelope.data
    machine.take_waiting(machine.sleeps, (payload.sleep, payload.ordinal), envelope).answer(None)
    machine.drain()


def on_timer_fired(machine: Machine, envelope: Envelope[TimerFired]) -> None:
    """A timer of asyncio's fired."""
    payload = envelope.data
    timer = machine.timers.get(payload.timer)
    if timer is None or timer.due != payload.due:
        raise not_waiting(
            machine, payload, "" if timer is None else f"timer #{timer.ordinal} due at {timer.due}"
        )
    del machine.timers[payload.timer]
    machine.advance(envelope.at)
    machine.loop.call_soon(machine.loop._run_timer, timer)
    machine.drain()


HANDLERS: dict[type[Any], Callable[[Machine, Envelope[Any]], None]] = {
    WorkflowResumed: on_owner,
    RunRecovered: on_owner,
    WorkflowSuspended: on_suspended,
    StepStarted: on_step_started,
    StepCompleted: on_step_completed,
    StepFailed: on_step_failed,
    StepRetrying: on_step_retrying,
    SleepCompleted: on_sleep_completed,
    TimerFired: on_timer_fired,
    StepHeartbeat: on_heartbeat,
    StepCheckpointSaved: on_checkpoint_saved,
    StepCheckpointDeleted: on_checkpoint_deleted,
    HookCreated: on_hook_created,
    HookReceived: on_hook_received,
    HookExpired: on_hook_expired,
    HookRefused: on_hook_refused,
    SignalReceived: on_signal_received,
    ScheduleChanged: on_schedule_changed,
    ChildWorkflowStarted: on_child_started,
    ChildWorkflowCompleted: on_child_ended,
    ChildWorkflowFailed: on_child_ended,
    ChildWorkflowCancelled: on_child_ended,
    ChildWorkflowReleased: on_child_released,
    RunReopened: on_reopened,
    Rewound: on_rewound,
    PatchApplied: on_patch_applied,
    StepContextSet: on_note,
    StatePublished: on_note,
    UnknownPayload: on_unknown,
}
"""Handlers by payload class; those that are methods of the machine are in its own file."""
