"""The event taxonomy: one data class for each built-in event type.

This file is the list. A class's fields are what the event's ``data`` holds; `Raw` fields
hold a value as the codec wrote it. Times are integer microseconds since 1970 in UTC.
Fields may be added with a default; anything else raises the class's `VERSION` and needs
an upcaster (see `pyworkflow_core.events.register_upcaster`).
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

from msgspec import Raw, Struct

from .carried import NO_RAW, Carried


class EventType(StrEnum):
    """Names of the built-in event types, as they stand in the log."""

    WORKFLOW_STARTED = "workflow_started"
    WORKFLOW_COMPLETED = "workflow_completed"
    WORKFLOW_FAILED = "workflow_failed"
    WORKFLOW_CANCELLED = "workflow_cancelled"
    WORKFLOW_INTERRUPTED = "workflow_interrupted"
    WORKFLOW_SUSPENDED = "workflow_suspended"
    WORKFLOW_RESUMED = "workflow_resumed"
    RUN_RECOVERED = "run_recovered"
    CANCELLATION_REQUESTED = "cancellation_requested"
    STEP_STARTED = "step_started"
    STEP_COMPLETED = "step_completed"
    STEP_FAILED = "step_failed"
    STEP_RETRYING = "step_retrying"
    STEP_CANCELLED = "step_cancelled"
    SLEEP_STARTED = "sleep_started"
    SLEEP_COMPLETED = "sleep_completed"
    SLEEP_CANCELLED = "sleep_cancelled"
    TIMER_FIRED = "timer_fired"
    HOOK_CREATED = "hook_created"
    HOOK_RECEIVED = "hook_received"
    HOOK_EXPIRED = "hook_expired"
    HOOK_DISPOSED = "hook_disposed"
    CHILD_WORKFLOW_STARTED = "child_workflow_started"
    CHILD_WORKFLOW_COMPLETED = "child_workflow_completed"
    CHILD_WORKFLOW_FAILED = "child_workflow_failed"
    CHILD_WORKFLOW_CANCELLED = "child_workflow_cancelled"
    CHILD_WORKFLOW_RELEASED = "child_workflow_released"
    WORKFLOW_CONTINUED_AS_NEW = "workflow_continued_as_new"
    DELIVERIES_MADE = "deliveries_made"


class Payload(Struct, frozen=True, gc=False, omit_defaults=True):
    """Base of every payload class."""

    TYPE: ClassVar[EventType]
    VERSION: ClassVar[int] = 1


class WorkflowStarted(Payload, frozen=True, gc=False, omit_defaults=True):
    """A run was created. The first event of every log.

    Attributes:
        workflow: the workflow's registered name.
        args: the encoded arguments, ``[args, kwargs]``.
        owner: token of the process that drives it, or None where it was only enqueued.
        queue: the queue whose workers may claim it.
        priority: 0 is claimed first; 5 is the default.
        idempotency_key: the key that derived the run id.
        python: minor version of the interpreter, such as ``3.11``.
        workflow_version: what ``@workflow(version=…)`` said.
        parent: run id of the parent run.
        depth: nesting depth; 0 for a run without a parent.
        tags: labels given in the definition.
        attributes: exact-match attributes for listing.
        wake_at: when the run is first due; the event's own time unless given.
        deadline: when ``max_duration`` ends the run.
        max_recoveries: recoveries without progress before the run is interrupted.
        continued_from: run id of the run that this one continues.
        first: run id of the first run of the chain, where this one continues another.
        carried: what it takes over from that run.
    """

    TYPE: ClassVar[EventType] = EventType.WORKFLOW_STARTED

    workflow: str
    args: Raw = NO_RAW
    owner: str | None = None
    queue: str = "default"
    priority: int = 5
    idempotency_key: str | None = None
    python: str = ""
    workflow_version: str | None = None
    parent: str | None = None
    depth: int = 0
    tags: tuple[str, ...] = ()
    attributes: dict[str, str] = {}
    wake_at: int | None = None
    deadline: int | None = None
    max_recoveries: int = 3
    continued_from: str | None = None
    first: str | None = None
    carried: Carried | None = None


class WorkflowCompleted(Payload, frozen=True, gc=False, omit_defaults=True):
    """The workflow function returned. `result` is the encoded value."""

    TYPE: ClassVar[EventType] = EventType.WORKFLOW_COMPLETED

    result: Raw = NO_RAW


class WorkflowFailed(Payload, frozen=True, gc=False, omit_defaults=True):
    """The workflow function raised. `error` is the encoded exception."""

    TYPE: ClassVar[EventType] = EventType.WORKFLOW_FAILED

    error: Raw = NO_RAW


class WorkflowCancelled(Payload, frozen=True, gc=False, omit_defaults=True):
    """The run ended because a cancellation request was delivered to it."""

    TYPE: ClassVar[EventType] = EventType.WORKFLOW_CANCELLED

    reason: str | None = None


class WorkflowInterrupted(Payload, frozen=True, gc=False, omit_defaults=True):
    """The run was given up: every process that took it died before it made progress.

    Attributes:
        reason: what happened, in words.
        recoveries: how often it had been taken up without progress.
    """

    TYPE: ClassVar[EventType] = EventType.WORKFLOW_INTERRUPTED

    reason: str = ""
    recoveries: int = 0


class WorkflowSuspended(Payload, frozen=True, gc=False, omit_defaults=True):
    """The run left memory and waits.

    Attributes:
        wake_at: when it is due by itself; None if it waits for somebody.
        waiting: what it waits for, in words, at most ten entries.
        reason: why it left memory, where that was not for waiting.
    """

    TYPE: ClassVar[EventType] = EventType.WORKFLOW_SUSPENDED

    wake_at: int | None = None
    waiting: tuple[str, ...] = ()
    reason: str = ""


class WorkflowResumed(Payload, frozen=True, gc=False, omit_defaults=True):
    """A process took a suspended run up again; `owner` is its token."""

    TYPE: ClassVar[EventType] = EventType.WORKFLOW_RESUMED

    owner: str


class RunRecovered(Payload, frozen=True, gc=False, omit_defaults=True):
    """A process took up a run whose owner had died.

    Attributes:
        owner: token of the process that took it.
        count: recoveries since the last recorded completion, this one included.
    """

    TYPE: ClassVar[EventType] = EventType.RUN_RECOVERED

    owner: str
    count: int = 1


class CancellationRequested(Payload, frozen=True, gc=False, omit_defaults=True):
    """Somebody asked the run to stop.

    Attributes:
        reason: text given with the request.
        source: ``user``, ``parent``, ``max_duration`` or ``history_limit``.
    """

    TYPE: ClassVar[EventType] = EventType.CANCELLATION_REQUESTED

    reason: str | None = None
    source: str = "user"


class StepStarted(Payload, frozen=True, gc=False, omit_defaults=True):
    """A step begins to execute, once this event is durable.

    Attributes:
        step: the step's registered name.
        ordinal: the how-manieth call of that name in the run, from 1.
        args: fingerprint of the arguments: their encoding, or its digest where that is long.
        attempt: 1 for the first execution; retries and recoveries count on.
        at: module and line of the call.
    """

    TYPE: ClassVar[EventType] = EventType.STEP_STARTED

    step: str
    ordinal: int = 1
    args: Raw = NO_RAW
    attempt: int = 1
    at: str = ""


class StepCompleted(Payload, frozen=True, gc=False, omit_defaults=True):
    """A step returned. `result` is the encoded value."""

    TYPE: ClassVar[EventType] = EventType.STEP_COMPLETED

    step: str
    ordinal: int = 1
    result: Raw = NO_RAW


class StepFailed(Payload, frozen=True, gc=False, omit_defaults=True):
    """A step failed for good; the workflow gets `error`.

    Attributes:
        error: the encoded exception.
        attempt: the attempt that failed last.
    """

    TYPE: ClassVar[EventType] = EventType.STEP_FAILED

    step: str
    ordinal: int = 1
    error: Raw = NO_RAW
    attempt: int = 1


class StepRetrying(Payload, frozen=True, gc=False, omit_defaults=True):
    """A step failed and is tried again at `retry_at`.

    Attributes:
        error: the encoded exception.
        attempt: the attempt that failed.
        failures: failures so far; attempts lost to a crash are not among them.
        retry_at: when the next attempt is due.
    """

    TYPE: ClassVar[EventType] = EventType.STEP_RETRYING

    step: str
    ordinal: int = 1
    error: Raw = NO_RAW
    attempt: int = 1
    failures: int = 1
    retry_at: int = 0


class StepCancelled(Payload, frozen=True, gc=False, omit_defaults=True):
    """The workflow no longer waits for the step: a timeout, a lost race, a cancellation."""

    TYPE: ClassVar[EventType] = EventType.STEP_CANCELLED

    step: str
    ordinal: int = 1


class SleepStarted(Payload, frozen=True, gc=False, omit_defaults=True):
    """The workflow sleeps until `wake_at`.

    Attributes:
        sleep: the sleep's name.
        ordinal: the how-manieth sleep of that name, from 1.
        duration: microseconds asked for; None where a moment was given.
        wake_at: when the sleep ends.
    """

    TYPE: ClassVar[EventType] = EventType.SLEEP_STARTED

    sleep: str
    ordinal: int = 1
    duration: int | None = None
    wake_at: int = 0
    at: str = ""


class SleepCompleted(Payload, frozen=True, gc=False, omit_defaults=True):
    """A sleep ended."""

    TYPE: ClassVar[EventType] = EventType.SLEEP_COMPLETED

    sleep: str
    ordinal: int = 1


class SleepCancelled(Payload, frozen=True, gc=False, omit_defaults=True):
    """The workflow no longer waits for the sleep."""

    TYPE: ClassVar[EventType] = EventType.SLEEP_CANCELLED

    sleep: str
    ordinal: int = 1


class TimerFired(Payload, frozen=True, gc=False, omit_defaults=True):
    """A timer of asyncio's fired: ``asyncio.sleep``, ``timeout`` or ``wait_for``.

    Such a timer needs no event to begin: its due time follows from the workflow's own clock.

    Attributes:
        timer: the how-manieth timer of the run, from 1.
        due: when it was due.
    """

    TYPE: ClassVar[EventType] = EventType.TIMER_FIRED

    timer: int
    due: int = 0


class HookCreated(Payload, frozen=True, gc=False, omit_defaults=True):
    """The workflow waits for an answer from outside.

    Attributes:
        hook: the hook's name.
        ordinal: the how-manieth hook of that name, from 1.
        token: the secret that lets somebody answer.
        expires_at: when the hook's timeout fires; None for never.
        schema: name of the payload's type, for people.
    """

    TYPE: ClassVar[EventType] = EventType.HOOK_CREATED

    hook: str
    ordinal: int = 1
    token: str = ""
    expires_at: int | None = None
    schema: str = ""
    at: str = ""


class HookReceived(Payload, frozen=True, gc=False, omit_defaults=True):
    """Somebody answered; `payload` is the encoded answer."""

    TYPE: ClassVar[EventType] = EventType.HOOK_RECEIVED

    hook: str
    ordinal: int = 1
    payload: Raw = NO_RAW


class HookExpired(Payload, frozen=True, gc=False, omit_defaults=True):
    """The hook's timeout fired before an answer came."""

    TYPE: ClassVar[EventType] = EventType.HOOK_EXPIRED

    hook: str
    ordinal: int = 1


