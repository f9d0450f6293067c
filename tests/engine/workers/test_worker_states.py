"""What a worker does while the storage is away, and what it says of itself."""

from __future__ import annotations

import asyncio
import json
import logging
import pathlib
import sys
from pathlib import Path
from typing import Any

import pytest

from pyworkflow import (
    ConfigurationError,
    InMemoryStorageBackend,
    Worker,
    WorkerStats,
    cancel_workflow,
    continue_as_new,
    hook,
    sleep,
    start,
    step,
    workflow,
)
from pyworkflow.engine.clock import VirtualClock
from pyworkflow.engine.engine import Engine
from pyworkflow.workers.backoff import FIRST, LONGEST, Backoff
from pyworkflow.workers.health import shown_health
from pyworkflow.workers.stats import WorkerHealth
from pyworkflow_core.errors import StorageClosed, StorageUnavailable
from pyworkflow_core.storage import Claim, StorageBackend

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))
from simulated_runs import SECOND, make_engine
from storage_wrappers import Wrapper

sys.path.pop(0)


@step(name="states.work")
async def work(what: Any) -> Any:
    return what


@workflow(name="states.works")
async def works(what: Any) -> Any:
    return await work(what)


@workflow(name="states.sleeps")
async def sleeps() -> None:
    await sleep(10)


@workflow(name="states.asks")
async def asks() -> Any:
    return await hook("question")


@workflow(name="states.fails")
async def fails() -> None:
    raise ValueError("no luck")


@workflow(name="states.goes_on")
async def goes_on(left: int) -> None:
    if left:
        continue_as_new(left - 1)


class Away(Wrapper):
    """A storage that cannot be claimed from until a moment."""

    def __init__(self, inner: StorageBackend, clock: VirtualClock) -> None:
        super().__init__(inner)
        self.clock = clock
        self.until = 0
        self.tries: list[int] = []

    async def _claim(
        self, owner: str, now: int, lease: int, limit: int, queues: tuple[str, ...] | None, run_id: str | None
    ) -> list[Claim]:
        if self.clock.now() < self.until:
            self.tries.append(self.clock.now())
            raise StorageUnavailable("nobody answers")
        return await super()._claim(owner, now, lease, limit, queues, run_id)


async def until(condition: Any) -> None:
    while not condition():
        await asyncio.sleep(0)


def test_a_worker_tries_ever_more_seldom_while_the_storage_is_away_and_then_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        clock = VirtualClock(auto=True)
        storage = Away(InMemoryStorageBackend(), clock)
        engine = make_engine(storage, clock)
        worker = Worker(storage, engine=engine)
        seen: list[str] = [worker.health().status]
        working = asyncio.create_task(worker.run())
        await until(lambda: worker.health().status == "ok")
        storage.until = clock.now() + 600 * SECOND
        await start(works, 1, storage=storage, queue="q")
        await until(lambda: worker.health().status == "storage_away")
        health = worker.health()
        assert (health.is_well, health.detail) == (False, "nobody answers")
        await until(lambda: worker.stats().completed == 1)
        assert worker.health().is_well
        worker.stop()
        assert worker.stats().storage_errors == len(storage.tries)
        await working
        seen.append(worker.health().status)
        assert seen == ["stopped", "stopped"]
        # Some tries at once, then one every 15 to 30 seconds.
        assert 20 <= len(storage.tries) <= 50
        pauses = [later - earlier for earlier, later in zip(storage.tries, storage.tries[1:], strict=False)]
        assert max(pauses[:3]) < SECOND
        assert all(15 * SECOND <= pause <= 30 * SECOND for pause in pauses[9:])
        assert len(set(pauses)) == len(pauses), "no jitter"

    with caplog.at_level(logging.INFO):
        asyncio.run(main())
    told = [record for record in caplog.records if "storage is away" in record.message]
    assert 10 <= len(told) <= 21, "once in half a minute"
    assert any("the storage is back, after" in record.message for record in caplog.records)


def test_a_pause_grows_up_to_half_a_minute_and_begins_anew() -> None:
    class Half:
        def random(self) -> float:
            return 1.0

    backoff = Backoff(Half())  # type: ignore[arg-type]
    pauses = [backoff.next() for _ in range(40)]
    assert pauses[0] == FIRST
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST
    backoff.reset()
    assert backoff.next() == FIRST


def test_a_worker_that_is_stopped_while_the_storage_is_away_ends_at_once() -> None:
    async def main() -> None:
        clock = VirtualClock()
        storage = Away(InMemoryStorageBackend(), clock)
        storage.until = clock.now() + 600 * SECOND
        worker = Worker(storage, engine=make_engine(storage, clock))
        working = asyncio.create_task(worker.run())
        await until(lambda: storage.tries)
        worker.stop()
        await asyncio.wait_for(working, 30)

    asyncio.run(main())


