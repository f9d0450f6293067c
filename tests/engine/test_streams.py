"""Streams: what their steps get, in which order, and how they end."""

from __future__ import annotations

import asyncio
import pathlib
import sys

import pytest

from pyworkflow import (
    InMemoryStorageBackend,
    Signal,
    StorageBackend,
    StreamNotFoundError,
    StreamWorkflowResult,
    cancel_workflow,
    emit,
    get_checkpoint,
    get_current_signal,
    get_workflow_run,
    list_workflow_runs,
    resume,
    run_stream_workflow,
    save_checkpoint,
    set_result,
    start,
    stream_step,
    stream_workflow,
    terminate,
    workflow,
)
from pyworkflow.engine.clock import VirtualClock
from pyworkflow.engine.control import drive_for
from pyworkflow.engine.engine import Engine
from pyworkflow.streams import hub, subscriber
from pyworkflow.streams.naming import stream_run

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from families import take_up_due, work_off
from simulated_runs import LEASE, log_of, make_engine, recorded, replay

sys.path.pop(0)

SECOND = 1_000_000


@stream_workflow(name="tests.log")
async def log() -> None:
    """Nothing: what it holds comes from outside."""


async def _append_to_result() -> None:
    signal = await get_current_signal()
    if signal is not None:
        seen = [*(await get_checkpoint() or []), [signal.sequence, signal.payload]]
        await save_checkpoint(seen)
        await set_result(seen)


@stream_step(log, ["word", "number"])
async def reads_all() -> None:
    await _append_to_result()


@stream_step("tests.log", ["word"])
async def reads_words() -> None:
    await _append_to_result()


@workflow(name="tests.reading")
async def reading(scope: str) -> StreamWorkflowResult:
    return await run_stream_workflow(log, stream_run_id=scope)


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


def test_every_step_gets_the_signals_of_its_types_in_the_order_of_the_stream_and_each_once() -> None:
    async def main() -> None:
        clock, storage, engine = simulated()
        run_id = await start(reading, "s", storage=storage, queue="q")
        for n, kind in enumerate(["word", "number", "word", "number"]):
            for _ in range(2):
                signal = await emit(log, kind, n, stream_run_id="s", signal_id=f"id {n}", storage=storage)
            if n == 1:
                await settle(engine)
        assert isinstance(signal, Signal)
        assert (signal.signal_id, signal.payload, signal.stream_run_id) == ("id 3", 3, "s")
        await terminate(log, stream_run_id="s", storage=storage)
        await work_off(engine, clock)
        result = await resume(run_id, storage=storage)
        assert result == StreamWorkflowResult(
            "terminated",
            {"reads_all": "terminated", "reads_words": "terminated"},
            {"reads_all": [[1, 0], [2, 1], [3, 2], [4, 3]], "reads_words": [[1, 0], [3, 2]]},
        )
        assert result.get_result("reads_words") == [[1, 0], [3, 2]]
        assert result.get_result("nobody") is None
        await check_replays(storage)

    asyncio.run(main())


def test_a_program_without_workers_runs_a_stream_in_its_own_process() -> None:
    async def main() -> None:
        async with InMemoryStorageBackend() as storage:
            run_id = await start(reading, "s", storage=storage)
            await emit(log, "word", "a", stream_run_id="s", storage=storage)
            await terminate(log, stream_run_id="s", storage=storage)
            result = await resume(run_id, storage=storage)
            assert result.step_results == {"reads_all": [[1, "a"]], "reads_words": [[1, "a"]]}

    asyncio.run(main())


def test_each_run_of_a_stream_has_its_own_signals_steps_and_results() -> None:
    async def main() -> None:
        clock, storage, engine = simulated()
        runs = {s: await start(reading, s, storage=storage, queue="q") for s in ("a", "b/../a")}
        for scope in runs:
            await emit(log, "word", scope, stream_run_id=scope, storage=storage)
        await emit(log, "word", "of the unnamed run", storage=storage)
        for scope in runs:
            await terminate(log, stream_run_id=scope, storage=storage)
        await terminate(log, storage=storage)
        await work_off(engine, clock)
        for scope, run_id in runs.items():
            result = await resume(run_id, storage=storage)
            assert result.get_result("reads_words") == [[1, scope]]

    asyncio.run(main())


def test_a_delayed_signal_is_heard_when_its_time_has_come_and_takes_its_place_then() -> None:
    async def main() -> None:
        clock, storage, engine = simulated()
        run_id = await start(reading, "s", storage=storage, queue="q")
        await emit(log, "word", "in an hour", stream_run_id="s", delay="1h", storage=storage)
        early = await emit(log, "word", "soon", stream_run_id="s", delay="1m", storage=storage)
        await emit(log, "word", "soon after", stream_run_id="s", at=early.published_at, storage=storage)
        await emit(log, "word", "now", stream_run_id="s", storage=storage)
        await settle(engine)
        step_run = next(r for r in await storage.list_runs() if r.workflow.endswith("reads_words"))
        heard = [e for e in await storage.read(step_run.run_id) if "signal_received" in str(e.type)]
        assert len(heard) == 1
        await terminate(log, stream_run_id="other", storage=storage)
        clock.move_to(clock.now() + 3600 * SECOND)
        await settle(engine)
        await terminate(log, stream_run_id="s", storage=storage)
        await work_off(engine, clock)
        result = await resume(run_id, storage=storage)
        words = [payload for _, payload in result.get_result("reads_words")]
        assert words == ["now", "soon", "soon after", "in an hour"]
        await check_replays(storage)

    asyncio.run(main())


