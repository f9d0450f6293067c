"""`run_stream_workflow`: beginning a run of a stream, and waiting for its end."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

from msgspec import Raw, Struct

from pyworkflow_core.codec import default_codec
from pyworkflow_core.errors import ConfigurationError
from pyworkflow_core.ids import validate_id
from pyworkflow_core.payloads import SignalReceived, SignalSent
from pyworkflow_core.replay import Machine, current_machine, note
from pyworkflow_core.storage import StorageBackend

from ..children import start_child_workflow
from ..config import get_storage
from ..definitions import StepDefinition, workflow
from ..engine.attempt import current_attempt
from ..engine.control import start
from ..engine.engine import engine_for
from ..engine.outside import end_of_chain
from ..engine.results import result_of
from ..errors import ChildWorkflowFailedError, StreamFailedError, StreamNotFoundError
from .definitions import StreamDefinition
from .naming import NEVER_GIVEN_UP, Steps, begin, known_steps, stream_run, tell_stream, unknown
from .signal import ENDED, TERMINATE, WATCH, Wire, body_of, pack
from .step_context import current_scope, current_storage

_FIRST_LOOK, _LONGEST_LOOK = 10, 6 * 3600


class StreamWorkflowResult(Struct, frozen=True):
    """How a run of a stream ended.

    Attributes:
        status: ``completed``: every step ended by itself; ``terminated``: somebody ended it;
            ``cancelled``; ``failed``: a step failed.
        step_states: of each step: ``terminated``, ``cancelled`` or ``failed``.
        step_results: what steps gave to `set_result`, of those that did.
        step_errors: why steps failed, or were cancelled.
    """

    status: str
    step_states: dict[str, str] = {}
    step_results: dict[str, Any] = {}
    step_errors: dict[str, str] = {}

    def get_result(self, step_name: str) -> Any:
        """What the step gave to `set_result` last; None if nothing."""
        return self.step_results.get(step_name)


default_codec.register(StreamWorkflowResult, name="pyworkflow.StreamWorkflowResult")


async def run_stream_workflow(
    stream: StreamDefinition,
    *,
    stream_run_id: str,
    init: Callable[[], Any] | None = None,
    storage: StorageBackend | str | None = None,
) -> StreamWorkflowResult:
    """Begin a run of a stream, and wait until every step of it has ended.

    In a workflow that waits for it, which may leave memory meanwhile, and asks the stream to end
    if it is cancelled. `init`, and the stream's own function after it, run in the workflow's code:
    they may call steps, and what they emit is for this run. If the run exists, it is waited for.

    Args:
        stream: a function decorated with ``@stream_workflow``.
        stream_run_id: names the run; each has its own signals, steps and results.
        init: called first, if given.
        storage: where the logs are, if it is called outside of workflows.

    Raises:
        StreamFailedError: a step of the stream failed; its `result` tells of the others.
        ConfigurationError: this process defines no step of the stream.
    """
    if not isinstance(stream, StreamDefinition):
        raise ConfigurationError(
            f"run_stream_workflow() takes a function decorated with @stream_workflow, not {stream!r}"
        )
    inside = current_machine.get() is not None or current_attempt.get() is not None
    if inside and storage is not None:
        raise ConfigurationError(
            "in workflows and steps a stream runs in their own storage: leave out storage="
        )
    steps = known_steps(stream.name)
    if not steps:
        raise ConfigurationError(
            f"stream {stream.name!r} has no steps in this process: import the module with its "
            "@stream_step functions"
        )
    scope = current_scope.set(validate_id(stream_run_id, "stream_run_id"))
    place = current_storage.set(None if inside else get_storage(storage))
    try:
        if init is not None:
            begun = init()
            if inspect.isawaitable(begun):
                await begun
        await stream.func()
    finally:
        current_scope.reset(scope)
        current_storage.reset(place)
    args = (stream.name, stream_run_id, steps)
    try:
        if inside:
            outcome = await start_child_workflow(watch_stream, *args, queue=stream.queue)
        else:
            engine = engine_for(get_storage(storage))
            run_id = await start(watch_stream, *args, storage=engine.storage, queue=stream.queue, wait=True)
            record = await end_of_chain(engine, run_id)
            assert record is not None
            outcome = await result_of(engine, record)
    except asyncio.CancelledError:
        machine = current_machine.get()
        if machine is not None:  # also if the run that waits for it has not come to that
            _end(machine, stream.name, stream_run_id)
        raise
    except ChildWorkflowFailedError as error:
        if isinstance(error.__cause__, StreamNotFoundError):
            raise error.__cause__ from None
        raise
    return _result(stream.name, stream_run_id, outcome)


@workflow(name="pyworkflow.stream_run", max_recovery_attempts=NEVER_GIVEN_UP)
async def watch_stream(stream: str, stream_run_id: str, steps: Steps) -> dict[str, Any]:
    """Begin a run of a stream if it has not begun, and wait for its end."""
    machine = current_machine.get()
    assert machine is not None
    try:
        outcome: dict[str, Any] | None = await _watch(stream, stream_run_id, steps)
        pause = _FIRST_LOOK
        while outcome is None:
            # The stream says when it ends. Looking by oneself is for a run that was told so late
            # that it had made up its mind to end, and for one that was deleted.
            try:
                async with asyncio.timeout(pause):
                    told = await machine.inbox.get(machine)
            except TimeoutError:
                outcome = await _look(stream, stream_run_id)
                pause = min(2 * pause, _LONGEST_LOOK)
            else:
                if told.signal == ENDED:
                    outcome = machine.decode(told.payload)
        return outcome
    except asyncio.CancelledError:
        _end(machine, stream, stream_run_id)
        raise


def _end(machine: Machine, stream: str, stream_run_id: str) -> None:
    text = machine.cancel_reason or "who waited for it was cancelled"
    wire = pack(Wire(body_of(machine.codec, text, None), machine.now, by=machine.run_id))
    signal_id = f"{TERMINATE} {machine.run_id}"
    note(machine, SignalSent(stream_run(stream, stream_run_id), TERMINATE, signal_id, wire))


async def _watch_step(stream: str, stream_run_id: str, steps: Steps) -> dict[str, Any] | None:
    attempt = current_attempt.get()
    assert attempt is not None
    engine, run_id = attempt.engine, attempt.call.machine.run_id
    wire = pack(Wire(Raw(b"null"), engine.clock.now(), by=run_id))
    told = SignalReceived(WATCH, f"{WATCH} {run_id}", wire, run_id)
    # Even if it is there: whoever drives this run here drives that one, too.
    await begin(engine, attempt, stream, stream_run_id, steps)
    ended = await tell_stream(engine, attempt, stream, stream_run_id, [told], steps=steps)
    return None if ended is None else await _look_step(stream, stream_run_id)


async def _look_step(stream: str, stream_run_id: str) -> dict[str, Any] | None:
    attempt = current_attempt.get()
    assert attempt is not None
    engine = attempt.engine
    record = await end_of_chain(engine, stream_run(stream, stream_run_id))
    if record is None:
        raise StreamNotFoundError(unknown(engine, stream, stream_run_id))
    if not record.status.is_terminal:
        return None
    outcome: dict[str, Any] | None = await result_of(engine, record)
    return outcome or {"status": str(record.status), "steps": {}}


_watch: StepDefinition[Any, Any] = StepDefinition(_watch_step, name="pyworkflow.watch_stream", max_retries=20)
_look: StepDefinition[Any, Any] = StepDefinition(_look_step, name="pyworkflow.look_at_stream", max_retries=20)


def _result(stream: str, stream_run_id: str, outcome: dict[str, Any]) -> StreamWorkflowResult:
    ends: dict[str, dict[str, Any]] = outcome["steps"]
    result = StreamWorkflowResult(
        outcome["status"],
        {name: end["state"] for name, end in ends.items()},
        {
            name: default_codec.decode(end["result"].encode())
            for name, end in ends.items()
            if end.get("result")
        },
        {name: end["error"] for name, end in ends.items() if end.get("error")},
    )
    if result.status == "failed":
        failed = [
            f"{name}: {result.step_errors[name]}" for name, end in ends.items() if end["state"] == "failed"
        ]
        raise StreamFailedError(
            f"run {stream_run_id!r} of stream {stream!r} failed: {'; '.join(failed)}", result
        )
    return result
