"""Blocking twins of the front door, for programs without an event loop.

Each takes what its original takes, and returns what that returns. They may be called from any
thread, many at once: the work is done on one event loop in a thread of its own. A function that
is new in the front door gets a line here; a test finds those that were forgotten.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

from pyworkflow_core.errors import ConfigurationError

from .bulk import cancel_workflow_runs
from .engine.control import resume, start
from .engine.deleting import delete_workflow_run
from .engine.external import cancel_workflow, resume_hook
from .engine.loop_thread import loop_thread
from .engine.retrying import retry_workflow
from .open_hooks import list_hooks
from .pruning import prune_workflow_runs
from .queries import get_workflow_state, query_workflow
from .queues import get_queue
from .runs import (
    get_workflow_chain,
    get_workflow_events,
    get_workflow_run,
    get_workflow_run_by_idempotency_key,
    list_workflow_runs,
)
from .schedules.changing import (
    backfill_schedule,
    delete_schedule,
    pause_schedule,
    resume_schedule,
    trigger_schedule,
    update_schedule,
)
from .schedules.creating import create_schedule
from .schedules.decorating import activate_scheduled_workflows
from .schedules.reading import get_schedule, list_schedules
from .streams import emit, run_stream_workflow, terminate

P = ParamSpec("P")
T = TypeVar("T")


def run_blocking(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine where the blocking calls run, and wait for it: ``run_blocking(storage.close())``.

    A storage that blocking calls use lives on their event loop; so should what else is done with it.

    Raises:
        ConfigurationError: an event loop runs in this thread; write ``await`` there.
    """
    given: object = coroutine
    if not inspect.iscoroutine(given):
        raise TypeError(
            f"run_blocking() takes a coroutine, such as the call of an async function, not {given!r}"
        )
    try:
        _refuse_loops("run_blocking", "…")
    except ConfigurationError:
        coroutine.close()
        raise
    return loop_thread().run(lambda: coroutine)


def twin(function: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
    """The blocking twin of an async function of the front door."""
    name = function.__name__

    @functools.wraps(function)
    def blocking(*args: P.args, **kwargs: P.kwargs) -> T:
        _refuse_loops(f"{name}_blocking", f"{name}(…)")
        return loop_thread().run(lambda: function(*args, **kwargs))

    blocking.__name__ = blocking.__qualname__ = f"{name}_blocking"
    blocking.__module__ = __name__
    blocking.__doc__ = (
        f"`{name}`, for a program without an event loop; takes the same arguments.\n\n"
        "Raises:\n"
        f"    ConfigurationError: an event loop runs in this thread; write ``await {name}(…)`` there."
    )
    return blocking


def _refuse_loops(name: str, instead: str) -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise ConfigurationError(f"{name}() was called where an event loop runs; write 'await {instead}' here")


start_blocking = twin(start)
resume_blocking = twin(resume)
cancel_workflow_blocking = twin(cancel_workflow)
resume_hook_blocking = twin(resume_hook)
cancel_workflow_runs_blocking = twin(cancel_workflow_runs)
retry_workflow_blocking = twin(retry_workflow)
delete_workflow_run_blocking = twin(delete_workflow_run)
prune_workflow_runs_blocking = twin(prune_workflow_runs)
list_hooks_blocking = twin(list_hooks)
get_workflow_run_blocking = twin(get_workflow_run)
get_workflow_run_by_idempotency_key_blocking = twin(get_workflow_run_by_idempotency_key)
get_workflow_events_blocking = twin(get_workflow_events)
get_workflow_chain_blocking = twin(get_workflow_chain)
list_workflow_runs_blocking = twin(list_workflow_runs)
activate_scheduled_workflows_blocking = twin(activate_scheduled_workflows)
backfill_schedule_blocking = twin(backfill_schedule)
create_schedule_blocking = twin(create_schedule)
delete_schedule_blocking = twin(delete_schedule)
get_queue_blocking = twin(get_queue)
get_schedule_blocking = twin(get_schedule)
get_workflow_state_blocking = twin(get_workflow_state)
list_schedules_blocking = twin(list_schedules)
pause_schedule_blocking = twin(pause_schedule)
query_workflow_blocking = twin(query_workflow)
resume_schedule_blocking = twin(resume_schedule)
trigger_schedule_blocking = twin(trigger_schedule)
update_schedule_blocking = twin(update_schedule)
emit_blocking = twin(emit)
run_stream_workflow_blocking = twin(run_stream_workflow)
terminate_blocking = twin(terminate)
