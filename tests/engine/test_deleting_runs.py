"""Deleting runs: one, a family, what has not ended; and cancelling many at once."""

from __future__ import annotations

import pathlib
import sys
from datetime import timedelta
from typing import Any

import pytest

from pyworkflow import (
    ConfigurationError,
    DeleteRefusedError,
    WorkflowNotFoundError,
    cancel_workflow_runs,
    continue_as_new,
    delete_workflow_run,
    get_workflow_run,
    hook,
    list_workflow_runs,
    resume,
    sleep,
    start,
    start_child_workflow,
    step,
    workflow,
)
from pyworkflow.engine.clock import VirtualClock
from pyworkflow.engine.engine import Engine
from pyworkflow_core.events import from_micros
from pyworkflow_core.storage import StorageBackend

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from breakable import act, run, started
from families import work_off

sys.path.pop(0)


@workflow(name="deleting.leaf")
async def leaf(what: Any) -> Any:
    return await act(what)


@workflow(name="deleting.waiting")
async def waiting() -> Any:
    return await hook("answer")


@workflow(name="deleting.chain")
async def chain(left: int) -> Any:
    await start_child_workflow(leaf, left)
    if left:
        continue_as_new(left - 1)
    return "end"


@workflow(name="deleting.parent")
async def parent(program: str) -> Any:
    if program == "waiting":
        return await start_child_workflow(waiting)
    return await start_child_workflow(leaf, "leaf")


async def ids(storage: StorageBackend) -> set[str]:
    return {record.run_id for record in await storage.list_runs()}


def test_a_run_is_deleted_and_its_key_is_free_again() -> None:
    async def test(storage: StorageBackend, engine: Engine, clock: VirtualClock) -> None:
        run_id = await start(leaf, 1, storage=storage, idempotency_key="one")
        assert await delete_workflow_run(run_id, storage=storage) == 1
        assert await get_workflow_run(run_id, storage) is None
        with pytest.raises(WorkflowNotFoundError, match="nothing was deleted"):
            await delete_workflow_run(run_id, storage=storage)
        assert await start(leaf, 2, storage=storage, idempotency_key="one") == run_id
        assert await resume(run_id, storage=storage) == 2

    run(test)


def test_a_run_that_goes_on_is_deleted_only_with_force() -> None:
    async def test(storage: StorageBackend, engine: Engine, clock: VirtualClock) -> None:
        run_id = await start(waiting, storage=storage)
        with pytest.raises(DeleteRefusedError, match="is suspended: cancel it"):
            await delete_workflow_run(run_id, storage=storage)
        assert await delete_workflow_run(run_id, force=True, storage=storage) == 1
        assert await ids(storage) == set()

    run(test)


def test_the_parent_of_a_child_that_is_deleted_by_force_learns_that_it_was_cancelled() -> None:
    async def test(storage: StorageBackend, engine: Engine, clock: VirtualClock) -> None:
        run_id = await start(parent, "waiting", storage=storage)
        (child,) = await list_workflow_runs(parent_run_id=run_id, storage=storage)
        await delete_workflow_run(child.run_id, force=True, storage=storage)
        await work_off(engine, clock)
        told = await get_workflow_run(run_id, storage)
        assert told is not None
        assert told.status == "failed"
        assert told.error is not None
        assert "the run was deleted" in told.error

    run(test)


def test_without_family_the_children_stay_and_with_it_all_go() -> None:
    async def test(storage: StorageBackend, engine: Engine, clock: VirtualClock) -> None:
        one = await start(parent, "leaf", storage=storage)
        assert await delete_workflow_run(one, storage=storage) == 1
        assert len(await ids(storage)) == 1
        other = await start(parent, "leaf", storage=storage)
        assert await delete_workflow_run(other, family=True, storage=storage) == 2
        assert len(await ids(storage)) == 1

    run(test)


def test_the_family_of_any_link_of_a_chain_is_the_chain_with_its_children() -> None:
    async def test(storage: StorageBackend, engine: Engine, clock: VirtualClock) -> None:
        await started(storage, chain, 3)
        await work_off(engine, clock)
        middle = [r for r in await storage.list_runs() if r.detail.continued_from and r.detail.continued_to]
        assert await delete_workflow_run(middle[0].run_id, family=True, storage=storage) == 8
        assert await ids(storage) == set()

    run(test)


