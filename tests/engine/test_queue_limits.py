"""Queues with limits: workers drive no more of their runs than they allow, and none is forgotten."""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from pyworkflow import (
    ConfigurationError,
    InMemoryStorageBackend,
    Worker,
    cancel_workflow,
    configure_queue,
    get_queue,
    get_queue_limits,
    get_workflow_events,
    reset_config,
    start,
)
from pyworkflow.definitions import _workflows
from pyworkflow.engine.clock import VirtualClock
from pyworkflow.engine.engine import Engine, Settings
from pyworkflow_core.record import RunRecord, RunStatus
from pyworkflow_core.storage import Claim, StorageBackend

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import limited_queues
from limited_queues import at_work, begun, engines, most, rests, works
from simulated_runs import SECOND, make_engine
from storage_wrappers import Killed, KillingStorage, Wrapper

sys.path.pop(0)

QUEUES: list[list[str] | None] = [["limited"], None]
named_or_not = pytest.mark.parametrize("queues", QUEUES, ids=["named", "every"])


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    limited_queues.forget()
    yield
    reset_config()


def engine_of(storage: StorageBackend, clock: VirtualClock, seed: int, lease: int = 30) -> Engine:
    engine = make_engine(storage, clock, seed, Settings(lease=lease * SECOND))
    engines.append(engine)
    return engine


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def runs_of(storage: StorageBackend) -> list[RunRecord]:
    return [record for record in await storage.list_runs(limit=10_000) if record.workflow]


async def work_off(
    storage: StorageBackend,
    clock: VirtualClock,
    queues: list[str] | None,
    *,
    workers: int = 3,
    lease: int = 30,
    **options: Any,
) -> list[Worker]:
    """Let workers, each an engine of its own, work until every run has ended."""
    crew = [
        Worker(storage, engine=engine_of(storage, clock, 10 + n, lease), queues=queues, **options)
        for n in range(workers)
    ]
    tasks = [asyncio.create_task(worker.run()) for worker in crew]
    while not all(r.status.is_terminal and not r.detail.owes for r in await runs_of(storage)):
        assert not any(task.done() for task in tasks)
        await turns(100)
    for worker in crew:
        worker.stop()
    await asyncio.gather(*tasks)
    return crew


@named_or_not
@pytest.mark.parametrize("concurrency", [1, 3])
def test_all_workers_together_drive_no_more_runs_than_the_queue_allows(
    concurrency: int, queues: list[str] | None
) -> None:
    async def main() -> None:
        storage, clock = InMemoryStorageBackend(), VirtualClock(auto=True)
        engine_of(storage, clock, 1)
        configure_queue("limited", concurrency=concurrency)
        for n in range(20):
            await start(works, n, storage=storage, queue="limited")
        await work_off(storage, clock, queues)
        assert most[""] == concurrency
        assert sorted(what for what, _ in begun) == list(range(20))
        assert (await get_queue("limited", storage)).running == {}

    asyncio.run(main())


@named_or_not
def test_of_runs_with_one_key_no_more_are_driven_and_others_pass_them(queues: list[str] | None) -> None:
    async def main() -> None:
        storage, clock = InMemoryStorageBackend(), VirtualClock(auto=True)
        engine_of(storage, clock, 1)
        configure_queue("limited", per_key_concurrency=1, concurrency=4)
        for n in range(30):
            await start(works, n, "a", storage=storage, queue="limited", concurrency_key="a")
        for n in range(3):
            await start(works, n, "b", storage=storage, queue="limited", concurrency_key="b")
        await start(works, "free", storage=storage, queue="limited")
        await work_off(storage, clock, queues)
        assert (most["a"], most["b"]) == (1, 1)
        assert most[""] in {2, 3}
        first = [what for what, _ in begun].index("free")
        assert first < 10, "the runs of a key that is full blocked the others"

    asyncio.run(main())