class HookDisposed(Payload, frozen=True, gc=False, omit_defaults=True):
    """The workflow no longer waits for the hook; a later answer is refused."""

    TYPE: ClassVar[EventType] = EventType.HOOK_DISPOSED

    hook: str
    ordinal: int = 1


class ChildWorkflowStarted(Payload, frozen=True, gc=False, omit_defaults=True):
    """A child is started, once this event is durable.

    Attributes:
        child: the name of the child's workflow.
        ordinal: the how-manieth child of that workflow, from 1; 0 for one that a step started.
        run_id: the child's run id, derived from the run, its incarnation and the call.
        start: the first event of the child's log.
        abandon: whether the parent's end leaves it alone.
        step: the step that started it, as ``name#ordinal``; empty for the workflow itself.
        at: module and line of the call.
    """

    TYPE: ClassVar[EventType] = EventType.CHILD_WORKFLOW_STARTED

    child: str
    ordinal: int
    run_id: str
    start: WorkflowStarted
    abandon: bool = False
    step: str = ""
    at: str = ""


class ChildWorkflowCompleted(Payload, frozen=True, gc=False, omit_defaults=True):
    """A child returned.

    Attributes:
        child: the name of the child's workflow.
        run_id: the child's run id, as it was started.
        result: the encoded value.
    """

    TYPE: ClassVar[EventType] = EventType.CHILD_WORKFLOW_COMPLETED

    child: str
    run_id: str
    result: Raw = NO_RAW