def test_one_link_of_a_chain_that_goes_on_is_not_deleted_by_accident() -> None:
    @workflow(name="deleting.endless")
    async def endless(n: int = 0) -> Any:
        await (sleep(5) if n < 1 else hook("never"))
        continue_as_new(n + 1)

    async def test(storage: StorageBackend, engine: Engine, clock: VirtualClock) -> None:
        first = await start(endless, storage=storage)
        clock.move_to(clock.now() + 5_000_000)
        await resume(first, storage=storage)
        with pytest.raises(DeleteRefusedError, match="goes on as run"):
            await delete_workflow_run(first, storage=storage)
        with pytest.raises(DeleteRefusedError):
            await delete_workflow_run(first, family=True, storage=storage)
        assert await delete_workflow_run(first, family=True, force=True, storage=storage) == 2
        assert await ids(storage) == set()

    run(test)


def test_a_family_that_goes_on_is_ended_before_it_is_deleted() -> None:
    @workflow(name="deleting.deep")
    async def deep(left: int) -> Any:
        return await (start_child_workflow(deep, left - 1) if left else hook("never"))

    async def test(storage: StorageBackend, engine: Engine, clock: VirtualClock) -> None:
        run_id = await start(deep, 3, storage=storage)
        queued = await start(deep, 2, queue="default", storage=storage)
        assert await delete_workflow_run(run_id, family=True, force=True, storage=storage) == 4
        assert await ids(storage) == {queued}
        assert await delete_workflow_run(queued, family=True, force=True, storage=storage) == 1

    run(test)


def test_a_drive_whose_run_is_deleted_lets_it_go() -> None:
    @workflow(name="deleting.itself")
    async def itself() -> Any:
        await act("before")
        await deletes[0]()
        return await act("after")

    async def test(storage: StorageBackend, engine: Engine, clock: VirtualClock) -> None:
        @step(name="deleting.delete", max_retries=0)
        async def delete_it() -> None:
            (record,) = await storage.list_runs()
            await delete_workflow_run(record.run_id, force=True, storage=storage)

        deletes[:] = [delete_it]
        await start(itself, queue="default", storage=storage)
        await work_off(engine, clock)
        assert await ids(storage) == set()

    run(test)


deletes: list[Any] = []


def test_many_runs_are_cancelled_by_filter() -> None:
    async def test(storage: StorageBackend, engine: Engine, clock: VirtualClock) -> None:
        mine = [await start(waiting, storage=storage) for _ in range(3)]
        other = await start(leaf, 1, storage=storage, queue="slow")
        ended = await start(leaf, 2, storage=storage)
        assert (
            await cancel_workflow_runs(workflow_name="deleting.waiting", dry_run=True, storage=storage) == 3
        )
        assert await cancel_workflow_runs(workflow_name="deleting.waiting", storage=storage) == 3
        await work_off_queue(engine, clock)
        for run_id in mine:
            found = await get_workflow_run(run_id, storage)
            assert found is not None
            assert found.status == "cancelled"
        now = from_micros(clock.now())
        assert await cancel_workflow_runs(created_from=now + timedelta(1), storage=storage) == 0
        assert await cancel_workflow_runs(queue="nobody", storage=storage) == 0
        assert await cancel_workflow_runs(status="pending", queue="slow", storage=storage) == 1
        found = await get_workflow_run(other, storage)
        assert found is not None
        assert found.status == "cancelled"
        assert await resume(ended, storage=storage) == 2

    run(test)


async def work_off_queue(engine: Engine, clock: VirtualClock) -> None:
    from families import take_up_due

    while await take_up_due(engine, ["default"]):
        pass


def test_cancelling_runs_that_have_ended_is_a_mistake_that_is_named() -> None:
    async def test(storage: StorageBackend, engine: Engine, clock: VirtualClock) -> None:
        with pytest.raises(ConfigurationError, match="failed have ended"):
            await cancel_workflow_runs(status=["failed", "pending"], storage=storage)
        with pytest.raises(ValueError, match="a status is one of"):
            await cancel_workflow_runs(status="fialed", storage=storage)

    run(test)
