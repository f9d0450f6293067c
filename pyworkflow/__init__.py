"""Durable workflows for Python on your database.

Write ``@workflow`` and ``@step`` functions, `start` them, and after a crash or a sleep they go
on from their log: completed steps answer from it, and no recorded step runs again.
"""

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
from .config import (
    configure,
    configure_from_yaml,
    discover_workflows,
    get_config,
    get_storage,
    reset_config,
)
from .definitions import StepDefinition, WorkflowDefinition, step, workflow
from .engine.control import resume, start
from .engine.external import ResumeResult, cancel_workflow, resume_hook
from .errors import (
    DiscoveryError,
    FatalError,
    HookAlreadyReceivedError,
    HookExpiredError,
    HookNotFoundError,
    IdempotencyConflictError,
    InvalidTokenError,
    RetryableError,
    StepNotAwaitedError,
    StepOutsideWorkflowError,
    StepTimeoutError,
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
    get_workflow_events,
    get_workflow_run,
    get_workflow_run_by_idempotency_key,
    list_workflow_runs,
)
from .worker import Worker

__version__ = "0.1.0"

__all__ = [
    "CancellationError",
    "ConfigurationError",
    "DiscoveryError",
    "Event",
    "EventType",
    "FatalError",
    "FileStorageBackend",
    "HookAlreadyReceivedError",
    "HookExpiredError",
    "HookNotFoundError",
    "IdempotencyConflictError",
    "InMemoryStorageBackend",
    "InvalidTokenError",
    "NonDeterminismError",
    "ResumeResult",
    "RetryableError",
    "RunStatus",
    "StepDefinition",
    "StepNotAwaitedError",
    "StepOutsideWorkflowError",
    "StepTimeoutError",
    "StorageBackend",
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
    "configure",
    "configure_from_yaml",
    "define_hook",
    "discover_workflows",
    "get_config",
    "get_storage",
    "get_workflow_events",
    "get_workflow_run",
    "get_workflow_run_by_idempotency_key",
    "hook",
    "list_backends",
    "list_workflow_runs",
    "open_storage",
    "reset_config",
    "resume",
    "resume_blocking",
    "resume_hook",
    "shield",
    "sleep",
    "start",
    "start_blocking",
    "step",
    "workflow",
]


def __getattr__(name: str) -> object:
    # The backends are separate packages; they are imported when somebody asks for them.
    if name == "FileStorageBackend":
        from .storage.file import FileStorageBackend

        return FileStorageBackend
    if name == "InMemoryStorageBackend":
        from .storage.memory import InMemoryStorageBackend

        return InMemoryStorageBackend
    raise AttributeError(f"module 'pyworkflow' has no attribute {name!r}")
