"""Steps of streams: what they emit, the types of payloads, failures, choosing."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import pathlib
import sys
from typing import Any

import msgspec
import pydantic
import pytest

from pyworkflow import (
    FatalError,
    InMemoryStorageBackend,
    Signal,
    StorageBackend,
    StreamFailedError,
    StreamNotFoundError,
    StreamWorkflowResult,
    WorkflowNotRegisteredError,
    configure,
    emit,
    get_checkpoint,
    get_current_signal,
    get_workflow_run,
    list_workflow_runs,
    reset_config,
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
from pyworkflow.definitions import _workflows
from pyworkflow.engine.clock import VirtualClock
from pyworkflow.engine.engine import Engine
from pyworkflow.streams import get_stream_run, list_stream_runs
from pyworkflow.streams.naming import stream_run

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from families import take_up_due, work_off
from simulated_runs import LEASE, log_of, make_engine, recorded, replay

sys.path.pop(0)

SECOND = 1_000_000


async def _append_to_result() -> None:
    signal = await get_current_signal()
    if signal is not None:
        seen = [*(await get_checkpoint() or []), [signal.sequence, signal.payload]]
        await save_checkpoint(seen)
        await set_result(seen)


def simulated() -> tuple[VirtualClock, StorageBackend, Engine]:
    clock, storage = VirtualClock(auto=True), InMemoryStorageBackend()
    return clock, storage, make_engine(storage, clock, 1)


async def settle(engine: Engine) -> None:
    """Take up what is due, until nothing is; the clock stands still."""
    while await take_up_due(engine):
        pass


async def check_replays(storage: StorageBackend) -> None:
    for record in await storage.list_runs(limit=1000):
        history = await log_of(storage, record.run_id)
        assert replay(history, run=record) == recorded(history)
        assert replay(history, run=record, one_by_one=True) == recorded(history)


@stream_workflow(name="tests.talk")
async def talk() -> None:
    await emit(talk, "question", "why?")


@step(name="tests.asked_from_a_step")
async def asked_from_a_step() -> str:
    return (await emit(talk, "question", "from a step", stream_run_id="s")).signal_id


attempts: list[str] = []


@step(name="tests.asked_twice", retry_delay=1)
async def asked_twice() -> None:
    signal = await emit(talk, "question", "of a step that fails", stream_run_id="s")
    attempts.append(signal.signal_id)
    if len(attempts) < 2:
        raise ValueError("after the signal")


@stream_step(talk, ["question"])
async def answers() -> None:
    signal = await get_current_signal()
    if signal is not None:
        assert signal.source_run_id
        assert signal.stream_run_id == "s"
        # To the same run of the stream, of which nothing is said here.
        await emit(talk, "answer", f"{signal.payload} because", metadata={"to": signal.signal_id})
        if signal.payload == "last":
            await terminate()


@stream_step(talk, ["answer"])
async def listens() -> None:
    signal = await get_current_signal()
    if signal is None:
        return
    heard = [*(await get_checkpoint() or []), signal.payload]
    await save_checkpoint(heard)
    await set_result(heard)
    assert signal.metadata["to"]
    if signal.payload.startswith("last"):
        await terminate()


@workflow(name="tests.talking")
async def talking() -> Any:
    async def init() -> None:
        await emit(talk, "question", "who?")

    await asked_from_a_step()
    await asked_twice()
    waiting = asyncio.create_task(run_stream_workflow(talk, stream_run_id="s", init=init))
    await emit(talk, "question", "last", stream_run_id="s", delay="1m")
    return (await waiting).step_results


def test_workflows_steps_and_stream_steps_emit_each_signal_once() -> None:
    async def main() -> None:
        attempts.clear()
        clock, storage, engine = simulated()
        run_id = await start(talking, storage=storage, queue="q")
        await work_off(engine, clock)
        assert len(attempts) == 2
        assert len(set(attempts)) == 1
        said = ["from a step", "of a step that fails", "who?", "why?", "last"]
        assert await resume(run_id, storage=storage) == {"listens": [f"{what} because" for what in said]}
        await check_replays(storage)

    asyncio.run(main())


class Order(pydantic.BaseModel):
    item: str
    count: int = 1


class Payment(msgspec.Struct):
    cents: int


@dataclasses.dataclass
class Refund:
    cents: int


@stream_workflow(name="tests.shop")
async def shop() -> None:
    """Nothing."""


@stream_step(shop, {"order": Order, "payment": Payment, "refund": Refund})
async def keeps_books() -> None:
    signal = await get_current_signal()
    if signal is not None:
        seen = [*(await get_checkpoint() or []), f"{signal.payload} {signal.value}"]
        await save_checkpoint(seen)
        await set_result(seen)


@workflow(name="tests.shopping")
async def shopping() -> Any:
    for payload in (Order(item="pen"), {"item": "cup", "count": 2}):
        await emit(shop, "order", payload, stream_run_id="s")
    await emit(shop, "payment", Payment(100), stream_run_id="s")
    await emit(shop, "refund", Refund(5), stream_run_id="s")
    refused = []
    for kind, wrong in (("order", {"count": 1}), ("payment", {"cents": "many"}), ("refund", None)):
        try:
            await emit(shop, kind, wrong, stream_run_id="s")
        except ValueError as error:
            refused.append(type(error).__name__)
    await terminate(shop, stream_run_id="s")
    result = await run_stream_workflow(shop, stream_run_id="s")
    return [refused, result.get_result("keeps_books")]


def test_payloads_are_plain_data_that_fit_a_type_and_others_are_refused_before_they_are_recorded() -> None:
    async def main() -> None:
        clock, storage, engine = simulated()
        run_id = await start(shopping, storage=storage, queue="q")
        await work_off(engine, clock)
        assert await resume(run_id, storage=storage) == [
            ["ValidationError", "ValueError", "ValueError"],
            [
                "{'item': 'pen', 'count': 1} item='pen' count=1",
                "{'item': 'cup', 'count': 2} item='cup' count=2",
                "{'cents': 100} Payment(cents=100)",
                "{'cents': 5} Refund(cents=5)",
            ],
        ]

    asyncio.run(main())


def test_a_payload_that_nobody_checked_is_passed_over_by_the_step(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        clock, storage, engine = simulated()
        await start(shopping, storage=storage, queue="q")
        # A process that does not know the types records what it is given.
        schemas, keeps_books.schemas = keeps_books.schemas, {}
        await emit(shop, "order", {"price": 1}, stream_run_id="s", storage=storage)
        keeps_books.schemas = schemas
        with caplog.at_level(logging.WARNING, "pyworkflow"):
            await work_off(engine, clock)
        assert "passes over signal" in caplog.text
        run = next(r for r in await list_workflow_runs(storage=storage))
        assert len(run.result[1]) == 4

    asyncio.run(main())


@stream_workflow(name="tests.failing")
async def failing() -> None:
    await emit(failing, "job", 1)
    await emit(failing, "job", 2)
    await emit(failing, "job", 3)
    await emit(failing, "end")


tried: list[Any] = []


async def _work() -> None:
    signal = await get_current_signal()
    if signal is None:
        return
    done = await get_checkpoint() or []
    if signal.signal_type == "end":
        await terminate()
        return
    await save_checkpoint([*done, signal.payload])
    tried.append(signal.payload)
    if signal.payload == 2:
        raise FatalError("not two")
    await set_result([*done, signal.payload])


@stream_step(failing, ["job", "end"])
async def fails() -> None:
    await _work()


@stream_step(failing, ["job", "end"], on_failure="skip")
async def skips() -> None:
    await _work()


@workflow(name="tests.failing_streams")
async def failing_streams() -> Any:
    try:
        await run_stream_workflow(failing, stream_run_id="s")
    except StreamFailedError as error:
        return [str(error), error.result]
    return None


def test_a_signal_that_fails_for_good_fails_its_step_or_is_skipped_as_the_step_says() -> None:
    async def main() -> None:
        clock, storage, engine = simulated()
        run_id = await start(failing_streams, storage=storage, queue="q")
        await work_off(engine, clock)
        text, result = await resume(run_id, storage=storage)
        assert text == "run 's' of stream 'tests.failing' failed: fails: FatalError: not two"
        assert result.step_states == {"fails": "failed", "skips": "terminated"}
        # What was saved for a signal that failed is as little there as the signal.
        assert result.step_results == {"skips": [1, 3]}
        await check_replays(storage)

    asyncio.run(main())


@stream_workflow(name="tests.retried")
async def retried() -> None:
    await emit(retried, "job", "a")
    await emit(retried, "job", "b")


@stream_step(retried, ["job"], retry_delay="1m", max_retries=2)
async def retries() -> None:
    signal = await get_current_signal()
    if signal is None:
        return
    tried.append(signal.payload)
    if tried.count(signal.payload) < 3:
        raise ValueError("not yet")
    if signal.payload == "b":
        await set_result(tried)
        await terminate()


@workflow(name="tests.retrying")
async def retrying() -> Any:
    return (await run_stream_workflow(retried, stream_run_id="s")).get_result("retries")


def test_a_signal_that_fails_is_tried_again_before_the_next_one() -> None:
    async def main() -> None:
        tried.clear()
        clock, storage, engine = simulated()
        run_id = await start(retrying, storage=storage, queue="q")
        await work_off(engine, clock)
        assert await resume(run_id, storage=storage) == ["a", "a", "a", "b", "b", "b"]

    asyncio.run(main())


async def by_priority(signal: Signal, context: Any) -> None:
    if signal.payload == "stop":
        await context.cancel("stopped by a signal")
    elif signal.payload == "high":
        await context.resume()


@stream_workflow(name="tests.choosy")
async def choosy() -> None:
    for what in ("low", "high", "low", "stop"):
        await emit(choosy, "job", what)


@stream_step(choosy, ["job"], on_signal=by_priority)
async def by_callback() -> None:
    await _append_to_result()


@stream_step(choosy, ["job"], on_signal=lambda signal: signal.payload in {"high", "stop"})
async def by_filter() -> None:
    await _append_to_result()
    signal = await get_current_signal()
    if signal is not None and signal.payload == "stop":
        await terminate()


@workflow(name="tests.choosing")
async def choosing() -> Any:
    return await run_stream_workflow(choosy, stream_run_id="s")


def test_on_signal_says_for_which_signals_the_step_runs_and_may_end_it() -> None:
    async def main() -> None:
        clock, storage, engine = simulated()
        run_id = await start(choosing, storage=storage, queue="q")
        await work_off(engine, clock)
        result = await resume(run_id, storage=storage)
        assert result == StreamWorkflowResult(
            "completed",
            {"by_callback": "cancelled", "by_filter": "terminated"},
            {"by_callback": [[2, "high"]], "by_filter": [[2, "high"], [4, "stop"]]},
            {"by_callback": "stopped by a signal"},
        )

    asyncio.run(main())


def test_run_stream_workflow_waits_in_a_program_and_in_a_step_too() -> None:
    async def main() -> None:
        async with InMemoryStorageBackend() as storage:
            result = await run_stream_workflow(choosy, stream_run_id="s", storage=storage)
            assert result.status == "completed"

    asyncio.run(main())


def test_steps_of_a_later_version_join_a_stream_that_is_there_and_take_other_types() -> None:
    @stream_workflow(name="tests.growing")
    async def growing() -> None:
        """Nothing."""

    @stream_step("tests.growing", ["word"], name="first")
    async def first_of_old() -> None:
        await _append_to_result()

    async def main() -> None:
        clock, storage, engine = simulated()
        await emit("tests.growing", "word", "a", storage=storage)
        await settle(engine)

        @stream_step("tests.growing", ["word", "number"], name="second")
        async def second() -> None:
            await _append_to_result()

        @stream_step("tests.growing", ["number"], name="first")
        async def first() -> None:
            await _append_to_result()

        engine = make_engine(storage, clock, 2)
        clock.move_to(clock.now() + LEASE)
        await emit("tests.growing", "word", "b", storage=storage)
        await emit("tests.growing", "number", 3, storage=storage)
        await terminate("tests.growing", storage=storage)
        await work_off(engine, clock)
        stream = await get_workflow_run(stream_run("tests.growing", None), storage=storage)
        assert stream is not None
        ends = {name: end["result"] for name, end in stream.result["steps"].items()}
        assert ends == {"first": '[[1,"a"],[3,3]]', "second": '[[2,"b"],[3,3]]'}

    asyncio.run(main())


@stream_workflow(name="tests.elsewhere", queue="far")
async def elsewhere() -> None:
    """Nothing."""


@stream_step(elsewhere, ["word"])
async def far_away() -> None:
    await _append_to_result()


def test_a_worker_without_the_code_of_the_steps_drives_the_stream_and_leaves_them_alone() -> None:
    async def main() -> None:
        clock, storage, engine = simulated()
        await emit(elsewhere, "word", "a", storage=storage)
        await terminate(elsewhere, storage=storage)
        code = _workflows.pop(far_away.workflow.name)
        try:
            assert not await take_up_due(engine, ["q"])
            with pytest.raises(WorkflowNotRegisteredError, match="far_away"):
                await settle(engine)
        finally:
            _workflows[far_away.workflow.name] = code
        await work_off(engine, clock)
        stream = await get_stream_run(elsewhere, storage=storage)
        assert (stream.outcome, stream.signals) == ("terminated", 1)
        (step_run,) = stream.steps
        assert (step_run.name, step_run.status) == ("far_away", "completed")
        assert {r.queue for r in await storage.list_runs()} == {"far"}
        assert [run.run_id for run in await list_stream_runs(storage=storage)] == [stream.run_id]

    asyncio.run(main())


def test_a_stream_whose_step_failed_fails_the_workflow_that_does_not_catch_that() -> None:
    @workflow(name="tests.failing_with_its_stream")
    async def failing_with_its_stream() -> None:
        await run_stream_workflow(failing, stream_run_id="s")

    async def main() -> None:
        clock, storage, engine = simulated()
        run_id = await start(failing_with_its_stream, storage=storage, queue="q")
        await work_off(engine, clock)
        with pytest.raises(StreamFailedError, match="fails: FatalError: not two") as caught:
            await resume(run_id, storage=storage)
        assert caught.value.result.step_states["skips"] == "terminated"

    asyncio.run(main())


def test_a_run_without_a_log_has_its_own_runs_of_streams_and_tells_the_unnamed_one_of_all() -> None:
    @workflow(name="tests.streaming_without_a_log")
    async def streaming_without_a_log() -> Any:
        await emit(elsewhere, "word", "for all", signal_id="once")
        return (await run_stream_workflow(choosy, stream_run_id="s")).status

    async def main() -> None:
        async with InMemoryStorageBackend() as storage:
            configure(storage=storage)
            try:
                run = await start(streaming_without_a_log, durable=False)
            finally:
                reset_config()
            assert run.result == "completed"  # type: ignore[attr-defined]
            assert (await get_stream_run(elsewhere, storage=storage)).signals == 1
            with pytest.raises(StreamNotFoundError):
                await get_stream_run(choosy, "s", storage=storage)

    asyncio.run(main())
