"""The event taxonomy: one data class for each built-in event type.

The modules of this package are the list, one for each kind of thing that happens. A class's
fields are what the event's ``data`` holds; `Raw` fields hold a value as the codec wrote it.
Times are integer microseconds since 1970 in UTC. Fields may be added with a default; anything
else raises the class's `VERSION` and needs an upcaster (see
`pyworkflow_core.events.register_upcaster`).
"""

from __future__ import annotations

from .base import (
    EventType,
    Payload,
)
from .children import (
    ChildWorkflowCancelled,
    ChildWorkflowCompleted,
    ChildWorkflowFailed,
    ChildWorkflowReleased,
    ChildWorkflowStarted,
)
from .notebook import PatchApplied, StatePublished, StepContextSet
from .progress import StepCheckpointDeleted, StepCheckpointSaved, StepHeartbeat
from .queues import DeduplicationIdTaken, QueueOpened, Slot, SlotsChanged
from .reopening import (
    RunReopened,
)
from .runs import (
    CancellationRequested,
    DeliveriesMade,
    RunRecovered,
    WorkflowCancelled,
    WorkflowCompleted,
    WorkflowContinuedAsNew,
    WorkflowFailed,
    WorkflowInterrupted,
    WorkflowResumed,
    WorkflowStarted,
    WorkflowSuspended,
)
from .schedules import ScheduleChanged, ScheduledRun
from .signals import SignalReceived, SignalSent
from .steps import (
    StepCancelled,
    StepCompleted,
    StepFailed,
    StepRetrying,
    StepStarted,
)
from .tokens import HookRefused, HookTokenTaken
from .waits import (
    HookCreated,
    HookDisposed,
    HookExpired,
    HookReceived,
    SleepCancelled,
    SleepCompleted,
    SleepStarted,
    TimerFired,
)

__all__ = [
    "PAYLOAD_CLASSES",
    "CancellationRequested",
    "ChildWorkflowCancelled",
    "ChildWorkflowCompleted",
    "ChildWorkflowFailed",
    "ChildWorkflowReleased",
    "ChildWorkflowStarted",
    "DeduplicationIdTaken",
    "DeliveriesMade",
    "EventType",
    "HookCreated",
    "HookDisposed",
    "HookExpired",
    "HookReceived",
    "HookRefused",
    "HookTokenTaken",
    "PatchApplied",
    "Payload",
    "QueueOpened",
    "RunRecovered",
    "RunReopened",
    "ScheduleChanged",
    "ScheduledRun",
    "SignalReceived",
    "SignalSent",
    "SleepCancelled",
    "SleepCompleted",
    "SleepStarted",
    "Slot",
    "SlotsChanged",
    "StatePublished",
    "StepCancelled",
    "StepCheckpointDeleted",
    "StepCheckpointSaved",
    "StepCompleted",
    "StepContextSet",
    "StepFailed",
    "StepHeartbeat",
    "StepRetrying",
    "StepStarted",
    "TimerFired",
    "WorkflowCancelled",
    "WorkflowCompleted",
    "WorkflowContinuedAsNew",
    "WorkflowFailed",
    "WorkflowInterrupted",
    "WorkflowResumed",
    "WorkflowStarted",
    "WorkflowSuspended",
]

PAYLOAD_CLASSES: tuple[type[Payload], ...] = tuple(
    sorted(Payload.__subclasses__(), key=lambda cls: list(EventType).index(cls.TYPE))
)
"""Every built-in payload class, in the order of `EventType`."""
