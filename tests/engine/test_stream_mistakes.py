"""First mistakes with streams: each is refused with what to do instead."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from datetime import UTC, datetime
from typing import Any

import pytest

from pyworkflow import (
    ConfigurationError,
    InMemoryStorageBackend,
    StepOutsideWorkflowError,
    StreamFailedError,
    StreamNotFoundError,
    UnserializableValueError,
    emit,
    get_checkpoint,
    get_current_signal,
    resume,
    run_stream_workflow,
    save_checkpoint,
    set_result,
    start,
    step,
    stream_step,
    stream_workflow,
    terminate,
    workflow,
)


@stream_workflow(name="mistakes.stream")
async def stream() -> None:
    """Nothing."""


@stream_step(stream, ["known"])
async def listener() -> None:
    """Nothing."""


@stream_workflow
async def mistakes_without_steps() -> None:
    """Nothing."""


def refused(call: Awaitable[Any]) -> str:
    async def main() -> str:
        with pytest.raises(Exception) as caught:  # noqa: PT011 - the callers look at it
            await call
        return f"{type(caught.value).__name__}: {caught.value}"

    return asyncio.run(main())


def test_a_stream_that_nobody_defines_is_named_with_those_that_there_are() -> None:
    text = refused(emit("mistakes.straem", "known", storage=InMemoryStorageBackend()))
    assert "there is no stream 'mistakes.straem' in InMemoryStorageBackend()" in text
    assert "import the module with its steps" in text


def test_a_stream_whose_steps_are_not_imported_says_so() -> None:
    storage = InMemoryStorageBackend()
    assert "has no steps in this process" in refused(emit(mistakes_without_steps, "x", storage=storage))
    text = refused(run_stream_workflow(mistakes_without_steps, stream_run_id="x", storage=storage))
    assert text.startswith("ConfigurationError: stream 'mistakes_without_steps' has no steps")


def test_a_workflow_that_emits_to_an_unknown_stream_gets_the_error_at_once() -> None:
    @workflow(name="mistakes.emitting")
    async def emitting() -> str:
        try:
            await emit("mistakes.nowhere", "x")
        except StreamNotFoundError as error:
            return str(error)
        return ""

    async def main() -> None:
        async with InMemoryStorageBackend() as storage:
            run_id = await start(emitting, storage=storage)
            run = await storage.get_run(run_id)
            assert run is not None
            assert run.status == "completed"

    asyncio.run(main())


def test_a_workflow_cannot_name_another_storage_for_a_stream() -> None:
    storage = InMemoryStorageBackend()
    calls = [
        lambda: emit(stream, "known", storage=storage),
        lambda: terminate(stream, storage=storage),
        lambda: run_stream_workflow(stream, stream_run_id="x", storage=storage),
    ]

    @workflow(name="mistakes.elsewhere")
    async def elsewhere() -> list[str]:
        refusals = []
        for call in calls:
            try:
                await call()
            except ConfigurationError as error:
                refusals.append(str(error))
        return refusals

    async def main() -> None:
        run_id = await start(elsewhere, storage=storage)
        refusals = await resume(run_id, storage=storage)
        assert len(refusals) == 3
        assert all("leave out storage=" in text for text in refusals)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"signal_type": ""}, "signal type is empty"),
        ({"signal_type": "pyworkflow.watch"}, "types that begin with 'pyworkflow.' are reserved"),
        ({"delay": "1m", "at": datetime.now(UTC)}, "with a delay or at a moment, not both"),
        ({"delay": "soon"}, "is not a duration"),
        ({"stream_run_id": ""}, "stream_run_id is empty"),
        ({"signal_id": "x" * 300}, "at most 255 fit"),
        ({"payload": object()}, "signal['payload']"),
        ({"metadata": {"a": object()}}, "signal['metadata']['a']"),
        ({"stream_id": ""}, "stream is empty"),
    ],
)
def test_what_cannot_be_emitted_is_refused_before_anything_is_recorded(
    wrong: dict[str, Any], message: str
) -> None:
    async def main() -> None:
        storage = InMemoryStorageBackend()
        given = {"stream_id": "mistakes.stream", "signal_type": "known", "storage": storage, **wrong}
        with pytest.raises((ValueError, UnserializableValueError)) as caught:
            await emit(**given)
        assert message in str(caught.value)
        assert not await storage.list_runs()

    asyncio.run(main())


def test_a_type_that_no_step_takes_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    asyncio.run(emit("mistakes.stream", "knwon", storage=InMemoryStorageBackend()))
    assert "no step of stream 'mistakes.stream' takes signals of type 'knwon'; did you mean" in caplog.text


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (stream_step("s", "text"), "signals is a list of types"),
        (stream_step("s", []), "signals is a list of types"),
        (stream_step("s", ["pyworkflow.x"]), "reserved"),
        (stream_step("s", ["x"], on_failure="stop"), "on_failure is 'fail', 'skip'"),
        (stream_step("s", ["x"], max_retries=-1), "max_retries must be 0 or more"),
        (stream_step("s", ["x"], name="a/b"), "has no '/'"),
        (lambda f: stream_step("s", ["x"])(len), "decorates an async function"),
        (lambda f: stream_workflow("s")(len), "decorates an async function"),
    ],
)
def test_a_decorator_with_wrong_arguments_says_which(make: Any, message: str) -> None:
    async def function() -> None:
        """Nothing."""

    with pytest.raises(ConfigurationError, match=message):
        make(function)


def test_a_stream_step_with_parameters_is_told_where_the_signal_comes_from() -> None:
    async def takes(signal: Any) -> None:
        """Nothing."""

    with pytest.raises(ConfigurationError, match=r"has signal; get_current_signal\(\) gives the signal"):
        stream_step("s", ["x"])(takes)


def test_streams_and_their_steps_are_not_called_like_functions() -> None:
    with pytest.raises(StepOutsideWorkflowError, match=r"run_stream_workflow\(stream, stream_run_id=…\)"):
        stream()
    with pytest.raises(StepOutsideWorkflowError, match="runs for the signals of stream"):
        listener()
    assert repr(stream) == "<stream 'mistakes.stream'>"
    assert repr(listener) == "<stream step 'listener' of 'mistakes.stream'>"
    assert list(stream.steps) == ["listener"]


@pytest.mark.parametrize(
    "call", [get_current_signal, get_checkpoint, lambda: save_checkpoint(1), lambda: set_result(1)]
)
def test_what_belongs_into_a_stream_step_says_so_elsewhere(call: Any) -> None:
    assert "belongs into a function decorated with @stream_step" in refused(call())


def test_terminate_without_a_stream_is_for_stream_steps() -> None:
    assert "terminate() without a stream ends the stream step it is called in" in refused(terminate())


def test_something_else_than_a_stream_cannot_be_run_as_one() -> None:
    text = refused(run_stream_workflow("mistakes.stream", stream_run_id="x"))  # type: ignore[arg-type]
    assert "takes a function decorated with @stream_workflow, not 'mistakes.stream'" in text


@stream_workflow(name="mistakes.values")
async def values() -> None:
    """Nothing."""


@stream_step(values, ["x"], max_retries=0)
async def saves_what_cannot_be_saved() -> None:
    await save_checkpoint({"a": object()})


@step(name="mistakes.result_of_values")
async def result_of_values() -> str:
    try:
        await run_stream_workflow(values, stream_run_id="x")
    except StreamFailedError as error:
        return str(error)
    return ""


@workflow(name="mistakes.running_values")
async def running_values() -> str:
    return await result_of_values()


def test_a_checkpoint_that_cannot_be_recorded_fails_the_step_and_names_the_place() -> None:
    async def main() -> None:
        async with InMemoryStorageBackend() as storage:
            run_id = await start(running_values, storage=storage)
            (last,) = (await storage.read(run_id))[-2:-1]
            assert "checkpoint['a']" in str(last.data), last.data

    asyncio.run(main())
