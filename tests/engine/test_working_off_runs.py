"""The worker: it takes what is due, so many at once, keeps its leases, and leaves cleanly."""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import sys
from typing import Any

import pytest
from msgspec import structs

from pyworkflow import InMemoryStorageBackend, Worker, hook, resume_hook, sleep, start, step, workflow
from pyworkflow.definitions import _workflows
from pyworkflow.engine.clock import VirtualClock
from pyworkflow.engine.engine import Engine, Settings, use_engine
from pyworkflow_core.errors import StorageUnavailable
from pyworkflow_core.payloads import RunRecovered, WorkflowSuspended

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from simulated_runs import LEASE, SECOND, check_log, log_of, make_engine
from storage_wrappers import Killed, KillingStorage, Wrapper

sys.path.pop(0)

at_once: list[int] = []
release: asyncio.Event
most = 0


@step(name="working.gated")
async def gated(n: int) -> int:
    global most  # noqa: PLW0603
    at_once.append(n)
    most = max(most, len(at_once))
    await release.wait()
    at_once.remove(n)
    return n


@workflow(name="working.waits")
async def waits(n: int) -> int:
    return await gated(n) + await gated(n)


@workflow(name="working.sleeps")
async def sleeps(n: int) -> int:
    await sleep(n)
    await asyncio.sleep(n)
    return n


@pytest.fixture(autouse=True)
def _nothing_begun() -> None:
    global release, most
    at_once.clear()
    release, most = asyncio.Event(), 0


