"""What a log says without running any code: its payloads, open steps, open hooks."""

from __future__ import annotations

from typing import Any

from pyworkflow_core.events import Envelope, Event, decode_bodies
from pyworkflow_core.payloads import (
    CancellationRequested,
    ChildWorkflowCancelled,
    ChildWorkflowCompleted,
    ChildWorkflowFailed,
    ChildWorkflowStarted,
    HookReceived,
    RunReopened,
    SignalReceived,
    StepCancelled,
    StepCompleted,
    StepFailed,
    StepRetrying,
    StepStarted,
    WorkflowStarted,
    WorkflowSuspended,
)
from pyworkflow_core.replay import in_force

_FROM_OUTSIDE = {CancellationRequested, HookReceived, SignalReceived}
"""What reaches a run while nobody drives it."""


def envelopes_of(events: list[Event]) -> list[Envelope[Any]]:
    """The decoded bodies of `events`; of a whole log, as far as they still count (see `in_force`)."""
    found = decode_bodies([event.body for event in events])
    whole = bool(events) and events[0].sequence == 1
    return in_force(found) if whole and RunReopened in {e.data.__class__ for e in found} else found


def open_steps(history: list[Envelope[Any]]) -> list[StepStarted]:
    """The last attempt of each step that began and did not end, in the order of their calls."""
    if _only_waits(history):
        return []
    found: dict[tuple[str, int], StepStarted] = {}
    for envelope in history:
        payload = envelope.data
        cls = payload.__class__
        if cls is StepStarted:
            found[payload.step, payload.ordinal] = payload
        elif cls is StepCompleted or cls is StepFailed or cls is StepCancelled or cls is StepRetrying:
            found.pop((payload.step, payload.ordinal), None)
    return list(found.values())


def _only_waits(history: list[Envelope[Any]]) -> bool:
    """Whether the run was suspended for want of anything to do, so that no step was under way then."""
    for envelope in reversed(history):
        payload = envelope.data
        if payload.__class__ not in _FROM_OUTSIDE:
            return payload.__class__ is WorkflowSuspended and not payload.reason
    return False


def open_children(history: list[Envelope[Any]]) -> list[str]:
    """Run ids of the children whose end the run was not told of."""
    found: dict[str, None] = {}
    for envelope in history:
        payload = envelope.data
        cls = payload.__class__
        if cls is ChildWorkflowStarted:
            found[payload.run_id] = None
        elif cls is ChildWorkflowCompleted or cls is ChildWorkflowFailed or cls is ChildWorkflowCancelled:
            found.pop(payload.run_id, None)
        elif cls is WorkflowStarted and payload.carried is not None:
            found.update((child.run_id, None) for child in payload.carried.children if child.status == "open")
    return list(found)


def was_left_because(history: list[Envelope[Any]], reason: str) -> bool:
    """Whether the run was suspended last for `reason`."""
    last = next((e.data for e in reversed(history) if isinstance(e.data, WorkflowSuspended)), None)
    return last is not None and last.reason == reason
