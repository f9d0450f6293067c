"""What a step can ask and record while it runs: who it is, that it makes progress, how far it has come."""

from __future__ import annotations

import asyncio
import concurrent.futures
import inspect
import sys
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import Any, TypeVar

from msgspec import Struct

from pyworkflow_core.codec import EMPTY_REACH, reach_of_type
from pyworkflow_core.ids import derive_run_id, validate_id
from pyworkflow_core.payloads import HookReceived
from pyworkflow_core.replay import current_machine, incarnation_of, public_token, step_text

from .durations import Duration, to_duration
from .engine.attempt import Attempt, current_attempt
from .engine.entries import HookEnd
from .engine.notebook import Notebook
from .errors import HookExpiredError, StepOutsideWorkflowError, StepTransactionError
from .primitives import OnCreated, fit
from .schemas import Schema, remember_schema

T = TypeVar("T")

_CHECKPOINT = "checkpoint"


class StepInfo(Struct, frozen=True, kw_only=True):
    """The step that runs.

    Attributes:
        run_id: the run.
        workflow_name: its workflow.
        step_id: the step, as ``name#ordinal``.
        name: the step's name.
        ordinal: the how-manieth call of that name in the run, from 1.
        attempt: 1 for the first execution; retries and executions after a crash count on.
        idempotency_key: a key for outside systems, the same in every attempt of this step.
        heartbeat_details: details of the last heartbeat, of this attempt or an earlier one.
    """

    run_id: str
    workflow_name: str
    step_id: str
    name: str
    ordinal: int
    attempt: int
    idempotency_key: str
    heartbeat_details: Any = None


def step_info() -> StepInfo:
    """The step that runs here; in steps only, ``async def`` or ``def``.

    Raises:
        StepOutsideWorkflowError: no step runs here.
    """
    attempt = _attempt("step_info")
    call, notebook = attempt.call, attempt.notebook
    machine = call.machine
    step_id = step_text(call.name, call.ordinal)
    started = machine.started
    return StepInfo(
        run_id=machine.run_id,
        workflow_name="" if started is None else started.workflow,
        step_id=step_id,
        name=call.name,
        ordinal=call.ordinal,
        attempt=notebook.attempt,
        idempotency_key=derive_run_id(
            machine.run_id, incarnation_of(machine, call.order), step_id, prefix="step_"
        ),
        heartbeat_details=notebook.decode(notebook.details),
    )


def heartbeat(details: Any = None) -> None:
    """Say that the step makes progress. Cheap; call it as often as you like, from ``async def`` and ``def``.

    It puts off the step's `heartbeat_timeout`. Details are recorded, at most every five seconds and
    when an attempt fails; the next attempt finds the last ones in `step_info`.

    Args:
        details: how far the step has come: any value that the log can hold. None for the last one.

    Raises:
        UnserializableValueError: the details cannot be recorded.
        StepOutsideWorkflowError: no step runs here.
    """
    attempt = _attempt("heartbeat")
    attempt.notebook.beat(details, silent=attempt.has_its_turn)


def save_step_checkpoint(data: Any, *, name: str = _CHECKPOINT) -> Coroutine[Any, Any, None]:
    """Save how far the step has come. It is durable when this returns, and survives crashes and retries.

    The checkpoints of a step are for its further attempts only; they are gone when it has completed.

    Args:
        data: any value that the log can hold.
        name: for steps with more than one; saving again under a name replaces what was there.

    Raises:
        UnserializableValueError: the data cannot be recorded.
        LimitExceeded: the data are too large for the storage.
        StepTransactionError: the step is in its `step_transaction`.
        StepOutsideWorkflowError: no step runs here, or it runs in a thread.
    """
    notebook = _here(_recording("save_step_checkpoint"), "save_step_checkpoint")
    return notebook.save(validate_id(name, "name of a checkpoint"), data)


def load_step_checkpoint(default: Any = None, *, name: str = _CHECKPOINT) -> Coroutine[Any, Any, Any]:
    """What the step saved last under this name, in this attempt or an earlier one; `default` if nothing.

    Raises:
        StepOutsideWorkflowError: no step runs here, or it runs in a thread.
    """

    async def load() -> Any:
        return _load(notebook, default, name)

    notebook = _here(_attempt("load_step_checkpoint").notebook, "load_step_checkpoint")
    return load()


def delete_step_checkpoint(*, name: str = _CHECKPOINT) -> Coroutine[Any, Any, bool]:
    """Delete what the step saved under this name; False if there is nothing.

    Raises:
        StepTransactionError: the step is in its `step_transaction`.
        StepOutsideWorkflowError: no step runs here, or it runs in a thread.
    """
    return _here(_recording("delete_step_checkpoint"), "delete_step_checkpoint").forget(name)