class ChildWorkflowFailed(Payload, frozen=True, gc=False, omit_defaults=True):
    """A child failed, or was interrupted.

    Attributes:
        child: the name of the child's workflow.
        run_id: the child's run id, as it was started.
        error: the encoded exception.
    """

    TYPE: ClassVar[EventType] = EventType.CHILD_WORKFLOW_FAILED

    child: str
    run_id: str
    error: Raw = NO_RAW


class ChildWorkflowCancelled(Payload, frozen=True, gc=False, omit_defaults=True):
    """A child ended because it was asked to stop.

    Attributes:
        child: the name of the child's workflow.
        run_id: the child's run id, as it was started.
        reason: text given with the request.
    """

    TYPE: ClassVar[EventType] = EventType.CHILD_WORKFLOW_CANCELLED

    child: str
    run_id: str
    reason: str | None = None


class ChildWorkflowReleased(Payload, frozen=True, gc=False, omit_defaults=True):
    """The workflow no longer waits for a child, or asked it to stop.

    Attributes:
        child: the name of the child's workflow.
        run_id: the child's run id, as it was started.
        stop: whether the child is asked to stop.
        reason: text given with the request.
    """

    TYPE: ClassVar[EventType] = EventType.CHILD_WORKFLOW_RELEASED

    child: str
    run_id: str
    stop: bool = False
    reason: str | None = None


class WorkflowContinuedAsNew(Payload, frozen=True, gc=False, omit_defaults=True):
    """The run ended, and another one goes on in its place with a log of its own.

    Attributes:
        run_id: that run's id, derived from this one's.
        start: the first event of that run's log.
    """

    TYPE: ClassVar[EventType] = EventType.WORKFLOW_CONTINUED_AS_NEW

    run_id: str
    start: WorkflowStarted


class DeliveriesMade(Payload, frozen=True, gc=False, omit_defaults=True):
    """Whatever this log owed to other runs by the events before this one, they have."""

    TYPE: ClassVar[EventType] = EventType.DELIVERIES_MADE


PAYLOAD_CLASSES: tuple[type[Payload], ...] = tuple(Payload.__subclasses__())
"""Every built-in payload class, in the order of this file."""
