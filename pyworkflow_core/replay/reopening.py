"""Runs that were reopened: which of their events still count, and what the machine makes of that.

A reopened run is replayed as if what came after the place where its end began had not happened.
Events keep their places in the list, so that positions are those of the log: what no longer counts
is replaced by an event that says nothing. It all follows from the log alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from ..events import Envelope, UnknownPayload
from ..payloads import (
    ChildWorkflowCompleted,
    ChildWorkflowStarted,
    DeliveriesMade,
    HookCreated,
    HookDisposed,
    HookExpired,
    HookReceived,
    HookRefused,
    Payload,
    RunRecovered,
    RunReopened,
    SignalReceived,
    StepCancelled,
    StepCheckpointDeleted,
    StepCheckpointSaved,
    StepCompleted,
    StepFailed,
    StepHeartbeat,
    StepRetrying,
    StepStarted,
    WorkflowResumed,
    WorkflowStarted,
)

if TYPE_CHECKING:
    from .machine import Machine

Key = tuple[str, int]


class NoLongerCounts(Struct, frozen=True, gc=False):
    """Stands for an event that a reopening has struck out; no code sees it."""

    payload: Payload | UnknownPayload


class Rewound(NoLongerCounts, frozen=True, gc=False):
    """Stands for the first event that a reopening has struck out.

    Attributes:
        payload: what was struck out.
        count: the how-manieth reopening of the run it was.
    """

    count: int = 1


STANDING: set[type[Any]] = {
    WorkflowResumed,
    RunRecovered,
    DeliveriesMade,
    ChildWorkflowCompleted,
    SignalReceived,
    UnknownPayload,
    RunReopened,
    NoLongerCounts,
    Rewound,
}
"""Events that count whatever a reopening strikes out: owners, deliveries, what others own."""


def in_force(history: list[Envelope[Any]]) -> list[Envelope[Any]]:
    """A whole log as the run's code sees it: as it is, unless the run was reopened.

    Args:
        history: every event of the log from the first on.
    """
    found = list(history)
    count = 0
    for index, envelope in enumerate(history):
        if envelope.data.__class__ is RunReopened:
            count += 1
            _strike(found, envelope.data.since - 1, index, count)
    return found


def _strike(found: list[Envelope[Any]], first: int, end: int, count: int) -> None:
    """Replace what no longer counts between two places."""
    steps, hooks = _open_at(found[:first])
    for index in range(first, end):
        data = found[index].data
        cls = data.__class__
        if index > first and (cls in STANDING or _answers(data, cls, steps, hooks)):
            continue
        instead: Any = Rewound(data, count) if index == first else NoLongerCounts(data)
        found[index] = Envelope(1, found[index].at, instead)


def _open_at(history: list[Envelope[Any]]) -> tuple[set[Key], set[Key]]:
    """Steps and hooks that had begun, and had no answer."""
    steps: set[Key] = set()
    hooks: set[Key] = set()
    for envelope in history:
        data = envelope.data
        cls = data.__class__
        if cls is StepStarted:
            steps.add((data.step, data.ordinal))
        elif cls in _STEP_ENDS:
            steps.discard((data.step, data.ordinal))
        elif cls is HookCreated and not data.step:
            hooks.add((data.hook, data.ordinal))
        elif cls in _HOOK_ENDS and not getattr(data, "step", ""):
            hooks.discard((data.hook, data.ordinal))
        elif cls is WorkflowStarted and data.carried is not None:
            hooks |= {(hook.hook, hook.ordinal) for hook in data.carried.hooks}
    return steps, hooks


_STEP_ENDS = {StepCompleted, StepFailed, StepCancelled}
_HOOK_ENDS = {HookReceived, HookExpired, HookDisposed, HookRefused}
_OF_STEPS = {HookCreated, HookReceived, HookExpired, ChildWorkflowStarted}
_PROGRESS = {StepHeartbeat, StepCheckpointSaved, StepCheckpointDeleted}


def _answers(data: Any, cls: type[Any], steps: set[Key], hooks: set[Key]) -> bool:
    """Whether an event is about a step or hook that had begun before, and does not give it up."""
    if cls is StepCompleted or cls is StepRetrying or (cls is StepStarted and data.attempt > 1):
        known = (data.step, data.ordinal) in steps
        if cls is StepCompleted:
            steps.discard((data.step, data.ordinal))
        return known
    if cls in _OF_STEPS and data.step:
        name, _, ordinal = data.step.rpartition("#")
        return (name, int(ordinal)) in steps
    if cls in _PROGRESS:
        return (data.step, data.ordinal) in steps
    return (cls is HookReceived or cls is HookRefused) and (data.hook, data.ordinal) in hooks


def on_rewound(machine: Machine, envelope: Envelope[Any]) -> None:
    """From here on the code may call otherwise than before: its children get ids of their own."""
    machine.rewinds.append((machine.orders, machine.incarnation, envelope.at))
    machine.incarnation = f"{machine.incarnation}+{envelope.data.count}"


def incarnation_of(machine: Machine, order: int) -> str:
    """What the ids of a call's children follow from: the incarnation as it was when the call was made."""
    return next((name for orders, name, _ in machine.rewinds if order <= orders), machine.incarnation)


def on_reopened(machine: Machine, envelope: Envelope[RunReopened]) -> None:
    """The end was taken back: open steps have all their retries again, the run all its time."""
    machine.suspended = True
    machine.recoveries = 0
    for call in machine.steps.values():
        call.failures = 0
    if machine.started is not None:
        machine.started = replace(machine.started, deadline=envelope.data.deadline)
    # asyncio's timers stood still: a timeout around the step that failed leaves it the time that was left.
    ended = machine.rewinds[-1][2]
    for timer in machine.timers.values():
        timer.due += max(envelope.at - ended, 0)
        machine.agenda.add(timer.due, timer)
