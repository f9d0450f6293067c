"""What runs tell each other: in order, each once, whatever crashes."""

from __future__ import annotations

import asyncio
import pathlib
import sys
from typing import Any

import pytest

from pyworkflow import (
    InMemoryStorageBackend,
    WorkflowNotFoundError,
    continue_as_new,
    start,
    start_child_workflow,
    step,
    workflow,
)
from pyworkflow.engine.clock import VirtualClock
from pyworkflow.engine.signals import receive, tell, tell_run
from pyworkflow_core.replay import current_machine

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from families import outcomes, take_up_due, work_off
from simulated_runs import make_engine
from storage_wrappers import Killed, KillingStorage, Wrapper

sys.path.pop(0)


async def next_value() -> Any:
    machine = current_machine.get()
    assert machine is not None
    return (await receive(machine))[1]


@step(name="signals.noted")
async def noted(value: Any) -> Any:
    return value


@workflow(name="signals.collecting")
async def collecting(count: int) -> list[Any]:
    return [await noted(await next_value()) for _ in range(count)]


@workflow(name="signals.patient")
async def patient() -> list[Any]:
    found = []
    for _ in range(3):
        try:
            async with asyncio.timeout(60):
                found.append(await next_value())
        except TimeoutError:
            found.append("nothing")
    return found


@workflow(name="signals.chained")
async def chained(found: list[Any]) -> list[Any]:
    found = [*found, await next_value()]
    if len(found) < 4:
        continue_as_new(found)
    return found


@workflow(name="signals.talking")
async def talking() -> Any:
    machine = current_machine.get()
    assert machine is not None
    child = await start_child_workflow(collecting, 4, wait_for_completion=False)
    for n in range(3):
        tell_run(machine, child.run_id, "number", n)
    await noted("between")
    tell_run(machine, child.run_id, "number", "last")
    tell_run(machine, "run_missing", "number", "unheard")
    return await child.result()


def test_signals_are_taken_in_the_order_of_the_log_and_each_once() -> None:
    async def main() -> None:
        clock, storage = VirtualClock(auto=True), InMemoryStorageBackend()
        engine = make_engine(storage, clock, 1)
        run_id = await start(collecting, 3, storage=storage)
        for name in ("a", "b", "a", "c"):
            await tell(engine, run_id, "letter", name, signal_id=f"id of {name}")
        await work_off(engine, clock)
        assert (await storage.get_run(run_id)).status == "completed"
        assert await outcomes(storage) == ['["signals.collecting", 0, "completed", "[ a , b , c ]"]']

    asyncio.run(main())


def test_a_wait_for_a_signal_that_is_given_up_loses_none() -> None:
    async def main() -> None:
        clock, storage = VirtualClock(auto=True), InMemoryStorageBackend()
        engine = make_engine(storage, clock, 1)
        run_id = await start(patient, storage=storage)
        await tell(engine, run_id, "word", "early")
        await take_up_due(engine)
        clock.move_to(clock.now() + 61_000_000)
        # It comes after the time, and before anybody has looked at the clock.
        await tell(engine, run_id, "word", "late")
        await work_off(engine, clock)
        assert await outcomes(storage) == [
            '["signals.patient", 0, "completed", "[ early , late , nothing ]"]'
        ]

    asyncio.run(main())


def test_signals_that_were_not_taken_follow_the_chain_and_stay_told_once() -> None:
    async def main() -> None:
        clock, storage = VirtualClock(auto=True), InMemoryStorageBackend()
        engine = make_engine(storage, clock, 1)
        run_id = await start(chained, [], storage=storage)
        for n in range(3):
            await tell(engine, run_id, "number", n, signal_id=f"id {n}")
        for _ in range(6):
            await take_up_due(engine)
        for n in (0, 1, 2, 3):
            await tell(engine, run_id, "number", n, signal_id=f"id {n}")
        await work_off(engine, clock)
        done = [line for line in await outcomes(storage) if "completed" in line]
        assert done == ['["signals.chained", 0, "completed", "[0,1,2,3]"]']

    asyncio.run(main())


def test_a_run_that_does_not_exist_or_has_ended_cannot_be_told_anything() -> None:
    async def main() -> None:
        clock, storage = VirtualClock(auto=True), InMemoryStorageBackend()
        engine = make_engine(storage, clock, 1)
        with pytest.raises(WorkflowNotFoundError, match=r"run 'run_1' cannot be told 'word'"):
            await tell(engine, "run_1", "word")
        run_id = await start(collecting, 0, storage=storage)
        with pytest.raises(WorkflowNotFoundError, match="has ended"):
            await tell(engine, run_id, "word")

    asyncio.run(main())


def test_what_one_run_tells_another_arrives_once_wherever_a_process_dies() -> None:
    async def calm() -> tuple[list[str], int]:
        clock, storage = VirtualClock(auto=True), Wrapper(InMemoryStorageBackend())
        engine = make_engine(storage, clock, 1)
        await start(talking, storage=storage, idempotency_key="t", queue="q")
        await work_off(engine, clock)
        return await outcomes(storage), storage.commits

    async def main() -> None:
        expected, commits = await calm()
        assert expected == [
            '["signals.collecting", 1, "completed", "[0,1,2, last ]"]',
            '["signals.talking", 0, "completed", "[0,1,2, last ]"]',
        ]
        for n in range(1, commits + 1):
            for acknowledged in (False, True):
                clock, inner = VirtualClock(auto=True), InMemoryStorageBackend()
                killing = KillingStorage(inner, n, acknowledged=acknowledged)
                engine = make_engine(killing, clock, 1)
                try:
                    await start(talking, storage=killing, idempotency_key="t", queue="q")
                    await work_off(engine, clock)
                except Killed:
                    pass
                engine = make_engine(inner, clock, 2)
                await start(talking, storage=inner, idempotency_key="t", queue="q")
                await work_off(engine, clock)
                assert await outcomes(inner) == expected, (n, acknowledged)

    asyncio.run(main())
