"""Values that fit into an event each, and not together into an append: none of them is lost."""

from __future__ import annotations

import asyncio
import pathlib
import sys
from typing import Any

import pytest

from pyworkflow import (
    InMemoryStorageBackend,
    Worker,
    cancel_workflow,
    get_workflow_run,
    resume,
    sleep,
    start,
    step,
    workflow,
)
from pyworkflow.engine.clock import VirtualClock
from pyworkflow_core.errors import LimitExceeded
from pyworkflow_core.storage import Limits

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from simulated_runs import check_log, finish, log_of, make_engine, recorded, replay
from storage_wrappers import Wrapper

sys.path.pop(0)

executed: list[int] = []
gate = asyncio.Event()


@pytest.fixture(autouse=True)
def _nothing_executed() -> None:
    executed.clear()


class Tight(Wrapper):
    """An append holds little more than one event."""

    def __init__(self) -> None:
        super().__init__(
            InMemoryStorageBackend(),
            limits=Limits(event_bytes=20_000, append_bytes=30_000, append_events=1000),
        )


@step(name="limits.text", max_retries=0)
async def text(size: int) -> str:
    await gate.wait()
    executed.append(size)
    return "x" * size


@step(name="limits.short", max_retries=0)
async def short(value: str) -> int:
    return len(value)


@workflow(name="limits.gathers")
async def gathers(sizes: list[int], result: int) -> str:
    values = await asyncio.gather(*[text(size) for size in sizes])
    counts = await asyncio.gather(*[short(value[:500]) for value in values for _ in range(4)])
    return "y" * (result if sum(counts) else 0)


@pytest.mark.parametrize("sizes", [[18_000], [1_000] * 40, [4_000, 18_000, 18_000, 9_000]])
def test_results_and_the_end_that_do_not_fit_together_are_appended_one_after_the_other(
    sizes: list[int],
) -> None:
    async def main() -> None:
        global gate  # noqa: PLW0603
        gate = asyncio.Event()
        gate.set()
        storage = Tight()
        make_engine(storage, VirtualClock(auto=True))
        run_id = await start(gathers, sizes, 18_500, storage=storage)
        assert await resume(run_id, storage=storage) == "y" * 18_500
        assert sorted(executed) == sorted(sizes), "each step ran once"
        record = await storage.get(run_id)
        assert record is not None
        check_log(await storage.read(run_id), record)
        history = await log_of(storage, run_id)
        assert replay(history) == recorded(history)

    asyncio.run(main())


def test_arguments_and_a_result_that_do_not_fit_together_are_appended_one_after_the_other() -> None:
    @workflow(name="limits.echo")
    async def echo(value: str) -> str:
        return value

    async def main() -> None:
        storage = Tight()
        run_id = await start(echo, "z" * 18_500, storage=storage)
        run: Any = await get_workflow_run(run_id, storage)
        assert run.result == "z" * 18_500

    asyncio.run(main())


@pytest.mark.parametrize("size", [100, *range(21_500, 24_960, 90)])
def test_a_wait_is_recorded_beside_a_value_that_leaves_hardly_any_room(size: int) -> None:
    class Full(Tight):
        """An event may fill an append."""

        def __init__(self) -> None:
            super().__init__()
            self.limits = Limits(event_bytes=26_000, append_bytes=26_000, append_events=1000)

    @workflow(name="limits.wait_beside")
    async def wait_beside() -> int:
        sleeps = [sleep(1000 + n, name="眠" * 60 + str(n)) for n in range(10)]
        return len((await asyncio.gather(text(size), *sleeps))[0])

    async def main() -> None:
        global gate  # noqa: PLW0603
        gate = asyncio.Event()
        gate.set()
        storage = Full()
        clock = VirtualClock()
        make_engine(storage, clock)
        run_id = await start(wait_beside, storage=storage)
        types = [e.data.TYPE for e in await log_of(storage, run_id)]
        assert types[-2:] == ["step_completed", "workflow_suspended"]
        clock.advance(2_000_000_000)
        assert await resume(run_id, storage=storage) == size

    asyncio.run(main())


def test_a_worker_that_is_stopped_records_every_result_however_large_they_are_together() -> None:
    sizes = [5_000] * 12

    async def main() -> None:
        global gate  # noqa: PLW0603
        gate = asyncio.Event()
        storage, clock = Tight(), VirtualClock(auto=True)
        engine = make_engine(storage, clock)
        run_id = await start(gathers, sizes, 1, storage=storage, queue="q")
        worker = Worker(storage, engine=engine)
        task = asyncio.create_task(worker.run())
        while len([e for e in await log_of(storage, run_id) if e.data.TYPE == "step_started"]) < 12:
            await asyncio.sleep(0)
        worker.stop()
        gate.set()
        await asyncio.wait_for(task, 30)
        history = await log_of(storage, run_id)
        assert [e.data.TYPE for e in history].count("step_completed") == 12
        assert history[-1].data.TYPE == "workflow_suspended"
        record = await finish(make_engine(storage, clock, 2), clock, run_id)
        assert record.status == "completed"
        assert len(executed) == 12, "nothing that was completed ran again"
        check_log(await storage.read(run_id), record)

    asyncio.run(main())


def test_a_run_that_was_accepted_can_go_on_and_be_cancelled_however_large_its_record_is() -> None:
    async def main() -> None:
        storage = InMemoryStorageBackend()
        accepted = 0
        for size in range(900, 1500, 7):

            @workflow(name="limits.tagged", tags=["x" * size])
            async def tagged() -> int:
                return 1

            try:
                one, two = [await start(tagged, storage=storage, queue="q") for _ in range(2)]
            except LimitExceeded:
                break
            accepted += 1
            assert await resume(one, storage=storage) == 1
            assert await cancel_workflow(two, "r" * 500, storage=storage)
        assert 0 < accepted < 80

    asyncio.run(main())
