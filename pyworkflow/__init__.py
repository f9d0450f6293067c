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

    from .blocking import resume_blocking, start_blocking
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
    from .engine.external import ResumeResult, cancel_workflow, resume_hook
    from .errors import (
        ChildWorkflowError,
        ChildWorkflowFailedError,
        DeduplicationError,
        DiscoveryError,
        FatalError,
        HistoryLimitError,
        HookAlreadyReceivedError,
        HookExpiredError,
        HookNotFoundError,
        IdempotencyConflictError,
        InvalidTokenError,
        MaxNestingDepthError,
        QueryNotFoundError,
        RetryableError,
        StepContextError,
        StepNotAwaitedError,
        StepOutsideWorkflowError,
        StepTimeoutError,
        StepTransactionError,
        WorkflowAlreadyRunningError,
        WorkflowInterruptedError,
        WorkflowNotFoundError,
        WorkflowNotRegisteredError,
        WorkflowStalledError,
        WorkflowTimeoutError,
    )
    from .logs import WorkflowLogger, get_logger
    from .patches import patched
    from .primitives import TypedHook, define_hook, hook, shield, sleep
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
    from .storage.file import FileStorageBackend
    from .storage.memory import InMemoryStorageBackend
    from .workers import Worker, WorkerHealth, WorkerStats

__version__ = "0.1.0"

__all__ = [
    "CancellationError",
    "ChildWorkflowError",
    "ChildWorkflowFailedError",
    "ChildWorkflowHandle",
    "ConfigurationError",
    "DeduplicationError",
    "DiscoveryError",
    "Event",
    "EventType",
    "FatalError",
    "FileStorageBackend",
    "HistoryLimitError",
    "HookAlreadyReceivedError",
    "HookExpiredError",
    "HookNotFoundError",
    "IdempotencyConflictError",
    "InMemoryStorageBackend",
    "InvalidTokenError",
    "MaxNestingDepthError",
    "NonDeterminismError",
    "QueryNotFoundError",
    "QueueLimits",
    "QueueState",
    "ResumeResult",
    "RetryableError",
    "RunStatus",
    "StepContext",
    "StepContextError",
    "StepDefinition",
    "StepNotAwaitedError",
    "StepOutsideWorkflowError",
    "StepTimeoutError",
    "StepTransactionError",
    "StorageBackend",
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
    "cancel_workflow",
    "configure",
    "configure_from_yaml",
    "configure_queue",
    "continue_as_new",
    "define_hook",
    "discover_workflows",
    "get_config",
    "get_logger",
    "get_queue",
    "get_queue_limits",
    "get_step_context",
    "get_storage",
    "get_workflow_chain",
    "get_workflow_events",
    "get_workflow_run",
    "get_workflow_run_by_idempotency_key",
    "get_workflow_state",
    "has_step_context",
    "hook",
    "list_backends",
    "list_workflow_runs",
    "now",
    "open_storage",
    "patched",
    "publish",
    "query",
    "query_workflow",
    "random",
    "reset_config",
    "resume",
    "resume_blocking",
    "resume_hook",
    "rng",
    "set_step_context",
    "shield",
    "sleep",
    "start",
    "start_blocking",
    "start_child_workflow",
    "step",
    "step_transaction",
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
    ".blocking": "resume_blocking start_blocking",
    ".children": "ChildWorkflowHandle start_child_workflow",
    ".config": "configure configure_from_yaml discover_workflows get_config get_storage reset_config",
    ".context": "StepContext get_step_context has_step_context set_step_context",
    ".definitions": "StepDefinition WorkflowDefinition step workflow",
    ".deterministic": "now random rng uuid4",
    ".engine.attempt": "step_transaction",
    ".engine.continuing": "continue_as_new",
    ".engine.control": "resume start",
    ".engine.external": "ResumeResult cancel_workflow resume_hook",
    ".errors": (
        "ChildWorkflowError ChildWorkflowFailedError DeduplicationError DiscoveryError "
        "FatalError HistoryLimitError "
        "HookAlreadyReceivedError HookExpiredError HookNotFoundError IdempotencyConflictError "
        "InvalidTokenError MaxNestingDepthError QueryNotFoundError RetryableError StepContextError "
        "StepNotAwaitedError "
        "StepOutsideWorkflowError StepTimeoutError StepTransactionError "
        "WorkflowAlreadyRunningError WorkflowInterruptedError WorkflowNotFoundError "
        "WorkflowNotRegisteredError WorkflowStalledError WorkflowTimeoutError"
    ),
    ".logs": "WorkflowLogger get_logger",
    ".patches": "patched",
    ".primitives": "TypedHook define_hook hook shield sleep",
    ".queues": "QueueLimits QueueState configure_queue get_queue get_queue_limits",
    ".queries": "get_workflow_state publish query query_workflow",
    ".runs": (
        "WorkflowRun get_workflow_chain get_workflow_events get_workflow_run "
        "get_workflow_run_by_idempotency_key list_workflow_runs"
    ),
    ".workers": "Worker WorkerHealth WorkerStats",
    ".storage.file": "FileStorageBackend",
    ".storage.memory": "InMemoryStorageBackend",
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