@named_or_not
def test_so_many_runs_begin_in_a_time_and_the_rest_later(queues: list[str] | None) -> None:
    async def main() -> None:
        storage, clock = InMemoryStorageBackend(), VirtualClock(auto=True)
        engine_of(storage, clock, 1)
        configure_queue("limited", rate_limit=(3, "10s"))
        for n in range(10):
            await start(works, n, storage=storage, queue="limited")
        first = clock.now()
        await work_off(storage, clock, queues, poll_interval=60)
        times = [at for _, at in begun]
        for at in times:
            assert sum(at - 10 * SECOND < other <= at for other in times) <= 3
        # None waits longer than it must: three at once, and three more every ten seconds.
        assert max(times) - first < 31 * SECOND

    asyncio.run(main())


@named_or_not
def test_a_run_that_suspends_gives_its_slot_to_another(queues: list[str] | None) -> None:
    async def main() -> None:
        storage, clock = InMemoryStorageBackend(), VirtualClock(auto=True)
        engine_of(storage, clock, 1)
        configure_queue("limited", concurrency=1)
        for n in range(5):
            await start(rests, n, storage=storage, queue="limited")
        first = clock.now()
        await work_off(storage, clock, queues)
        assert most[""] == 1
        assert clock.now() - first < 2 * 60 * SECOND, "the runs slept one after the other"

    asyncio.run(main())


def test_the_more_urgent_run_gets_the_slot_first() -> None:
    async def main() -> None:
        storage, clock = InMemoryStorageBackend(), VirtualClock(auto=True)
        engine_of(storage, clock, 1)
        configure_queue("limited", concurrency=1)
        for priority in (7, 1, 5, 0, 9):
            await start(works, priority, storage=storage, queue="limited", priority=priority)
        await work_off(storage, clock, ["limited"], workers=2)
        assert [what for what, _ in begun] == [0, 1, 5, 7, 9]

    asyncio.run(main())


class Counting(Wrapper):
    """Counts the runs that were claimed."""

    def __init__(self, inner: StorageBackend) -> None:
        super().__init__(inner)
        self.claims = 0
        self.calls = 0

    async def _claim(
        self, owner: str, now: int, lease: int, limit: int, queues: tuple[str, ...] | None, run_id: str | None
    ) -> list[Claim]:
        claims = await super()._claim(owner, now, lease, limit, queues, run_id)
        self.claims += len(claims)
        self.calls += 1
        return claims


@named_or_not
def test_runs_that_may_not_start_are_not_claimed_in_a_circle(queues: list[str] | None) -> None:
    async def main() -> None:
        inner, clock = InMemoryStorageBackend(), VirtualClock(auto=True)
        storage = Counting(inner)
        engine_of(storage, clock, 1)
        configure_queue("limited", concurrency=1)
        for n in range(50):
            await start(works, n, "", 10, storage=storage, queue="limited")
        if queues is None:
            await start(works, "other", storage=storage, queue="other")
        await work_off(storage, clock, queues, workers=1)
        assert storage.claims <= 60
        assert all(record.head == 5 for record in await runs_of(storage)), "a run's log tells of its waiting"
        if queues is None:
            assert [what for what, _ in begun].index("other") <= 1

    asyncio.run(main())


def test_a_queue_without_limits_costs_nothing_for_those_that_have_some() -> None:
    async def main() -> None:
        inner, clock = InMemoryStorageBackend(), VirtualClock(auto=True)
        calls = []
        for seed in (1, 2):
            if seed == 2:
                configure_queue("limited", concurrency=1)
            storage = Counting(inner)
            engine = engine_of(storage, clock, seed)
            for n in range(5):
                await start(works, n, storage=storage, queue="other")
            await Worker(storage, engine=engine, queues=["other"], once=True).run()
            calls.append((storage.commits, storage.calls, storage.claims))
        assert calls[0] == calls[1]
        assert len(await runs_of(inner)) == len(await inner.list_runs()), (
            "nothing was written beside the runs"
        )

    asyncio.run(main())


