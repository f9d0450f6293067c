"""Steps that begin in the task of their run: they see one task, one context, and harm nobody."""

from __future__ import annotations

import asyncio
import contextvars
from typing import Any

import pytest

from pyworkflow import InMemoryStorageBackend, get_workflow_run, resume, start, step, workflow
from pyworkflow.engine.pump import Job, Pump

colour = contextvars.ContextVar("colour", default="none")


def run(main: Any) -> Any:
    return asyncio.run(asyncio.wait_for(main, 30))


async def result_of(run_id: str, storage: InMemoryStorageBackend) -> Any:
    found = await get_workflow_run(run_id, storage=storage)
    assert found is not None
    return found.result


@step(name="pump.looks")
async def looks(waits: bool) -> bool:
    """Whether the step's task is one from its first line to its last."""
    before = asyncio.current_task()
    if waits:
        await asyncio.sleep(0)
    return before is asyncio.current_task() and before is not None


@workflow(name="pump.looking")
async def looking() -> list[bool]:
    one_by_one = [await looks(waits) for waits in (True, False, True, False)]
    together = await asyncio.gather(*[looks(waits) for waits in (True, False, True)])
    return [*one_by_one, *together]


def test_a_step_sees_one_task_from_beginning_to_end_whether_it_waits_or_not() -> None:
    async def main() -> None:
        storage = InMemoryStorageBackend()
        run_id = await start(looking, storage=storage)
        assert await result_of(run_id, storage) == [True] * 7

    run(main())


def test_a_step_that_waits_never_has_the_task_of_its_run() -> None:
    tasks: list[asyncio.Task[Any] | None] = []

    @step(name="pump.notes")
    async def notes() -> None:
        await asyncio.sleep(0)
        tasks.append(asyncio.current_task())

    @workflow(name="pump.noting")
    async def noting() -> None:
        for _ in range(3):
            await notes()

    async def main() -> None:
        await start(noting, storage=InMemoryStorageBackend())
        assert len({id(task) for task in tasks}) == 3
        assert asyncio.current_task() not in tasks
        assert {task.get_name() for task in tasks if task is not None} == {"pump.notes"}

    run(main())


def test_what_a_step_sets_in_its_context_stays_there_and_is_seen_after_a_wait() -> None:
    @step(name="pump.paints")
    async def paints(name: str, waits: bool) -> list[str]:
        before = colour.get()
        colour.set(name)
        if waits:
            await asyncio.sleep(0)
        return [before, colour.get()]

    @workflow(name="pump.painting")
    async def painting() -> list[list[str]]:
        return [
            await paints(name, waits) for name, waits in (("red", True), ("blue", False), ("green", True))
        ]

    async def main() -> None:
        storage = InMemoryStorageBackend()
        colour.set("grey")
        run_id = await start(painting, storage=storage)
        assert await result_of(run_id, storage) == [["grey", "red"], ["grey", "blue"], ["grey", "green"]]
        assert colour.get() == "grey"

    run(main())


@pytest.mark.parametrize("waits", [True, False])
def test_a_step_that_cancels_its_own_task_does_not_cancel_the_run(waits: bool) -> None:
    ran = []

    @step(name="pump.cancels_itself", max_retries=0)
    async def cancels_itself() -> str:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        if waits:
            try:
                await asyncio.sleep(0)
            except asyncio.CancelledError:
                task.uncancel()
        return "went on"

    @step(name="pump.goes_after")
    async def goes_after() -> str:
        ran.append(1)
        await asyncio.sleep(0)
        return "after"

    @workflow(name="pump.cancelling")
    async def cancelling() -> list[str]:
        return [await cancels_itself(), await goes_after()]

    async def main() -> None:
        storage = InMemoryStorageBackend()
        run_id = await start(cancelling, storage=storage)
        assert await result_of(run_id, storage) == ["went on", "after"]
        assert ran == [1]

    run(main())