def test_what_is_emitted_after_the_end_is_refused_and_what_is_delayed_beyond_it_is_not_heard() -> None:
    async def main() -> None:
        clock, storage, engine = simulated()
        run_id = await start(reading, "s", storage=storage, queue="q")
        await emit(log, "word", "never", stream_run_id="s", delay="1h", storage=storage)
        await terminate(log, stream_run_id="s", reason="enough", storage=storage)
        await emit(log, "word", "too late", stream_run_id="s", storage=storage)
        await work_off(engine, clock)
        result = await resume(run_id, storage=storage)
        assert (result.status, result.step_results) == ("terminated", {})
        with pytest.raises(StreamNotFoundError, match=r"run 's' of stream 'tests.log' .* it is completed"):
            await emit(log, "word", 1, stream_run_id="s", storage=storage)
        # Whoever asks for the run once more gets its result.
        again = await start(reading, "s", storage=storage, queue="q")
        await work_off(engine, clock)
        assert await resume(again, storage=storage) == result

    asyncio.run(main())


def test_long_streams_continue_as_new_and_lose_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "EVENTS", 30)
    monkeypatch.setattr(subscriber, "EVENTS", 20)

    async def main() -> None:
        clock, storage, engine = simulated()
        run_id = await start(reading, "s", storage=storage, queue="q")
        late = await emit(log, "word", "late", stream_run_id="s", delay="1h", storage=storage)
        for n in range(60):
            await emit(log, "number", n, stream_run_id="s", signal_id=f"id {n}", storage=storage)
            await emit(log, "number", n, stream_run_id="s", signal_id=f"id {n}", storage=storage)
            if n % 7 == 0:
                await settle(engine)
        clock.move_to(clock.now() + 3600 * SECOND)
        await settle(engine)
        await terminate(log, stream_run_id="s", storage=storage)
        await work_off(engine, clock)
        result = await resume(run_id, storage=storage)
        expected = [*([n + 1, n] for n in range(60)), [61, "late"]]
        assert result.get_result("reads_all") == expected
        assert late.signal_id
        chain = await list_workflow_runs(workflow_name="pyworkflow.stream", storage=storage)
        assert len(chain) > 3
        await check_replays(storage)

    asyncio.run(main())


def test_runs_of_the_engine_are_listed_only_if_somebody_asks_for_them() -> None:
    async def main() -> None:
        clock, storage, engine = simulated()
        await start(reading, "s", storage=storage, queue="q")
        await terminate(log, stream_run_id="s", storage=storage)
        await work_off(engine, clock)
        assert [r.workflow_name for r in await list_workflow_runs(storage=storage)] == ["tests.reading"]
        everything = await list_workflow_runs(include_system=True, storage=storage)
        assert len(everything) == 5
        streams = await list_workflow_runs(workflow_name="pyworkflow.stream", storage=storage)
        assert [r.run_id for r in streams] == [stream_run("tests.log", "s")]

    asyncio.run(main())


def test_cancelling_the_workflow_that_waits_ends_the_stream() -> None:
    async def main() -> None:
        clock, storage, engine = simulated()
        run_id = await start(reading, "s", storage=storage, queue="q")
        await emit(log, "word", "before", stream_run_id="s", storage=storage)
        await settle(engine)
        await cancel_workflow(run_id, "no more", storage=storage)
        await work_off(engine, clock)
        run = await get_workflow_run(run_id, storage=storage)
        assert run is not None
        assert run.status == "cancelled"
        stream = await get_workflow_run(stream_run("tests.log", "s"), storage=storage)
        assert stream is not None
        assert stream.result["status"] == "terminated"
        await check_replays(storage)

    asyncio.run(main())


def test_a_workflow_that_is_cancelled_before_anybody_waits_for_the_stream_ends_it_all_the_same() -> None:
    async def main() -> None:
        clock, storage, engine = simulated()
        run_id = await start(reading, "s", storage=storage, queue="q")
        await emit(log, "word", "before", stream_run_id="s", storage=storage)
        (claim,) = await storage.claim(owner="test", now=clock.now(), lease=LEASE, run_id=run_id)
        await (await drive_for(engine, claim)).run()
        await cancel_workflow(run_id, "no more", storage=storage)
        await work_off(engine, clock)
        stream = await get_workflow_run(stream_run("tests.log", "s"), storage=storage)
        assert stream is not None
        assert stream.result["status"] == "terminated"
        await check_replays(storage)

    asyncio.run(main())


def test_cancelling_the_run_of_a_stream_stops_its_steps_and_tells_who_waits() -> None:
    async def main() -> None:
        clock, storage, engine = simulated()
        run_id = await start(reading, "s", storage=storage, queue="q")
        await settle(engine)
        await cancel_workflow(stream_run("tests.log", "s"), "stop", storage=storage)
        await work_off(engine, clock)
        result = await resume(run_id, storage=storage)
        assert result.status == "cancelled"
        assert result.step_states == {"reads_all": "cancelled", "reads_words": "cancelled"}

    asyncio.run(main())
