"""Programs of the shapes that people write: what is recorded live replays to the same result."""

from __future__ import annotations

import asyncio
from typing import Any

from simulated_runs import log_of, make_engine, recorded, replay

from pyworkflow import InMemoryStorageBackend, WorkflowDefinition, sleep, start, step, workflow
from pyworkflow.engine.clock import VirtualClock
from pyworkflow_core.codec import default_codec
from pyworkflow_core.payloads import StepStarted

EXECUTED: list[Any] = []


@step(name="shapes.double")
async def double(number: int) -> int:
    EXECUTED.append(number)
    return 2 * number


@step(name="shapes.after")
async def after(turns: int, answer: str) -> str:
    for _ in range(turns):
        await asyncio.sleep(0)
    return answer


@step(name="shapes.forever")
async def forever() -> None:
    await asyncio.Event().wait()


def run(flow: WorkflowDefinition[[], Any]) -> tuple[Any, list[Any]]:
    """What the workflow returned, which is what its log gives in another machine; and the log."""

    async def main() -> tuple[Any, list[Any]]:
        EXECUTED.clear()
        storage = InMemoryStorageBackend()
        make_engine(storage, VirtualClock(auto=True))
        run_id = await start(flow, storage=storage, wait=True)
        history = await log_of(storage, run_id)
        executed = list(EXECUTED)
        how, value = recorded(history)
        assert how == "completed"
        for one_by_one in (False, True):
            assert replay(history, one_by_one=one_by_one) == (how, value)
        assert executed == EXECUTED, "a replay executed a step"
        return default_codec.decode(value), history

    return asyncio.run(main())


def test_a_gather_of_a_thousand_steps_gives_its_results_in_order_live_and_in_a_replay() -> None:
    @workflow(name="shapes.gather")
    async def flow() -> int:
        found = await asyncio.gather(*[double(n) for n in range(1000)])
        assert found == [2 * n for n in range(1000)]
        return sum(found)

    result, _ = run(flow)
    assert result == 999_000
    assert sorted(EXECUTED) == list(range(1000))


def test_a_race_is_won_in_a_replay_by_the_step_that_won_it_although_it_was_called_last() -> None:
    @workflow(name="shapes.race")
    async def flow() -> str:
        calls = [asyncio.create_task(after(50, "called first")), asyncio.create_task(after(0, "called last"))]
        done, pending = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        return done.pop().result()

    result, _ = run(flow)
    assert result == "called last"


def test_a_timeout_around_a_step_fires_once_live_and_from_the_log_in_a_replay() -> None:
    @workflow(name="shapes.timeout")
    async def flow() -> str:
        try:
            async with asyncio.timeout(5):
                await forever()
        except TimeoutError:
            return await after(0, "too late")
        return "in time"

    result, _ = run(flow)
    assert result == "too late"


def test_a_step_called_twice_with_the_same_arguments_executes_twice_and_replays_both() -> None:
    @workflow(name="shapes.twice")
    async def flow() -> list[int]:
        return [await double(5), await double(5)]

    result, history = run(flow)
    assert result == [10, 10]
    assert EXECUTED == [5, 5]
    assert [e.data.ordinal for e in history if isinstance(e.data, StepStarted)] == [1, 2]


def test_a_polling_loop_makes_progress_and_replays_every_look() -> None:
    looks: list[int] = []

    @step(name="shapes.look")
    async def look() -> bool:
        looks.append(1)
        return len(looks) >= 4

    @workflow(name="shapes.polling")
    async def flow() -> int:
        count = 1
        while not await look():
            await sleep("1h")
            count += 1
        return count

    result, _ = run(flow)
    assert result == 4
    assert len(looks) == 4
