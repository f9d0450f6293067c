"""Errors of the front door. They hang below `pyworkflow_core.errors.WorkflowError`.

::

    WorkflowError
    ├── FatalError                        a step gives up: no retry
    │   ├── StepTransactionError          step_transaction() was used where it cannot work
    │   └── StreamNotFoundError           there is no such stream, or its run has ended
    ├── RetryableError                    a step asks to be tried again
    ├── StepTimeoutError                  (also a TimeoutError)
    │   └── StepHeartbeatTimeoutError     an attempt no longer says that it makes progress
    ├── StepOutsideWorkflowError
    ├── StepNotAwaitedError
    ├── WorkflowStalledError
    ├── WorkflowTimeoutError              max_duration ended the run
    ├── HistoryLimitError                 the run's log grew too long
    ├── ChildWorkflowError
    │   ├── ChildWorkflowFailedError      a child failed, or was cancelled
    │   └── MaxNestingDepthError
    ├── CompensationError                 what was done could not be undone
    ├── WorkflowInterruptedError
    ├── RetryRefusedError                 the run cannot be retried, or not without force
    ├── DeleteRefusedError                the run cannot be deleted, or not without force
    ├── WorkflowNotFoundError
    │   └── ScheduleNotFoundError         there is no schedule with this id
    ├── WorkflowAlreadyRunningError
    ├── WorkflowNotRegisteredError        nor is the version of it that the run started on
    ├── StepContextError                  (also a RuntimeError)
    ├── QueryNotFoundError
    ├── IdempotencyConflictError
    ├── DeduplicationError                a run that goes on has the deduplication id
    ├── ScheduleExistsError               the id belongs to a schedule of something else
    ├── HookNotFoundError
    ├── HookExpiredError
    ├── HookAlreadyReceivedError
    ├── HookTokenInUseError
    ├── InvalidTokenError
    ├── StreamFailedError                 a step of a stream failed
    └── DiscoveryError                    (a ConfigurationError)
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from pyworkflow_core.errors import ConfigurationError, WorkflowError


class FatalError(WorkflowError):
    """Raise it in a step that must not be tried again."""


class StepTransactionError(FatalError):
    """`step_transaction` was used where it cannot work. The message says what to do."""


class RetryableError(WorkflowError):
    """Raise it in a step to be tried again, at a moment of its own choosing.

    Args:
        message: what happened.
        retry_after: how long to wait: seconds, text such as ``"30s"``, or a `timedelta`;
            None for the step's own policy.

    Attributes:
        retry_after: as given.
    """

    def __init__(self, message: str = "", retry_after: str | float | timedelta | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class StepTimeoutError(WorkflowError, TimeoutError):
    """A step did not end within its `timeout`."""


class StepHeartbeatTimeoutError(StepTimeoutError):
    """A step gave no heartbeat within its `heartbeat_timeout`."""


class StepOutsideWorkflowError(WorkflowError):
    """A step, sleep or hook was called where no workflow runs."""


class StepNotAwaitedError(WorkflowError):
    """The workflow ended with a call that nobody ever awaited."""


class WorkflowStalledError(WorkflowError):
    """The workflow waits for something that nothing will ever bring."""


class WorkflowTimeoutError(WorkflowError, TimeoutError):
    """The run took longer than its `max_duration`."""


class HistoryLimitError(WorkflowError):
    """The run's log reached `history_limit`. Call `continue_as_new` before that."""


class ChildWorkflowError(WorkflowError):
    """Something is wrong with a child of the run."""


class ChildWorkflowFailedError(ChildWorkflowError):
    """A child failed, was interrupted or was cancelled. The original error is its `__cause__`.

    Attributes:
        child_run_id: the child's run.
        child_workflow_name: its workflow.
        error: the original error's text.
        error_type: the name of the original error's class.
    """

    def __init__(self, child_run_id: str, child_workflow_name: str, error: str, error_type: str) -> None:
        super().__init__(
            f"child {child_workflow_name!r} ({child_run_id}) failed: {error_type}: {error}".rstrip(": ")
        )
        self.child_run_id = child_run_id
        self.child_workflow_name = child_workflow_name
        self.error = error
        self.error_type = error_type


class MaxNestingDepthError(ChildWorkflowError):
    """Children of children go deeper than `max_nesting_depth`.

    Attributes:
        max_depth: the limit.
    """

    def __init__(self, message: str, max_depth: int = 0) -> None:
        super().__init__(message)
        self.max_depth = max_depth


class CompensationError(WorkflowError):
    """A run was asked to stop and could not undo all that it did, or would forget what it has to undo."""


class WorkflowInterruptedError(WorkflowError):
    """The run was given up after its processes died too often without progress."""


class RetryRefusedError(WorkflowError):
    """The run cannot be retried, or not without force. The message says why.

    Attributes:
        run_id: the run.
        forgotten: what completed after the failure and would be forgotten; empty for another reason.
    """

    def __init__(self, message: str, run_id: str = "", forgotten: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.run_id = run_id
        self.forgotten = forgotten


class DeleteRefusedError(WorkflowError):
    """The run cannot be deleted, or not without force. The message says why.

    Attributes:
        run_id: the run.
    """

    def __init__(self, message: str, run_id: str = "") -> None:
        super().__init__(message)
        self.run_id = run_id


class WorkflowNotFoundError(WorkflowError):
    """There is no run with this id."""


class ScheduleNotFoundError(WorkflowNotFoundError):
    """There is no schedule with this id, or it was deleted."""


class ScheduleExistsError(WorkflowError):
    """The id belongs to a schedule that starts something else, or at other times.

    Attributes:
        schedule_id: that schedule.
    """

    def __init__(self, message: str, schedule_id: str = "") -> None:
        super().__init__(message)
        self.schedule_id = schedule_id


class WorkflowAlreadyRunningError(WorkflowError):
    """Another process drives the run now."""


class WorkflowNotRegisteredError(WorkflowError):
    """The run's workflow, or the version of it that the run started on, is not defined in this process."""


class StepContextError(WorkflowError, RuntimeError):
    """There is no step context here, or not the expected one."""


class QueryNotFoundError(WorkflowError):
    """The run's code has no query of this name."""


class IdempotencyConflictError(WorkflowError):
    """The idempotency key belongs to a run of another workflow or with other arguments.

    Attributes:
        run_id: that run.
    """

    def __init__(self, message: str, run_id: str = "") -> None:
        super().__init__(message)
        self.run_id = run_id


class DeduplicationError(WorkflowError):
    """A run that has not ended has the deduplication id. Nothing was started.

    Attributes:
        run_id: that run.
    """

    def __init__(self, message: str, run_id: str = "") -> None:
        super().__init__(message)
        self.run_id = run_id


class HookNotFoundError(WorkflowError):
    """No hook answers to the token."""


class HookExpiredError(WorkflowError):
    """The hook's timeout fired, or its run no longer waits for it."""


class HookAlreadyReceivedError(WorkflowError):
    """Somebody answered the hook before."""


class HookTokenInUseError(WorkflowError):
    """Another open hook has the token that the hook was to get."""


class InvalidTokenError(WorkflowError, ValueError):
    """The text is not a hook token."""


class StreamNotFoundError(FatalError):
    """There is no such stream, or that run of it has ended."""


class StreamFailedError(WorkflowError):
    """A step of a stream failed.

    Attributes:
        result: how the run of the stream ended: a `StreamWorkflowResult`; None where the error
            comes from a log.
    """

    def __init__(self, message: str, result: Any = None) -> None:
        super().__init__(message)
        self.result = result


class DiscoveryError(ConfigurationError):
    """A module that should define workflows cannot be imported."""