@named_or_not
def test_a_worker_that_dies_at_any_append_keeps_no_slot_and_loses_no_run(queues: list[str] | None) -> None:
    async def main() -> None:
        configure_queue("limited", concurrency=1, per_key_concurrency=1)
        for n in range(1, 20):
            for acknowledged in (False, True):
                limited_queues.forget()
                clock, storage = VirtualClock(auto=True), InMemoryStorageBackend()
                engine_of(storage, clock, 1)
                for what in range(2):
                    await start(works, what, storage=storage, queue="limited", concurrency_key="k")
                await start(rests, 9, storage=storage, queue="limited")
                killing = KillingStorage(storage, n, acknowledged=acknowledged)
                worker = Worker(killing, engine=engine_of(killing, clock, 2, 5), queues=queues)
                dying = asyncio.create_task(worker.run())
                while not killing.dead and not all(r.status.is_terminal for r in await runs_of(storage)):
                    await turns(20)
                await abandon(dying)
                at_work.clear()
                await work_off(storage, clock, queues, workers=2, lease=5, poll_interval=5)
                # Who has a slot that nobody needs any more is asked when somebody else needs one.
                await start(works, "last", storage=storage, queue="limited")
                await work_off(storage, clock, queues, workers=1, lease=5, poll_interval=5)
                assert {str(r.status) for r in await runs_of(storage)} == {"completed"}, n
                assert most[""] <= 1
                assert (await get_queue("limited", storage)).running == {}

    asyncio.run(main())


async def abandon(task: asyncio.Task[None]) -> None:
    """End a worker whose process is dead: whatever it still does comes to nothing."""
    mine = asyncio.current_task()
    others = {other for other in asyncio.all_tasks() if other is not mine}
    for other in others:
        other.cancel()
    with contextlib.suppress(Killed, asyncio.CancelledError):
        await task
    await asyncio.gather(*others, return_exceptions=True)


def test_a_slot_of_a_run_that_ended_without_a_word_is_found_and_freed() -> None:
    async def main() -> None:
        storage, clock = InMemoryStorageBackend(), VirtualClock(auto=True)
        engine = engine_of(storage, clock, 1)
        configure_queue("limited", concurrency=2)
        from pyworkflow.engine.limiter import Limiter
        from pyworkflow.engine.slots import Wanted
        from pyworkflow.queues import QueueLimits

        limiter = Limiter(engine, "limited")
        ended = await start(works, "ended", storage=storage)
        names = [Wanted("run_that_is_gone"), Wanted(ended)]
        await limiter.change(lambda slots, now: slots.give(names, QueueLimits(), now, most=9))
        await start(works, "next", storage=storage, queue="limited")
        await work_off(storage, clock, ["limited"], workers=1)
        assert (await get_queue("limited", storage)).running == {}

    asyncio.run(main())


@named_or_not
def test_a_run_that_is_cancelled_while_it_waits_for_a_slot_takes_none(queues: list[str] | None) -> None:
    async def main() -> None:
        storage, clock = InMemoryStorageBackend(), VirtualClock()
        configure_queue("limited", concurrency=1)
        engine = engine_of(storage, clock, 2)
        ids = [await start(works, n, storage=storage, queue="limited") for n in range(3)]
        worker = Worker(storage, engine=engine, queues=queues)
        working = asyncio.create_task(worker.run())
        while not begun:
            await asyncio.sleep(0)
        assert await cancel_workflow(ids[1], storage=storage)
        for _ in range(20):
            clock.advance(SECOND)
            await turns(200)
        assert [str((await storage.get(i)).status) for i in ids] == ["completed", "cancelled", "completed"]  # type: ignore[union-attr]
        assert worker.stats().waiting == 0
        worker.stop()
        await working
        assert (await get_queue("limited", storage)).running == {}

    asyncio.run(main())


def test_a_worker_that_stops_gives_back_its_slots_and_what_it_put_aside() -> None:
    async def main() -> None:
        storage, clock = InMemoryStorageBackend(), VirtualClock()
        configure_queue("limited", per_key_concurrency=1)
        engine = engine_of(storage, clock, 2)
        for n in range(4):
            await start(works, n, "", 3, storage=storage, queue="limited", concurrency_key="k")
        worker = Worker(storage, engine=engine, queues=["limited"])
        working = asyncio.create_task(worker.run())
        while (worker.stats().waiting, worker.stats().running) != (3, 1):
            await asyncio.sleep(0)
        state = await get_queue("limited", storage)
        assert [len(runs) for runs in state.running.values()] == [1]
        assert list(state.running) == ["k"]
        worker.stop()
        await turns(200)
        clock.advance(3 * SECOND)
        await working
        assert (await get_queue("limited", storage)).running == {}
        claims = await storage.claim(owner="next", now=clock.now(), lease=1, limit=9)
        assert len(claims) == 4, "nobody's lease stands in the way of the next worker"

    asyncio.run(main())


