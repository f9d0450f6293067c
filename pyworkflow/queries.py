"""Looking into a run: the state that it published, and questions that its code answers."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from typing import Any, TypeVar, overload

from msgspec import Raw

from pyworkflow_core.codec import EMPTY_REACH, Codec
from pyworkflow_core.errors import CodecError, ConfigurationError
from pyworkflow_core.events import decode_body
from pyworkflow_core.ids import validate_id
from pyworkflow_core.payloads import StatePublished
from pyworkflow_core.record import RunRecord
from pyworkflow_core.replay import current_machine
from pyworkflow_core.storage import StorageBackend

from .context import check_size
from .definitions import find_workflow, get_workflow_version
from .deterministic import writing_machine
from .engine.beginning import machine_for
from .engine.engine import Engine
from .engine.history import envelopes_of
from .engine.transient import engine_of
from .errors import QueryNotFoundError, StepOutsideWorkflowError, WorkflowNotFoundError

F = TypeVar("F", bound=Callable[..., Any])


def publish(state: Any) -> None:
    """Say where the workflow stands, for `get_workflow_state` and `WorkflowRun.state`.

    It is recorded as one event, with the run's next append. The last state counts; what was
    published last is not recorded again.

    Args:
        state: any value that the log can hold.

    Raises:
        StepOutsideWorkflowError: no workflow runs here.
        UnserializableValueError: the value cannot be recorded.
        LimitExceeded: the storage does not take so large an event.
    """
    machine = writing_machine("publish()")
    started = machine.started
    definition = None if started is None else find_workflow(started.workflow, started.workflow_version)
    reach = EMPTY_REACH if definition is None else definition.reach
    encoded = machine.codec.encode(state, where="state", reach=reach)
    check_size(machine, encoded, "the published state")
    frame = sys._getframe(1)
    machine.notebook.publish(Raw(encoded), (frame.f_code, frame.f_lasti))


@overload
def query(func: F, /) -> F: ...
@overload
def query(func: F, /, *, name: str | None) -> F: ...
@overload
def query(*, name: str | None = None) -> Callable[[F], F]: ...
def query(func: Any = None, /, *, name: str | None = None) -> Any:
    """Let a function inside a workflow answer questions about the run; `query_workflow` asks them.

    It sees the workflow's variables, is a plain ``def``, and changes nothing. Nothing is recorded.

    Args:
        func: the function.
        name: by which it is asked for; the function's own unless given.

    Raises:
        StepOutsideWorkflowError: no workflow runs here.
        ConfigurationError: it is no plain function.
    """
    machine = writing_machine("query()")

    def register(function: F) -> F:
        if not callable(function) or inspect.iscoroutinefunction(function):
            raise ConfigurationError(
                f"a query is a plain function, written 'def', not {function!r}: it answers from what the run "
                "has, and cannot wait"
            )
        label = validate_id(name if name is not None else function.__name__, "name of a query")
        machine.notebook.queries[label] = function
        return function

    return register if func is None else register(func)


async def query_workflow(
    run_id: str,
    query: str | Callable[..., Any],
    /,
    *args: Any,
    storage: StorageBackend | str | None = None,
    **kwargs: Any,
) -> Any:
    """Ask a run a question that its code answers: of a run that goes on, waits, or has ended.

    The run is replayed in this process from its log, up to where that stands, and then dropped.
    Nothing is recorded, no step is executed, and whoever drives the run does not notice.

    Args:
        run_id: the run; of one that continued as new, the one that goes on is asked.
        query: the name of a function that the workflow gave to `query`, or such a function.
        *args: its positional arguments.
        storage: where the run's log is; the configured one unless given.
        **kwargs: its keyword arguments.

    Raises:
        WorkflowNotFoundError: there is no such run.
        WorkflowNotRegisteredError: its code is not defined in this process.
        QueryNotFoundError: up to where the run stands, its code has no such query.
        NonDeterminismError: the code does not fit the run.
        Exception: whatever the function raised.
    """
    if current_machine.get() is not None:
        raise StepOutsideWorkflowError(
            "query_workflow() was called inside a workflow: a replay would get another answer. Ask "
            "from a @step."
        )
    engine = engine_of(run_id, storage)
    record = await _going_on(engine, run_id)
    definition = get_workflow_version(record.workflow, record.detail.workflow_version)
    history = envelopes_of(await engine.storage.read(record.run_id, limit=record.head))
    machine = machine_for(engine, definition, record.run_id, record.incarnation)
    notebook = machine.notebook
    notebook.quiet = True
    try:
        machine.feed(history)
        name = query if isinstance(query, str) else getattr(query, "__name__", repr(query))
        function = notebook.queries.get(name)
        if function is None:
            have = ", ".join(sorted(notebook.queries)) or "none"
            raise QueryNotFoundError(
                f"run {record.run_id!r} of workflow {record.workflow!r} has no query {name!r} where it "
                f"stands; it has {have}. A query is a function that the workflow's code gave to query()."
            )
        notebook.answering = True
        here = current_machine.set(machine)
        try:
            return function(*args, **kwargs)
        finally:
            current_machine.reset(here)
    finally:
        machine.evict()


async def get_workflow_state(run_id: str, *, storage: StorageBackend | str | None = None) -> Any:
    """What the run published last; None if it has published nothing. No code of it is needed.

    Args:
        run_id: the run; of one that continued as new, the one that goes on, or if that has published
            nothing yet, the last one of its chain that has.
        storage: where the run's log is; the configured one unless given.

    Raises:
        WorkflowNotFoundError: there is no such run.
    """
    engine = engine_of(run_id, storage)
    record: RunRecord | None = await _going_on(engine, run_id)
    while record is not None and record.detail.state_at is None:
        before = record.detail.continued_from
        record = None if before is None else await engine.storage.get(before)
    return None if record is None else await state_of(engine, record)


async def state_of(engine: Engine, record: RunRecord) -> Any:
    """What this run published last. A value of a type that is not known here comes as `Opaque`."""
    at = record.detail.state_at
    payload = None if at is None else await payload_at(engine, record.run_id, at)
    if not isinstance(payload, StatePublished):
        return None
    definition = find_workflow(record.workflow, record.detail.workflow_version)
    codec: Codec = engine.codec
    if definition is not None:
        try:
            return codec.decode(payload.value, reach=definition.reach)
        except CodecError:  # today's types no longer fit it
            pass
    return codec.decode_lenient(payload.value)


async def payload_at(engine: Engine, run_id: str, sequence: int) -> Any:
    """The payload of one event; None if the run has been deleted meanwhile."""
    events = await engine.storage.read(run_id, after=sequence - 1, limit=1)
    return decode_body(events[0].body).data if events else None


async def _going_on(engine: Engine, run_id: str) -> RunRecord:
    """The end of the run's chain, as far as it is there; looking must not create anything."""
    found = await engine.storage.get(run_id)
    if found is None or not found.workflow:
        raise WorkflowNotFoundError(f"there is no run {run_id!r} in {engine.storage!r}")
    while (after := found.detail.continued_to) is not None:
        successor = await engine.storage.get(after)
        if successor is None:
            break
        found = successor
    return found
