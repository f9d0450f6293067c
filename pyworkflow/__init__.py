"""Durable workflows for Python on your database.

Write ``@workflow`` and ``@step`` functions, `start` them, and after a crash or a sleep they go
on from their log: completed steps answer from it, and no recorded step runs again.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyworkflow_core.errors import (
        CancellationError,
        ConfigurationError,
        NonDeterminismError,
        UnserializableValueError,
        WorkflowError,
    )
    from pyworkflow_core.events import Event
    from pyworkflow_core.payloads import EventType
    from pyworkflow_core.plugins import list_backends, open_storage
    from pyworkflow_core.record import RunStatus
    from pyworkflow_core.storage import StorageBackend

    from .blocking import (
        activate_scheduled_workflows_blocking,
        backfill_schedule_blocking,
        cancel_workflow_blocking,
        cancel_workflow_runs_blocking,
        create_schedule_blocking,
        delete_schedule_blocking,
        delete_workflow_run_blocking,
        emit_blocking,
        get_queue_blocking,
        get_schedule_blocking,
        get_workflow_chain_blocking,
        get_workflow_events_blocking,
        get_workflow_run_blocking,
        get_workflow_run_by_idempotency_key_blocking,
        get_workflow_state_blocking,
        list_hooks_blocking,
        list_schedules_blocking,
        list_workflow_runs_blocking,
        pause_schedule_blocking,
        prune_workflow_runs_blocking,
        query_workflow_blocking,
        resume_blocking,
        resume_hook_blocking,
        resume_schedule_blocking,
        retry_workflow_blocking,
        run_blocking,
        run_stream_workflow_blocking,
        start_blocking,
        terminate_blocking,
        trigger_schedule_blocking,
        update_schedule_blocking,
    )
    from .bulk import cancel_workflow_runs
    from .cancellation import check_cancellation, is_cancelled
    from .children import ChildWorkflowHandle, start_child_workflow
    from .config import (
        configure,
        configure_from_yaml,
        discover_workflows,
        get_config,
        get_storage,
        reset_config,
    )
    from .context import StepContext, get_step_context, has_step_context, set_step_context
    from .definitions import StepDefinition, WorkflowDefinition, step, workflow
    from .deterministic import now, random, rng, uuid4
    from .engine.attempt import step_transaction
    from .engine.continuing import continue_as_new
    from .engine.control import resume, start
    from .engine.deleting import delete_workflow_run
    from .engine.external import ResumeResult, cancel_workflow, resume_hook
    from .engine.retrying import RetriedRun, retry_workflow
    from .engine.transient import TransientRun
    from .errors import (
        ChildWorkflowError,
        ChildWorkflowFailedError,
        CompensationError,
        DeduplicationError,
        DeleteRefusedError,
        DiscoveryError,
        FatalError,
        HistoryLimitError,
        HookAlreadyReceivedError,
        HookExpiredError,
        HookNotFoundError,
        HookTokenInUseError,
        IdempotencyConflictError,
        InvalidTokenError,
        MaxNestingDepthError,
        QueryNotFoundError,
        RetryableError,
        RetryRefusedError,
        ScheduleExistsError,
        ScheduleNotFoundError,
        StepContextError,
        StepHeartbeatTimeoutError,
        StepNotAwaitedError,
        StepOutsideWorkflowError,
        StepTimeoutError,
        StepTransactionError,
        StreamFailedError,
        StreamNotFoundError,
        WorkflowAlreadyRunningError,
        WorkflowInterruptedError,
        WorkflowNotFoundError,
        WorkflowNotRegisteredError,
        WorkflowStalledError,
        WorkflowTimeoutError,
    )
    from .in_steps import (
        StepInfo,
        delete_step_checkpoint,
        delete_step_checkpoint_blocking,
        heartbeat,
        load_step_checkpoint,
        load_step_checkpoint_blocking,
        save_step_checkpoint,
        save_step_checkpoint_blocking,
        step_hook,
        step_hook_blocking,
        step_info,
    )
    from .logs import WorkflowLogger, get_logger
    from .open_hooks import HookInfo, list_hooks
    from .patches import patched
    from .primitives import TypedHook, define_hook, hook, shield, sleep
    from .pruning import PrunedRuns, prune_workflow_runs
    from .queries import get_workflow_state, publish, query, query_workflow
    from .queues import QueueLimits, QueueState, configure_queue, get_queue, get_queue_limits
    from .runs import (
        WorkflowRun,
        get_workflow_chain,
        get_workflow_events,
        get_workflow_run,
        get_workflow_run_by_idempotency_key,
        list_workflow_runs,
    )
    from .sagas import Saga, compensate, saga
    from .schedules.changing import (
        backfill_schedule,
        delete_schedule,
        pause_schedule,
        resume_schedule,
        trigger_schedule,
        update_schedule,
    )
    from .schedules.creating import create_schedule
    from .schedules.decorating import activate_scheduled_workflows, scheduled_workflow
    from .schedules.local import LocalScheduler
    from .schedules.reading import RecentRun, Schedule, get_schedule, list_schedules
    from .schedules.spec import CalendarSpec, OverlapPolicy, ScheduleSpec, ScheduleStatus
    from .storage.file import FileStorageBackend
    from .storage.memory import InMemoryStorageBackend
    from .streams import (
        Signal,
        StreamWorkflowResult,
        emit,
        get_checkpoint,
        get_current_signal,
        run_stream_workflow,
        save_checkpoint,
        set_result,
        stream_step,
        stream_workflow,
        terminate,
    )
    from .workers import Worker, WorkerHealth, WorkerStats

__version__ = "0.1.0"

__all__ = [
    "CalendarSpec",
    "CancellationError",
    "ChildWorkflowError",
    "ChildWorkflowFailedError",
    "ChildWorkflowHandle",
    "CompensationError",
    "ConfigurationError",
    "DeduplicationError",
    "DeleteRefusedError",
    "DiscoveryError",
    "Event",
    "EventType",
    "FatalError",
    "FileStorageBackend",
    "HistoryLimitError",
    "HookAlreadyReceivedError",
    "HookExpiredError",
    "HookInfo",
    "HookNotFoundError",
    "HookTokenInUseError",
    "IdempotencyConflictError",
    "InMemoryStorageBackend",
    "InvalidTokenError",
    "LocalScheduler",
    "MaxNestingDepthError",
    "NonDeterminismError",
    "OverlapPolicy",
    "PrunedRuns",
    "QueryNotFoundError",
    "QueueLimits",
    "QueueState",
    "RecentRun",
    "ResumeResult",
    "RetriedRun",
    "RetryRefusedError",
    "RetryableError",
    "RunStatus",
    "Saga",
    "Schedule",
    "ScheduleExistsError",
    "ScheduleNotFoundError",
    "ScheduleSpec",
    "ScheduleStatus",
    "Signal",
    "StepContext",
    "StepContextError",
    "StepDefinition",
    "StepHeartbeatTimeoutError",
    "StepInfo",
    "StepNotAwaitedError",
    "StepOutsideWorkflowError",
    "StepTimeoutError",
    "StepTransactionError",
    "StorageBackend",
    "StreamFailedError",
    "StreamNotFoundError",
    "StreamWorkflowResult",
    "TransientRun",
    "TypedHook",
    "UnserializableValueError",
    "Worker",
    "WorkerHealth",
    "WorkerStats",
    "WorkflowAlreadyRunningError",
    "WorkflowDefinition",
    "WorkflowError",
    "WorkflowInterruptedError",
    "WorkflowLogger",
    "WorkflowNotFoundError",
    "WorkflowNotRegisteredError",
    "WorkflowRun",
    "WorkflowStalledError",
    "WorkflowTimeoutError",
    "activate_scheduled_workflows",
    "activate_scheduled_workflows_blocking",
    "backfill_schedule",
    "backfill_schedule_blocking",
    "cancel_workflow",
    "cancel_workflow_blocking",
    "cancel_workflow_runs",
    "cancel_workflow_runs_blocking",
    "check_cancellation",
    "compensate",
    "configure",
    "configure_from_yaml",
    "configure_queue",
    "continue_as_new",
    "create_schedule",
    "create_schedule_blocking",
    "define_hook",
    "delete_schedule",
    "delete_schedule_blocking",
    "delete_step_checkpoint",
    "delete_step_checkpoint_blocking",
    "delete_workflow_run",
    "delete_workflow_run_blocking",
    "discover_workflows",
    "emit",
    "emit_blocking",
    "get_checkpoint",
    "get_config",
    "get_current_signal",
    "get_logger",
    "get_queue",
    "get_queue_blocking",
    "get_queue_limits",
    "get_schedule",
    "get_schedule_blocking",
    "get_step_context",
    "get_storage",
    "get_workflow_chain",
    "get_workflow_chain_blocking",
    "get_workflow_events",
    "get_workflow_events_blocking",
    "get_workflow_run",
    "get_workflow_run_blocking",
    "get_workflow_run_by_idempotency_key",
    "get_workflow_run_by_idempotency_key_blocking",
    "get_workflow_state",
    "get_workflow_state_blocking",
    "has_step_context",
    "heartbeat",
    "hook",
    "is_cancelled",
    "list_backends",
    "list_hooks",
    "list_hooks_blocking",
    "list_schedules",
    "list_schedules_blocking",
    "list_workflow_runs",
    "list_workflow_runs_blocking",
    "load_step_checkpoint",
    "load_step_checkpoint_blocking",
    "now",
    "open_storage",
    "patched",
    "pause_schedule",
    "pause_schedule_blocking",
    "prune_workflow_runs",
    "prune_workflow_runs_blocking",
    "publish",
    "query",
    "query_workflow",
    "query_workflow_blocking",
    "random",
    "reset_config",
    "resume",
    "resume_blocking",
    "resume_hook",
    "resume_hook_blocking",
    "resume_schedule",
    "resume_schedule_blocking",
    "retry_workflow",
    "retry_workflow_blocking",
    "rng",
    "run_blocking",
    "run_stream_workflow",
    "run_stream_workflow_blocking",
    "saga",
    "save_checkpoint",
    "save_step_checkpoint",
    "save_step_checkpoint_blocking",
    "scheduled_workflow",
    "set_result",
    "set_step_context",
    "shield",
    "sleep",
    "start",
    "start_blocking",
    "start_child_workflow",
    "step",
    "step_hook",
    "step_hook_blocking",
    "step_info",
    "step_transaction",
    "stream_step",
    "stream_workflow",
    "terminate",
    "terminate_blocking",
    "trigger_schedule",
    "trigger_schedule_blocking",
    "update_schedule",
    "update_schedule_blocking",
    "uuid4",
    "workflow",
]

# Where each name comes from. Nothing is imported before somebody asks for a name: a program that
# only wants the version, or the command line's help, does not wait for the engine.
_HOMES = {
    "pyworkflow_core.errors": (
        "CancellationError ConfigurationError NonDeterminismError UnserializableValueError WorkflowError"
    ),
    "pyworkflow_core.events": "Event",
    "pyworkflow_core.payloads": "EventType",
    "pyworkflow_core.plugins": "list_backends open_storage",
    "pyworkflow_core.record": "RunStatus",
    "pyworkflow_core.storage": "StorageBackend",
    ".blocking": (
        "activate_scheduled_workflows_blocking backfill_schedule_blocking cancel_workflow_blocking "
        "cancel_workflow_runs_blocking create_schedule_blocking delete_schedule_blocking "
        "delete_workflow_run_blocking emit_blocking get_queue_blocking get_schedule_blocking "
        "get_workflow_chain_blocking get_workflow_events_blocking get_workflow_run_blocking "
        "get_workflow_run_by_idempotency_key_blocking get_workflow_state_blocking list_hooks_blocking "
        "list_schedules_blocking list_workflow_runs_blocking pause_schedule_blocking "
        "prune_workflow_runs_blocking query_workflow_blocking resume_blocking resume_hook_blocking "
        "resume_schedule_blocking retry_workflow_blocking run_blocking run_stream_workflow_blocking "
        "start_blocking terminate_blocking trigger_schedule_blocking update_schedule_blocking"
    ),
    ".bulk": "cancel_workflow_runs",
    ".cancellation": "check_cancellation is_cancelled",
    ".children": "ChildWorkflowHandle start_child_workflow",
    ".config": "configure configure_from_yaml discover_workflows get_config get_storage reset_config",
    ".context": "StepContext get_step_context has_step_context set_step_context",
    ".definitions": "StepDefinition WorkflowDefinition step workflow",
    ".deterministic": "now random rng uuid4",
    ".engine.attempt": "step_transaction",
    ".engine.continuing": "continue_as_new",
    ".engine.control": "resume start",
    ".engine.deleting": "delete_workflow_run",
    ".engine.external": "ResumeResult cancel_workflow resume_hook",
    ".engine.retrying": "RetriedRun retry_workflow",
    ".engine.transient": "TransientRun",
    ".errors": (
        "ChildWorkflowError ChildWorkflowFailedError CompensationError DeduplicationError "
        "DeleteRefusedError DiscoveryError FatalError HistoryLimitError HookAlreadyReceivedError "
        "HookExpiredError HookNotFoundError HookTokenInUseError IdempotencyConflictError "
        "InvalidTokenError MaxNestingDepthError QueryNotFoundError RetryRefusedError RetryableError "
        "ScheduleExistsError ScheduleNotFoundError StepContextError StepHeartbeatTimeoutError "
        "StepNotAwaitedError StepOutsideWorkflowError StepTimeoutError StepTransactionError "
        "StreamFailedError StreamNotFoundError WorkflowAlreadyRunningError WorkflowInterruptedError "
        "WorkflowNotFoundError WorkflowNotRegisteredError WorkflowStalledError WorkflowTimeoutError"
    ),
    ".in_steps": (
        "StepInfo delete_step_checkpoint delete_step_checkpoint_blocking heartbeat load_step_checkpoint "
        "load_step_checkpoint_blocking save_step_checkpoint save_step_checkpoint_blocking step_hook "
        "step_hook_blocking step_info"
    ),
    ".logs": "WorkflowLogger get_logger",
    ".open_hooks": "HookInfo list_hooks",
    ".patches": "patched",
    ".primitives": "TypedHook define_hook hook shield sleep",
    ".pruning": "PrunedRuns prune_workflow_runs",
    ".queries": "get_workflow_state publish query query_workflow",
    ".queues": "QueueLimits QueueState configure_queue get_queue get_queue_limits",
    ".runs": (
        "WorkflowRun get_workflow_chain get_workflow_events get_workflow_run "
        "get_workflow_run_by_idempotency_key list_workflow_runs"
    ),
    ".sagas": "Saga compensate saga",
    ".schedules.changing": (
        "backfill_schedule delete_schedule pause_schedule resume_schedule trigger_schedule update_schedule"
    ),
    ".schedules.creating": "create_schedule",
    ".schedules.decorating": "activate_scheduled_workflows scheduled_workflow",
    ".schedules.local": "LocalScheduler",
    ".schedules.reading": "RecentRun Schedule get_schedule list_schedules",
    ".schedules.spec": "CalendarSpec OverlapPolicy ScheduleSpec ScheduleStatus",
    ".storage.file": "FileStorageBackend",
    ".storage.memory": "InMemoryStorageBackend",
    ".streams": (
        "Signal StreamWorkflowResult emit get_checkpoint get_current_signal run_stream_workflow "
        "save_checkpoint set_result stream_step stream_workflow terminate"
    ),
    ".workers": "Worker WorkerHealth WorkerStats",
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names.split()}


def __getattr__(name: str) -> object:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'pyworkflow' has no attribute {name!r}")
    value = getattr(import_module(home, __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