def step_hook(
    name: str,
    *,
    timeout: Duration | None = None,
    on_created: OnCreated | None = None,
    payload_schema: Schema[Any] | None = None,
) -> Coroutine[Any, Any, Any]:
    """Wait inside a step for an answer from outside, which `resume_hook` gives.

    The step and its process wait; where that may take long, wait in the workflow with `hook`. If the
    process dies, the next attempt finds the same hook, answered or not.

    Args:
        name: what the log calls it; the how-manieth of its name in an attempt counts.
        timeout: how long to wait, from the hook's creation, whatever attempt waits.
        on_created: called with the token in every attempt that finds no answer.
        payload_schema: the type that the answer must fit.

    Raises:
        HookExpiredError: no answer came in time.
        ValueError: the recorded answer does not fit the type.
        StepTransactionError: the step is in its `step_transaction`.
        StepOutsideWorkflowError: no step runs here, or it runs in a thread.
    """
    _here(_recording("step_hook"), "step_hook")
    return _wait(name, timeout, on_created, payload_schema, _site(sys._getframe(1)))


def save_step_checkpoint_blocking(data: Any, *, name: str = _CHECKPOINT) -> None:
    """`save_step_checkpoint`, for steps written ``def``."""
    _from_thread("save_step_checkpoint", lambda: save_step_checkpoint(data, name=name))


def load_step_checkpoint_blocking(default: Any = None, *, name: str = _CHECKPOINT) -> Any:
    """`load_step_checkpoint`, for steps written ``def``."""
    return _load(_attempt("load_step_checkpoint_blocking").notebook, default, name)


def delete_step_checkpoint_blocking(*, name: str = _CHECKPOINT) -> bool:
    """`delete_step_checkpoint`, for steps written ``def``."""
    return _from_thread("delete_step_checkpoint", lambda: delete_step_checkpoint(name=name))


def step_hook_blocking(
    name: str,
    *,
    timeout: Duration | None = None,
    on_created: OnCreated | None = None,
    payload_schema: Schema[Any] | None = None,
) -> Any:
    """`step_hook`, for steps written ``def``; `on_created` is called in a thread, unless it is ``async``."""
    at = _site(sys._getframe(1))

    async def in_a_thread(token: str) -> None:
        assert on_created is not None
        told = await asyncio.to_thread(on_created, token)
        if inspect.isawaitable(told):
            await told

    plain = on_created is not None and not inspect.iscoroutinefunction(on_created)
    notify = in_a_thread if plain else on_created
    return _from_thread("step_hook", lambda: _wait(name, timeout, notify, payload_schema, at))


async def _wait(
    name: str, timeout: Duration | None, on_created: OnCreated | None, schema: Schema[Any] | None, at: str
) -> Any:
    attempt = _attempt("step_hook")
    notebook, run_id = attempt.notebook, attempt.call.machine.run_id
    waited = None if timeout is None else to_duration(timeout, "timeout")
    type_name = "" if schema is None else remember_schema(schema)
    hook = await notebook.open_hook(validate_id(name, "hook name"), waited, type_name, at)
    if hook.ended is None and on_created is not None:
        told = on_created(public_token(run_id, hook.created.token))
        if inspect.isawaitable(told):
            await told
    return _answer(await notebook.end_of_hook(hook), notebook, schema, name)


def _load(notebook: Notebook, default: Any, name: str) -> Any:
    found = notebook.checkpoints.get(name)
    return default if found is None else notebook.decode(found)


def _answer(ended: HookEnd, notebook: Notebook, schema: Any, name: str) -> Any:
    if not isinstance(ended, HookReceived):
        raise HookExpiredError(f"hook {name!r} of step {ended.step!r} got no answer in time")
    reach = EMPTY_REACH if schema is None else reach_of_type(schema)
    value = notebook.decode(ended.payload, reach=reach)
    return value if schema is None else fit(value, schema, name)


def _site(frame: FrameType) -> str:
    return f"{frame.f_code.co_filename.rpartition('/')[2]}:{frame.f_lineno}"


def _recording(name: str) -> Notebook:
    """The notebook of the attempt that runs, if it may write now."""
    attempt = _attempt(name)
    if attempt.has_its_turn:
        raise StepTransactionError(
            f"step {attempt.call.name!r} called {name}() in its step_transaction(), where nothing else is "
            "recorded until the step has ended: call it before, or keep what it holds in your own table"
        )
    return attempt.notebook


def _here(notebook: Notebook, name: str) -> Notebook:
    """The notebook, on the event loop of its run."""
    if _running_loop() is not notebook.loop:
        raise StepOutsideWorkflowError(
            f"{name}() was called in a thread, or on another event loop than the run's: in a step written "
            f"'def' call {name}_blocking()"
        )
    return notebook


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _attempt(name: str) -> Attempt:
    attempt = current_attempt.get()
    if attempt is None or current_machine.get() is not None:
        raise StepOutsideWorkflowError(
            f"{name}() was called outside a step: it belongs into a function decorated with @step, while a "
            "workflow runs that"
        )
    attempt.notebook.refuse_if_over()
    return attempt


def _from_thread(name: str, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine on the run's event loop, and wait for it in a step's thread."""
    notebook = _recording(f"{name}_blocking")
    if _running_loop() is not None:
        raise StepOutsideWorkflowError(
            f"{name}_blocking() was called where an event loop runs; write 'await {name}(…)' here"
        )

    async def run() -> T:
        return await make()

    try:
        return asyncio.run_coroutine_threadsafe(run(), notebook.loop).result()
    except concurrent.futures.CancelledError as error:
        raise asyncio.CancelledError(*error.args) from None  # nobody waits for this thread any more