def test_a_run_of_a_workflow_that_nobody_knows_takes_no_slot() -> None:
    async def main() -> None:
        storage, clock = InMemoryStorageBackend(), VirtualClock(auto=True)
        engine_of(storage, clock, 1)
        configure_queue("limited", concurrency=1)
        unknown = await start(rests, 1, storage=storage, queue="limited")
        await start(works, 2, storage=storage, queue="limited")
        definition = _workflows.pop("limited.rests")
        try:
            worker = Worker(
                storage, engine=engine_of(storage, clock, 2), queues=["limited"], once=True, poll_interval=0.1
            )
            await worker.run()
        finally:
            _workflows["limited.rests"] = definition
        assert [what for what, _ in begun] == [2]
        assert (await storage.get(unknown)).status is RunStatus.PENDING  # type: ignore[union-attr]

    asyncio.run(main())


def test_limits_that_are_taken_off_hold_no_longer() -> None:
    configure_queue("q", concurrency=1, rate_limit=(2, "1m"))
    limits = get_queue_limits()["q"]
    assert (limits.concurrency, limits.beginnings, limits.period) == (1, 2, 60 * SECOND)
    configure_queue("q", per_key_concurrency=4)
    assert get_queue_limits()["q"].concurrency is None
    configure_queue("q")
    assert get_queue_limits() == {}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"concurrency": 0}, "queue 'q': concurrency is a whole number of 1 or more, not 0"),
        ({"per_key_concurrency": True}, "per_key_concurrency is a whole number"),
        ({"rate_limit": 5}, "rate_limit is a number and a time"),
        ({"rate_limit": (5, "soon")}, "is not a duration"),
        ({"rate_limit": (5, 0)}, "a time above 0"),
        ({"rate_limit": (20_000, "1s")}, "from 1 to 10000"),
    ],
)
def test_limits_that_make_no_sense_are_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        configure_queue("q", **arguments)
    assert get_queue_limits() == {}


def test_a_run_says_in_its_log_what_it_is_counted_under() -> None:
    async def main() -> None:
        storage = InMemoryStorageBackend()
        engine_of(storage, VirtualClock(), 1)
        options: dict[str, Any] = {"queue": "q", "concurrency_key": "k", "deduplication_id": "d"}
        run_id = await start(works, 1, storage=storage, **options)
        data = (await get_workflow_events(run_id, storage))[0].data
        assert (data["concurrency_key"], data["deduplication_id"]) == ("k", "d")
        record = await storage.get(run_id)
        assert record is not None
        assert record.detail.concurrency_key == "k"

    asyncio.run(main())


def test_asking_for_a_queue_that_has_no_limits_writes_nothing() -> None:
    async def main() -> None:
        storage = InMemoryStorageBackend()
        engine_of(storage, VirtualClock(), 1)
        state = await get_queue("nowhere", storage)
        assert (state.running, state.begun, state.limits.concurrency) == ({}, 0, None)
        assert await storage.list_runs() == []

    asyncio.run(main())


def test_no_queue_of_a_busy_worker_is_left_over() -> None:
    async def main() -> None:
        storage, clock = InMemoryStorageBackend(), VirtualClock(auto=True)
        engine_of(storage, clock, 1)
        for queue in ("one", "two"):
            configure_queue(queue, concurrency=50)
        for n in range(20):
            for queue in ("one", "two", "three"):
                await start(works, f"{queue}{n}", storage=storage, queue=queue)
        await work_off(storage, clock, ["one", "two", "three"], workers=1, concurrency=2)
        first = [str(what).rstrip("0123456789") for what, _ in begun[:12]]
        assert set(first) == {"one", "two", "three"}

    asyncio.run(main())
