"""Retrying, deleting and pruning runs that have own tokens, schedules above them, saved progress."""

from __future__ import annotations

import pathlib
import sys
from typing import Any

from pyworkflow import (
    PrunedRuns,
    ScheduleSpec,
    StepContext,
    create_schedule,
    delete_workflow_run,
    get_step_context,
    get_workflow_run,
    hook,
    load_step_checkpoint,
    prune_workflow_runs,
    resume,
    resume_hook,
    retry_workflow,
    save_step_checkpoint,
    set_step_context,
    start,
    step,
    workflow,
)
from pyworkflow.engine.clock import VirtualClock
from pyworkflow.engine.engine import Engine
from pyworkflow_core.storage import StorageBackend

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from breakable import act, broken, done, run, started
from families import take_up_due, work_off
from schedules_at_work import DAY, HOUR, work_until

sys.path.pop(0)


@workflow(name="verbs.fired")
async def fired() -> str:
    return "fired"


@workflow(name="verbs.paid")
async def paid(order: str) -> Any:
    waiting = hook("paid", token=order)
    await act("ask")
    return await waiting


def test_runs_of_a_schedule_that_goes_on_are_pruned_each_by_itself() -> None:
    async def test(storage: StorageBackend, engine: Engine, clock: VirtualClock) -> None:
        await create_schedule(
            "verbs.fired", ScheduleSpec(interval="1h"), schedule_id="hourly", storage=storage
        )
        await work_until(engine, clock, clock.now() + 10 * HOUR + 1)
        assert await prune_workflow_runs("5h", storage=storage) == PrunedRuns(5, 5, 0)
        runs = [record for record in await storage.list_runs() if record.workflow == "verbs.fired"]
        assert len(runs) == 5

    run(test)


def test_a_retried_run_takes_the_token_of_its_hook_again() -> None:
    @workflow(name="verbs.waiting_for_money")
    async def waiting() -> Any:
        import asyncio

        answer = asyncio.ensure_future(hook("paid", token="A-17"))  # type: ignore[arg-type]
        await act("ship")
        return await answer

    async def test(storage: StorageBackend, engine: Engine, clock: VirtualClock) -> None:
        broken.add("ship")
        run_id = await started(storage, waiting)
        broken.clear()
        other = await started(storage, paid, "A-17", wait=False)
        await delete_workflow_run(other, force=True, storage=storage)
        await retry_workflow(run_id, storage=storage)
        while await take_up_due(engine):
            pass
        await resume_hook("A-17", "cash", storage=storage)
        await work_off(engine, clock)
        assert await resume(run_id, storage=storage) == "cash"

    run(test)


def test_a_deleted_or_pruned_run_leaves_nothing_of_its_tokens() -> None:
    async def test(storage: StorageBackend, engine: Engine, clock: VirtualClock) -> None:
        for order in ("A-1", "A-2"):
            await started(storage, paid, order, wait=False)
            await resume_hook(order, "cash", storage=storage)
        await work_off(engine, clock)
        first, *_ = [record for record in await storage.list_runs() if record.workflow]
        await delete_workflow_run(first.run_id, storage=storage)
        clock.move_to(clock.now() + DAY)
        assert await prune_workflow_runs("1d", storage=storage) == PrunedRuns(1, 1, 0)
        assert await storage.list_runs() == []

    run(test)


def test_a_retried_step_finds_the_progress_that_it_saved() -> None:
    @step(name="verbs.pages", max_retries=0)
    async def pages() -> list[int]:
        first = await load_step_checkpoint() or 0
        for page in range(first, 5):
            done.append(page)
            await save_step_checkpoint(page + 1)
            if page == 2 and broken:
                raise ValueError("the third page is broken")
        return done.copy()

    @workflow(name="verbs.paging")
    async def paging() -> Any:
        return await pages()

    async def test(storage: StorageBackend, engine: Engine, clock: VirtualClock) -> None:
        broken.add("page")
        run_id = await started(storage, paging)
        broken.clear()
        await retry_workflow(run_id, storage=storage)
        assert await resume(run_id, storage=storage) == [0, 1, 2, 3, 4]

    run(test)


class Customer(StepContext):
    name: str = ""


@step(name="verbs.greet", max_retries=0)
async def greet() -> str:
    found = get_step_context()
    assert isinstance(found, Customer)
    done.append(found.name)
    if found.name in broken:
        raise ValueError(f"{found.name} is unknown")
    return found.name


def test_the_step_context_after_a_retry_is_that_of_the_place_from_which_it_goes_on() -> None:
    @workflow(name="verbs.greeting", context_class=Customer)
    async def greeting() -> list[str]:
        await set_step_context(Customer(name="Ann"))
        try:
            return [await greet()]
        except ValueError:
            await set_step_context(Customer(name="nobody"))
            raise

    async def test(storage: StorageBackend, engine: Engine, clock: VirtualClock) -> None:
        broken.add("Ann")
        run_id = await started(storage, greeting)
        failed = await get_workflow_run(run_id, storage)
        assert failed is not None
        assert failed.context["name"] == "nobody"
        broken.clear()
        await retry_workflow(run_id, storage=storage)
        pending = await get_workflow_run(run_id, storage)
        assert pending is not None
        assert pending.context["name"] == "Ann"
        assert await resume(run_id, storage=storage) == ["Ann"]
        assert done == ["Ann", "Ann"]

    run(test)


def test_a_run_that_is_started_again_under_its_old_key_is_another_run() -> None:
    async def test(storage: StorageBackend, engine: Engine, clock: VirtualClock) -> None:
        run_id = await start(fired, storage=storage, idempotency_key="k")
        await delete_workflow_run(run_id, storage=storage)
        assert await start(fired, storage=storage, idempotency_key="k") == run_id
        run_now = await get_workflow_run(run_id, storage)
        assert run_now is not None
        assert run_now.event_count > 1

    run(test)
