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
    from .definitions import StepDefinition, WorkflowDefinition, step, workflow
    from .engine.attempt import step_transaction
    from .engine.continuing import continue_as_new
    from .engine.control import resume, start
    from .engine.external import ResumeResult, cancel_workflow, resume_hook
    from .engine.transient import TransientRun
    from .errors import (
        ChildWorkflowError,
        ChildWorkflowFailedError,
        CompensationError,
        DiscoveryError,
        FatalError,
        HistoryLimitError,
        HookAlreadyReceivedError,
        HookExpiredError,
        HookNotFoundError,
        IdempotencyConflictError,
        InvalidTokenError,
        MaxNestingDepthError,
        RetryableError,
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
    from .primitives import TypedHook, define_hook, hook, shield, sleep
    from .runs import (
        WorkflowRun,
        get_workflow_chain,
        get_workflow_events,
        get_workflow_run,
        get_workflow_run_by_idempotency_key,
        list_workflow_runs,
    )
    from .sagas import Saga, compensate, saga
    from .storage.file import FileStorageBackend
    from .storage.memory import InMemoryStorageBackend
    from .worker import Worker

__version__ = "0.1.0"

__all__ = [
    "CancellationError",
    "ChildWorkflowError",
    "ChildWorkflowFailedError",
    "ChildWorkflowHandle",
    "CompensationError",
    "ConfigurationError",
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
    "ResumeResult",
    "RetryableError",
    "RunStatus",
    "Saga",
    "StepDefinition",
    "StepNotAwaitedError",
    "StepOutsideWorkflowError",
    "StepTimeoutError",
    "StepTransactionError",
    "StorageBackend",
    "TransientRun",
    "TypedHook",
    "UnserializableValueError",
    "Worker",
    "WorkflowAlreadyRunningError",
    "WorkflowDefinition",
    "WorkflowError",
    "WorkflowInterruptedError",
    "WorkflowNotFoundError",
    "WorkflowNotRegisteredError",
    "WorkflowRun",
    "WorkflowStalledError",
    "WorkflowTimeoutError",
    "cancel_workflow",
    "check_cancellation",
    "compensate",
    "configure",
    "configure_from_yaml",
    "continue_as_new",
    "define_hook",
    "discover_workflows",
    "get_config",
    "get_storage",
    "get_workflow_chain",
    "get_workflow_events",
    "get_workflow_run",
    "get_workflow_run_by_idempotency_key",
    "hook",
    "is_cancelled",
    "list_backends",
    "list_workflow_runs",
    "open_storage",
    "reset_config",
    "resume",
    "resume_blocking",
    "resume_hook",
    "saga",
    "shield",
    "sleep",
    "start",
    "start_blocking",
    "start_child_workflow",
    "step",
    "step_transaction",
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
    ".cancellation": "check_cancellation is_cancelled",
    ".children": "ChildWorkflowHandle start_child_workflow",
    ".config": "configure configure_from_yaml discover_workflows get_config get_storage reset_config",
    ".definitions": "StepDefinition WorkflowDefinition step workflow",
    ".engine.attempt": "step_transaction",
    ".engine.continuing": "continue_as_new",
    ".engine.control": "resume start",
    ".engine.external": "ResumeResult cancel_workflow resume_hook",
    ".engine.transient": "TransientRun",
    ".errors": (
        "ChildWorkflowError ChildWorkflowFailedError CompensationError DiscoveryError FatalError "
        "HistoryLimitError HookAlreadyReceivedError HookExpiredError HookNotFoundError "
        "IdempotencyConflictError InvalidTokenError MaxNestingDepthError RetryableError StepNotAwaitedError "
        "StepOutsideWorkflowError StepTimeoutError StepTransactionError "
        "WorkflowAlreadyRunningError WorkflowInterruptedError WorkflowNotFoundError "
        "WorkflowNotRegisteredError WorkflowStalledError WorkflowTimeoutError"
    ),
    ".primitives": "TypedHook define_hook hook shield sleep",
    ".runs": (
        "WorkflowRun get_workflow_chain get_workflow_events get_workflow_run "
        "get_workflow_run_by_idempotency_key list_workflow_runs"
    ),
    ".sagas": "Saga compensate saga",
    ".worker": "Worker",
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
