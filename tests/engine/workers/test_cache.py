"""Runs that stay in a worker's memory while they are suspended: no replay, and nothing else changes."""

from __future__ import annotations

import asyncio
import pathlib
import sys
from typing import Any

import pytest

from pyworkflow import (
    ConfigurationError,
    InMemoryStorageBackend,
    Worker,
    cancel_workflow,
    hook,
    resume,
    resume_hook,
    sleep,
    start,
    step,
    workflow,
)
from pyworkflow.engine.clock import VirtualClock
from pyworkflow.engine.engine import use_engine
from pyworkflow.engine.outside import end_of_chain
from pyworkflow_core.codec import default_codec
from pyworkflow_core.ids import derive_run_id
from pyworkflow_core.payloads import WorkflowCompleted
from pyworkflow_core.storage import StorageBackend

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))
from feature_programs import all_programs
from feature_runs import all_records, run_program
from simulated_runs import SECOND, check_log, log_of, make_engine, recorded, replay
from storage_wrappers import NOISE, DisturbedStorage, KillingStorage, append_from_outside

sys.path.pop(0)

PROGRAMS = {name: program for name, program in all_programs().items() if program.in_numbers}
calls: list[str] = []


@step(name="cached.work", max_retries=0)
async def work(what: Any) -> Any:
    return what


@workflow(name="cached.turns")
async def turns(count: int) -> list[Any]:
    calls.append("turns")
    found = []
    for n in range(count):
        found.append(await work(n))
        await sleep(60)
    return found


@workflow(name="cached.asks")
async def asks() -> Any:
    calls.append("asks")
    answer = await hook("question")
    await sleep(60)
    return [answer, await work("after")]


@pytest.fixture(autouse=True)
def _no_calls() -> None:
    calls.clear()


