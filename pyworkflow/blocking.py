"""Blocking twins of `start` and `resume`, for programs without an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from pyworkflow_core.errors import ConfigurationError
from pyworkflow_core.storage import StorageBackend

from .definitions import WorkflowDefinition
from .engine.control import resume, start

T = TypeVar("T")


def start_blocking(
    workflow: WorkflowDefinition[Any, Any] | Callable[..., Any], *args: Any, **kwargs: Any
) -> str:
    """`start`, for a program without an event loop; takes the same arguments.

    Raises:
        ConfigurationError: an event loop runs in this thread; use ``await start(…)`` there.
    """
    return _run(lambda: start(workflow, *args, **kwargs), "start")


def resume_blocking(run_id: str, *, storage: StorageBackend | str | None = None) -> Any:
    """`resume`, for a program without an event loop.

    Raises:
        ConfigurationError: an event loop runs in this thread; use ``await resume(…)`` there.
    """
    return _run(lambda: resume(run_id, storage=storage), "resume")


def _run(make: Callable[[], Coroutine[Any, Any, T]], name: str) -> T:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(make())
    raise ConfigurationError(
        f"{name}_blocking() was called where an event loop runs; write 'await {name}(…)' here"
    )