def test_timeouts_and_task_groups_within_a_step_belong_to_the_step() -> None:
    @step(name="pump.groups")
    async def groups() -> list[str]:
        found = []
        try:
            async with asyncio.timeout(0):
                await asyncio.sleep(10)
        except TimeoutError:
            found.append("timeout")
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(asyncio.sleep(10))
                raise ValueError("within")
        except* ValueError:
            found.append("group")
        return found

    @workflow(name="pump.grouping")
    async def grouping() -> list[str]:
        return await groups()

    async def main() -> None:
        storage = InMemoryStorageBackend()
        run_id = await start(grouping, storage=storage)
        assert await result_of(run_id, storage) == ["timeout", "group"]

    run(main())


def test_a_run_of_steps_that_never_wait_lets_others_on_the_loop_have_turns() -> None:
    turns: list[int] = []

    @step(name="pump.instant")
    async def instant() -> int:
        return len(turns)

    @workflow(name="pump.busy")
    async def busy() -> int:
        for _ in range(500):
            seen = await instant()
        return seen

    async def main() -> None:
        async def other() -> None:
            while True:
                turns.append(1)
                await asyncio.sleep(0)

        beside = asyncio.create_task(other())
        storage = InMemoryStorageBackend()
        run_id = await start(busy, storage=storage)
        beside.cancel()
        assert await result_of(run_id, storage) >= 10

    run(main())


def test_many_steps_that_wait_begin_together() -> None:
    begun = []
    gate: asyncio.Event

    @step(name="pump.waits_for_all")
    async def waits_for_all(count: int) -> None:
        begun.append(1)
        if len(begun) == count:
            gate.set()
        await gate.wait()

    @workflow(name="pump.all_of_them")
    async def all_of_them(count: int) -> int:
        await asyncio.gather(*[waits_for_all(count) for _ in range(count)])
        return count

    async def main() -> None:
        nonlocal gate
        gate = asyncio.Event()
        storage = InMemoryStorageBackend()
        assert await result_of(await start(all_of_them, 50, storage=storage), storage) == 50

    run(main())


def test_a_start_that_is_cancelled_leaves_a_run_that_others_can_take_up() -> None:
    """However often the drive has changed its task by then."""
    reached: asyncio.Event
    block = True

    @step(name="pump.passes")
    async def passes() -> None:
        await asyncio.sleep(0)

    @step(name="pump.blocks")
    async def blocks() -> str:
        reached.set()
        if block:
            await asyncio.Event().wait()
        return "done"

    @workflow(name="pump.left")
    async def left() -> str:
        for _ in range(3):
            await passes()
        return await blocks()

    async def main() -> None:
        nonlocal reached, block
        reached = asyncio.Event()
        storage = InMemoryStorageBackend()
        task = asyncio.create_task(start(left, storage=storage, idempotency_key="left"))
        await reached.wait()
        task.cancel("enough")
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()
        (record,) = await storage.list_runs()
        assert record.status == "suspended"
        block = False
        assert await resume(record.run_id, storage=storage) == "done"

    run(main())


def test_a_cancellation_before_the_first_turn_of_a_new_task_reaches_the_drive() -> None:
    heard: list[str] = []
    pumps: list[Pump] = []

    def cancel_the_next() -> None:
        pumps[0]._task.cancel()

    async def step_that_waits() -> None:
        # This comes before the first turn of the task in which the drive goes on.
        asyncio.get_running_loop().call_soon(cancel_the_next)
        await asyncio.sleep(0)
        heard.append("step went on")

    async def drive() -> None:
        try:
            await Job(step_that_waits(), {}, ("s", 1), "s").begin()
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            heard.append("drive was told")
            raise

    async def main() -> None:
        pumps.append(Pump(drive()))
        with pytest.raises(asyncio.CancelledError):
            await pumps[0].wait()
        assert sorted(heard) == ["drive was told", "step went on"]

    run(main())


def test_an_error_of_the_drive_reaches_whoever_waits_for_it() -> None:
    async def drive() -> None:
        await asyncio.sleep(0)
        raise LookupError("lost")

    async def main() -> None:
        with pytest.raises(LookupError, match="lost"):
            await Pump(drive()).wait()

    run(main())