async def turn_over(count: int = 300) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def let_pass(clock: VirtualClock, seconds: int) -> None:
    for _ in range(seconds // 10):
        clock.advance(10 * SECOND)
        await turn_over()


def test_a_run_that_wakes_up_goes_on_where_its_code_stands() -> None:
    async def main() -> None:
        storage, clock = InMemoryStorageBackend(), VirtualClock()
        worker = Worker(storage, engine=make_engine(storage, clock), cache=10)
        working = asyncio.create_task(worker.run())
        run_id = await start(turns, 3, storage=storage, queue="q")
        await let_pass(clock, 240)
        assert await resume(run_id, storage=storage) == [0, 1, 2]
        assert calls == ["turns"], "the code ran from its beginning more than once"
        stats = worker.stats()
        assert (stats.replays, stats.cache_hits, stats.cached) == (1, 3, 0)
        record = await storage.get(run_id)
        assert record is not None
        check_log(await storage.read(run_id), record)
        history = await log_of(storage, run_id)
        assert replay(history) == recorded(history)
        worker.stop()
        await working

    asyncio.run(main())


def test_what_came_from_outside_is_delivered_without_a_replay() -> None:
    async def main() -> None:
        storage, clock = InMemoryStorageBackend(), VirtualClock()
        worker = Worker(storage, engine=make_engine(storage, clock), cache=10)
        working = asyncio.create_task(worker.run())
        answered = await start(asks, storage=storage, queue="q")
        stopped = await start(asks, storage=storage, queue="q")
        await let_pass(clock, 10)
        assert worker.stats().cached == 2
        await resume_hook(f"{answered}:question", "yes", storage=storage)
        await cancel_workflow(stopped, storage=storage)
        await let_pass(clock, 120)
        assert await resume(answered, storage=storage) == ["yes", "after"]
        assert (await storage.get(stopped)).status == "cancelled"  # type: ignore[union-attr]
        assert calls == ["asks", "asks"]
        worker.stop()
        await working

    asyncio.run(main())


def test_a_run_that_another_process_drove_meanwhile_is_replayed() -> None:
    async def main() -> None:
        storage, clock = InMemoryStorageBackend(), VirtualClock()
        engine = make_engine(storage, clock)
        worker = Worker(storage, engine=engine, cache=10, poll_interval="1h")
        working = asyncio.create_task(worker.run())
        run_id = await start(turns, 3, storage=storage, queue="q")
        clock.advance(3600 * SECOND)
        await turn_over()
        assert worker.stats().cached == 1
        other = make_engine(storage, clock, 7)
        clock_before = clock.now()
        claims = await storage.claim(owner="other", now=clock_before + 61 * SECOND, lease=1, run_id=run_id)
        assert claims
        await storage.release(claims[0])
        use_engine(other)
        clock._now += 61 * SECOND  # without ringing: the worker does not notice
        await Worker(storage, engine=other, once=True).run()
        use_engine(engine)
        await let_pass(clock, 7200)
        assert await resume(run_id, storage=storage) == [0, 1, 2]
        assert (worker.stats().lost, worker.stats().replays) == (0, 2)
        history = await log_of(storage, run_id)
        assert replay(history) == recorded(history)
        worker.stop()
        await working

    asyncio.run(main())


def test_so_many_runs_are_kept_and_what_is_evicted_goes_on_from_its_log() -> None:
    async def main() -> None:
        storage, clock = InMemoryStorageBackend(), VirtualClock()
        worker = Worker(storage, engine=make_engine(storage, clock), cache=2)
        working = asyncio.create_task(worker.run())
        ids = [await start(turns, 2, storage=storage, queue="q") for _ in range(5)]
        await let_pass(clock, 10)
        assert worker.stats().cached == 2
        assert worker.evict("no such run") == 0
        assert worker.evict() == 2
        assert worker.stats().cached == 0
        await let_pass(clock, 240)
        for run_id in ids:
            assert await resume(run_id, storage=storage) == [0, 1]
        worker.stop()
        await working

    asyncio.run(main())


@pytest.mark.parametrize("cache", [-1, True, "many"])
def test_a_cache_that_is_no_number_of_runs_is_refused(cache: Any) -> None:
    with pytest.raises(ConfigurationError, match="cache is a number of runs"):
        Worker(cache=cache)


async def worked_off(storage: StorageBackend, name: str) -> tuple[str, Any]:
    """How a program ends with a worker that keeps its runs."""
    program, clock = PROGRAMS[name], VirtualClock(auto=True)
    engine = make_engine(storage, clock)
    worker = Worker(storage, engine=engine, cache=50, poll_interval="1h")
    working = asyncio.create_task(worker.run())
    await start(program.workflow, *program.args, storage=storage, idempotency_key=name, queue="q")
    while True:
        record = await end_of_chain(engine, derive_run_id("key", name))
        assert record is not None
        if record.status.is_terminal and not any(r.detail.owes for r in await all_records(storage)):
            break
        if program.act is not None and not record.status.is_terminal:
            await program.act(storage, derive_run_id("key", name))
        await turn_over(50)
    worker.stop()
    await working
    for one in await all_records(storage):
        check_log(await storage.read(one.run_id), one)
    last = [e.data for e in await log_of(storage, record.run_id) if isinstance(e.data, WorkflowCompleted)]
    value = default_codec.decode_lenient(last[0].result) if last else None
    return str(record.status), value


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_feature_works_the_same_with_runs_that_stay_in_memory(name: str) -> None:
    async def main() -> None:
        program = PROGRAMS[name]
        expected = program.outcome or await run_program(InMemoryStorageBackend(), program)
        storage = InMemoryStorageBackend()
        outcome = await asyncio.wait_for(worked_off(storage, name), 60)
        assert outcome[0] == expected[0]
        if outcome[0] == "completed":
            assert str(outcome[1]) == str(expected[1])

    asyncio.run(main())


def test_a_run_in_memory_whose_log_is_disturbed_ends_as_if_nothing_had_happened() -> None:
    async def main() -> None:
        for n in range(2, 14):
            inner, clock = InMemoryStorageBackend(), VirtualClock()
            outsider = make_engine(inner, clock, 5)

            async def noise(run_id: str, outsider: Any = outsider) -> None:
                await append_from_outside(outsider.storage, run_id, NOISE, outsider.ids, outsider.clock.now())

            storage = DisturbedStorage(inner, noise, lambda k, n=n: k == n)
            worker = Worker(storage, engine=make_engine(storage, clock), cache=10)
            working = asyncio.create_task(worker.run())
            run_id = await start(turns, 3, storage=storage, queue="q")
            await let_pass(clock, 300)
            history = await log_of(inner, run_id)
            assert recorded(history) == ("completed", b"[0,1,2]")
            assert replay(history) == recorded(history)
            worker.stop()
            await working

    asyncio.run(main())


def test_a_process_that_dies_with_runs_in_memory_leaves_them_to_others() -> None:
    async def main() -> None:
        for n in range(1, 14):
            for acknowledged in (False, True):
                storage, clock = InMemoryStorageBackend(), VirtualClock()
                make_engine(storage, clock, 1)
                run_id = await start(turns, 3, storage=storage, queue="q")
                killing = KillingStorage(storage, n, acknowledged=acknowledged)
                dying = Worker(killing, engine=make_engine(killing, clock, 2), cache=10)
                first = asyncio.create_task(dying.run())
                for _ in range(40):
                    await let_pass(clock, 10)
                    if killing.dead:
                        break
                first.cancel()
                await asyncio.gather(first, return_exceptions=True)
                worker = Worker(storage, engine=make_engine(storage, clock, 3), cache=10)
                second = asyncio.create_task(worker.run())
                await let_pass(clock, 300)
                worker.stop()
                await second
                history = await log_of(storage, run_id)
                assert recorded(history) == ("completed", b"[0,1,2]"), (n, acknowledged)
                assert replay(history) == recorded(history)

    asyncio.run(main())