def test_a_closed_storage_ends_the_worker_with_its_error() -> None:
    async def main() -> None:
        storage = InMemoryStorageBackend()
        worker = Worker(storage, engine=make_engine(storage, VirtualClock(auto=True)))
        working = asyncio.create_task(worker.run())
        await until(lambda: worker.health().status == "ok")
        await storage.close()
        with pytest.raises(StorageClosed):
            await working

    asyncio.run(main())


def test_a_worker_counts_what_became_of_its_runs() -> None:
    async def main() -> None:
        storage, clock = InMemoryStorageBackend(), VirtualClock()
        engine = make_engine(storage, clock)
        told: list[WorkerStats] = []
        worker = Worker(storage, engine=engine, once=True, on_stats=told.append)
        for n in range(3):
            await start(works, n, storage=storage, queue="q")
        for other in (sleeps, fails):
            await start(other, storage=storage, queue="q")
        asked = await start(asks, storage=storage, queue="q")
        await start(goes_on, 1, storage=storage, queue="q")
        clock.advance(7 * SECOND)
        await worker.run()
        await cancel_workflow(asked, storage=storage)
        clock.advance(5 * SECOND)
        await worker.run()
        stats = worker.stats()
        counts = (stats.completed, stats.failed, stats.cancelled, stats.suspended, stats.continued)
        assert sum(counts) == stats.claimed - stats.errands
        assert (stats.failed, stats.continued, stats.lost, stats.running) == (1, 1, 0, 0)
        assert stats.completed == 3 + 1 + 1
        assert stats.suspended + stats.cancelled == 3
        assert stats.replays == sum(counts)
        assert max(one.lag for one in told) == 7.0
        assert stats.owner == engine.owner_name
        assert stats.last_claim_at is not None
        assert told[-1] == stats
        assert json.loads(json.dumps({name: str(getattr(stats, name)) for name in stats.__struct_fields__}))

    asyncio.run(main())


def test_an_exporter_that_fails_does_not_end_the_worker(caplog: pytest.LogCaptureFixture) -> None:
    def broken(_: WorkerStats) -> None:
        raise OSError("the monitor is away")

    async def main() -> None:
        storage, clock = InMemoryStorageBackend(), VirtualClock()
        engine = make_engine(storage, clock)
        await start(works, 1, storage=storage, queue="q")
        worker = Worker(storage, engine=engine, once=True, on_stats=broken)
        await worker.run()
        assert worker.stats().completed == 1

    asyncio.run(main())
    assert any("on_stats failed" in record.message for record in caplog.records)


def test_several_workers_of_one_process_share_what_is_due() -> None:
    async def main() -> None:
        storage, clock = InMemoryStorageBackend(), VirtualClock(auto=True)
        engine = make_engine(storage, clock)
        for n in range(40):
            await start(works, n, storage=storage, queue=f"q{n % 2}")
        # Two on one engine, as an application has them, and one with an engine of its own.
        crew = [Worker(storage, engine=e, concurrency=3, once=True) for e in (engine, engine)]
        crew.append(Worker(storage, engine=Engine(storage, clock=clock), queues=["q1"], once=True))
        await asyncio.gather(*(worker.run() for worker in crew))
        assert sum(worker.stats().completed for worker in crew) == 40
        assert all(worker.stats().completed for worker in crew)

    asyncio.run(main())


def answered(worker_status: str) -> WorkerHealth:
    return WorkerHealth(status=worker_status, stats=WorkerStats(claimed=3))


async def ask(port: int, request: bytes = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n") -> tuple[str, Any]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    return head.splitlines()[0], json.loads(body)


def test_a_port_answers_with_the_health_and_says_by_its_status_whether_all_is_well() -> None:
    async def main() -> None:
        status = "ok"
        async with shown_health("127.0.0.1:0", lambda: answered(status)) as port:
            line, body = await ask(port)
            assert (line, body["status"]) == ("HTTP/1.1 200 OK", "ok")
            assert body["stats"]["claimed"] == 3
            status = "storage_away"
            assert (await ask(port))[0] == "HTTP/1.1 503 Service Unavailable"
            with pytest.raises(ConfigurationError, match="cannot be shown on 127"):
                async with shown_health(str(port), lambda: answered("ok")):
                    raise AssertionError("the port is taken")
            # One who says nothing, and goes, does no harm.
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            await writer.wait_closed()
            assert (await ask(port))[0].startswith("HTTP/1.1 503")

    asyncio.run(main())


def test_a_file_says_the_health_while_the_worker_works_and_is_gone_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "health.json"

    async def main() -> None:
        status = "starting"
        async with shown_health(str(path), lambda: answered(status), every=0.001):
            assert json.loads(path.read_text())["status"] == "starting"
            status = "ok"
            while json.loads(path.read_text())["status"] != "ok":
                await asyncio.sleep(0.001)
        assert list(tmp_path.iterdir()) == []
        with pytest.raises(ConfigurationError, match="cannot be written to"):
            async with shown_health(str(tmp_path / "no" / "health"), lambda: answered(status)):
                raise AssertionError("there is no such folder")

    asyncio.run(main())