async def _until(condition: Any) -> None:
    for _ in range(20_000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it did not happen")


async def _statuses(storage: Any) -> list[str]:
    return [str(record.status) for record in await storage.list_runs(limit=1000)]


def test_a_worker_drives_so_many_runs_at_once_and_no_more() -> None:
    async def main() -> None:
        storage, clock = InMemoryStorageBackend(), VirtualClock(auto=True)
        engine = make_engine(storage, clock)
        for n in range(30):
            await start(waits, n, storage=storage, queue="q")
        worker = asyncio.create_task(Worker(engine=engine, concurrency=7, once=True, storage=storage).run())
        await _until(lambda: len(at_once) == 7)
        for _ in range(200):
            await asyncio.sleep(0)
        assert len(at_once) == 7
        release.set()
        await worker
        assert most == 7
        assert await _statuses(storage) == ["completed"] * 30

    asyncio.run(main())


def test_a_worker_takes_only_the_queues_that_it_is_given() -> None:
    async def main() -> None:
        storage = InMemoryStorageBackend()
        engine = make_engine(storage, VirtualClock(auto=True))
        mine = await start(sleeps, 0, storage=storage, queue="mine")
        other = await start(sleeps, 0, storage=storage, queue="other")
        await Worker(storage, engine=engine, queues=["mine"], once=True).run()
        assert (await storage.get(mine)).status == "completed"  # type: ignore[union-attr]
        assert (await storage.get(other)).status == "pending"  # type: ignore[union-attr]

    asyncio.run(main())


class PushingStorage(Wrapper):
    """Says when a test says so that a run may be due; its first wait fails."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self.capabilities = structs.replace(inner.capabilities, push=True)
        self.hint = asyncio.Event()
        self.waits = 0

    async def _wait(self, timeout: int) -> None:
        self.waits += 1
        if self.waits == 1:
            raise StorageUnavailable("the connection broke")
        await self.hint.wait()
        self.hint.clear()


def test_a_worker_looks_at_once_when_the_storage_pushes() -> None:
    async def main() -> None:
        inner = InMemoryStorageBackend()
        storage = PushingStorage(inner)
        release.set()
        # Time stands still: no regular look ever comes.
        clock = VirtualClock()
        use_engine(Engine(inner, clock=clock))
        worker = Worker(storage, engine=Engine(storage, clock=clock), poll_interval=0.001)
        task = asyncio.create_task(worker.run())
        await _until(lambda: storage.waits == 1)
        await asyncio.sleep(0.01)
        for n in range(3):
            await start(waits, n, storage=inner, queue="q")
            assert sorted(await _statuses(inner)) == ["completed"] * n + ["pending"]
            storage.hint.set()
            while set(await _statuses(inner)) != {"completed"}:
                await asyncio.sleep(0.001)
        await _until(lambda: storage.waits >= 4)
        worker.stop()
        await task

    asyncio.run(main())


def test_a_worker_brings_sleeps_retries_answers_and_dead_runs_to_their_end() -> None:
    tokens: list[str] = []
    failures = iter([True, False])

    @step(retry_delay="60s")
    async def fails_once() -> int:
        if next(failures):
            raise ValueError("once")
        return 1

    @workflow
    async def retries() -> int:
        return await fails_once()

    @workflow
    async def asks() -> Any:
        return await hook("h", on_created=tokens.append)

    async def main() -> None:
        storage, clock = InMemoryStorageBackend(), VirtualClock(auto=True)
        killing = KillingStorage(storage, 2, acknowledged=True)
        use_engine(Engine(killing, clock=clock))
        release.set()
        with contextlib.suppress(Killed):
            await start(waits, 1, storage=killing)
        engine = make_engine(storage, clock)
        await start(sleeps, 90, storage=storage)
        await start(retries, storage=storage)
        await start(asks, storage=storage)
        worker = Worker(storage, engine=engine)
        task = asyncio.create_task(worker.run())
        await resume_hook(tokens[0], 1, storage=storage)
        while set(await _statuses(storage)) != {"completed"}:
            await asyncio.sleep(0)
        worker.stop()
        await task
        for record in await storage.list_runs():
            check_log(await storage.read(record.run_id), record)
        histories = [await log_of(storage, r.run_id) for r in await storage.list_runs()]
        assert sum(isinstance(e.data, RunRecovered) for h in histories for e in h) == 1

    asyncio.run(main())


def test_a_worker_that_is_stopped_lets_its_steps_end_and_records_their_results() -> None:
    @workflow
    async def several() -> int:
        return sum(await asyncio.gather(*[gated(n) for n in range(5)])) + await gated(9)

    async def main() -> None:
        storage, clock = InMemoryStorageBackend(), VirtualClock(auto=True)
        engine = make_engine(storage, clock)
        run_id = await start(several, storage=storage, queue="q")
        worker = Worker(storage, engine=engine)
        task = asyncio.create_task(worker.run())
        await _until(lambda: len(at_once) == 5)
        worker.stop()
        for _ in range(100):
            await asyncio.sleep(0)
        assert not task.done()
        release.set()
        await asyncio.wait_for(task, 30)
        history = await log_of(storage, run_id)
        assert [e.data.TYPE for e in history].count("step_completed") == 5
        assert isinstance(history[-1].data, WorkflowSuspended)
        assert (await storage.claim(owner="next", now=clock.now(), lease=LEASE, run_id=run_id)) != []

    asyncio.run(main())


def test_a_drive_extends_its_lease_while_a_step_takes_long() -> None:
    async def main() -> None:
        storage, clock = InMemoryStorageBackend(), VirtualClock()
        engine = make_engine(storage, clock)
        run_id = await start(waits, 1, storage=storage, queue="q")
        worker = Worker(storage, engine=engine)
        task = asyncio.create_task(worker.run())
        await _until(lambda: len(at_once) == 1)
        for _ in range(20):
            clock.advance(LEASE // 2)
            await engine._watch()
            assert not await storage.claim(owner="thief", now=clock.now(), lease=LEASE, run_id=run_id)
        release.set()
        while (await storage.get(run_id)).status != "completed":  # type: ignore[union-attr]
            await asyncio.sleep(0)
        worker.stop()
        await task
        history = await log_of(storage, run_id)
        assert not any(isinstance(e.data, RunRecovered) for e in history)

    asyncio.run(main())


def test_a_run_of_an_unknown_workflow_is_put_off_and_left_unchanged() -> None:
    @workflow(name="working.soon_forgotten")
    async def forgotten() -> None:
        return None

    async def main() -> None:
        storage, clock = InMemoryStorageBackend(), VirtualClock()
        engine = make_engine(storage, clock)
        run_id = await start(forgotten, storage=storage, queue="q")
        before = await storage.get(run_id)
        del _workflows["working.soon_forgotten"]
        await Worker(storage, engine=engine, once=True).run()
        assert await storage.get(run_id) == before
        assert not await storage.claim(owner="x", now=clock.now() + 59 * SECOND, lease=LEASE)
        assert await storage.claim(owner="x", now=clock.now() + 61 * SECOND, lease=LEASE)

    asyncio.run(main())


def test_a_run_that_cannot_be_replayed_is_given_back_and_goes_on_with_mended_code() -> None:
    @workflow(name="working.changing")
    async def first() -> int:
        await sleep(1)
        return 1

    async def main() -> None:
        storage, clock = InMemoryStorageBackend(), VirtualClock()
        engine = make_engine(storage, clock, settings=Settings())
        run_id = await start(first, storage=storage)

        @workflow(name="working.changing")
        async def changed() -> int:
            await sleep(2)
            return 2

        clock.advance(SECOND)
        await Worker(storage, engine=engine, once=True).run()
        record = await storage.get(run_id)
        assert record is not None
        assert record.status == "suspended"
        assert record.wake_at == clock.now() + 60 * SECOND
        last = (await log_of(storage, run_id))[-1].data
        assert isinstance(last, WorkflowSuspended)
        assert "NonDeterminismError" in last.reason

        @workflow(name="working.changing")
        async def mended() -> int:
            await sleep(1)
            return 3

        clock.advance(60 * SECOND)
        await Worker(storage, engine=engine, once=True).run()
        assert (await storage.get(run_id)).status == "completed"  # type: ignore[union-attr]

    asyncio.run(main())
