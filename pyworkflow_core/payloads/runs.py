"""What happens to a run as a whole: its beginning, its owners, its end, what it owes."""

from __future__ import annotations

from typing import ClassVar

from msgspec import Raw

from ..carried import NO_RAW, Carried
from .base import EventType, Payload


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
        concurrency_key: of runs with one key only so many are driven at once; the queue says how many.
        deduplication_id: the id that no other run has while this one goes on.
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
    attributes: dict[str, str] = {}  # noqa: RUF012 - each object gets its own
    wake_at: int | None = None
    deadline: int | None = None
    max_recoveries: int = 3
    continued_from: str | None = None
    first: str | None = None
    carried: Carried | None = None
    concurrency_key: str | None = None
    deduplication_id: str | None = None


class WorkflowCompleted(Payload, frozen=True, gc=False, omit_defaults=True):
    """The workflow function returned. `result` is the encoded value."""

    TYPE: ClassVar[EventType] = EventType.WORKFLOW_COMPLETED

    result: Raw = NO_RAW


class WorkflowFailed(Payload, frozen=True, gc=False, omit_defaults=True):
    """The workflow function raised. `error` is the encoded exception."""

    TYPE: ClassVar[EventType] = EventType.WORKFLOW_FAILED

    error: Raw = NO_RAW


class WorkflowCancelled(Payload, frozen=True, gc=False, omit_defaults=True):
    """The run ended because a cancellation request was delivered to it; `reason` is the request's."""

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
