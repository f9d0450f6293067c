"""What happens to the children of a run."""

from __future__ import annotations

from typing import ClassVar

from msgspec import Raw

from ..carried import NO_RAW
from .base import EventType, Payload
from .runs import WorkflowStarted


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
