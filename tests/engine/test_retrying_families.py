"""Retrying runs with children, and runs that continue as new."""

from __future__ import annotations

import pathlib
import sys
from typing import Any

import pytest

from pyworkflow import (
    FatalError,
    RetryRefusedError,
    continue_as_new,
    hook,
    list_workflow_runs,
    resume,
    retry_workflow,
    sleep,
    start,
    start_child_workflow,
    workflow,
)
from pyworkflow.engine.clock import VirtualClock
from pyworkflow.engine.engine import Engine
from pyworkflow_core.storage import StorageBackend

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from breakable import act, broken, done, run, started
from families import work_off

sys.path.pop(0)


@workflow(name="retrying.child")
async def child(what: Any) -> Any:
    return [await act((what, 1)), await act((what, 2))]


def test_a_parent_is_retried_with_the_child_that_failed() -> None:
    @workflow(name="retrying.parent")
    async def parent() -> Any:
        return await start_child_workflow(child, "x"), await act("after")

    async def test(storage: StorageBackend, engine: Engine, clock: VirtualClock) -> None:
        broken.add(("x", 2))
        run_id = await started(storage, parent)
        broken.clear()
        retried = await retry_workflow(run_id, storage=storage)
        assert [word.split()[0] for word in retried.retried] == ["child"]
        await work_off(engine, clock)
        assert await resume(run_id, storage=storage) == ([("x", 1), ("x", 2)], "after")
        assert done == [("x", 1), ("x", 2), ("x", 2), "after"]

    run(test)


def test_children_that_the_parents_end_stopped_go_on_with_it() -> None:
    @workflow(name="retrying.slow_child")
    async def slow(seconds: int) -> Any:
        await act("begun")
        await sleep(seconds)
        return await act("slow")

    @workflow(name="retrying.stopping_parent")
    async def parent() -> Any:
        handle = await start_child_workflow(slow, 3600, wait_for_completion=False)
        await sleep(5)
        await act("parent")
        return await handle.result()

    async def test(storage: StorageBackend, engine: Engine, clock: VirtualClock) -> None:
        broken.add("parent")
        run_id = await started(storage, parent)
        await work_off(engine, clock)
        (stopped,) = await list_workflow_runs(parent_run_id=run_id, storage=storage)
        assert stopped.status == "cancelled"
        broken.clear()
        await retry_workflow(run_id, storage=storage)
        await work_off(engine, clock)
        assert await resume(run_id, storage=storage) == "slow"
        assert done == ["begun", "parent", "parent", "slow"]

    run(test)


def test_a_child_that_completed_while_its_parent_was_ended_is_told_again() -> None:
    @workflow(name="retrying.abandoning")
    async def parent() -> Any:
        handle = await start_child_workflow(
            child, "y", wait_for_completion=False, parent_close_policy="abandon", queue="others"
        )
        await act("parent")
        return await handle.result()

    async def test(storage: StorageBackend, engine: Engine, clock: VirtualClock) -> None:
        broken.add("parent")
        run_id = await started(storage, parent)
        await work_off(engine, clock)
        broken.clear()
        await retry_workflow(run_id, storage=storage)
        await work_off(engine, clock)
        assert await resume(run_id, storage=storage) == [("y", 1), ("y", 2)]

    run(test)


def test_a_child_that_was_begun_after_the_failure_is_another_one_after_the_retry() -> None:
    @workflow(name="retrying.falling_back")
    async def parent() -> Any:
        try:
            return await act("direct"), await start_child_workflow(child, "second")
        except FatalError:
            await start_child_workflow(child, "fallback")
            raise

    async def test(storage: StorageBackend, engine: Engine, clock: VirtualClock) -> None:
        broken.add("direct")
        run_id = await started(storage, parent)
        await work_off(engine, clock)
        broken.clear()
        with pytest.raises(RetryRefusedError):
            await retry_workflow(run_id, storage=storage)
        await retry_workflow(run_id, force=True, storage=storage)
        await work_off(engine, clock)
        assert await resume(run_id, storage=storage) == ("direct", [("second", 1), ("second", 2)])

    run(test)


def test_a_child_alone_can_be_retried_and_the_parent_keeps_what_it_was_told() -> None:
    @workflow(name="retrying.keeping")
    async def parent() -> Any:
        try:
            await start_child_workflow(child, "z")
        except Exception as error:
            return type(error).__name__, await hook("go")

    async def test(storage: StorageBackend, engine: Engine, clock: VirtualClock) -> None:
        broken.add(("z", 1))
        run_id = await start(parent, storage=storage)
        (failed,) = await list_workflow_runs(parent_run_id=run_id, storage=storage)
        broken.clear()
        await retry_workflow(failed.run_id, storage=storage)
        await work_off(engine, clock)
        assert await resume(failed.run_id, storage=storage) == [("z", 1), ("z", 2)]
        assert await resume(run_id, storage=storage) == ("ChildWorkflowFailedError", "yes")

    run(test)


def test_of_a_chain_the_run_that_goes_on_is_retried() -> None:
    @workflow(name="retrying.chain")
    async def chain(left: int) -> Any:
        await act(left)
        if left:
            continue_as_new(left - 1)
        return "end"

    async def test(storage: StorageBackend, engine: Engine, clock: VirtualClock) -> None:
        broken.add(0)
        first = await started(storage, chain, 2)
        await work_off(engine, clock)
        broken.clear()
        retried = await retry_workflow(first, storage=storage)
        assert retried.run_id != first
        await work_off(engine, clock)
        assert await resume(first, storage=storage) == "end"
        assert done == [2, 1, 0, 0]

    run(test)


def test_a_retried_run_may_continue_as_new() -> None:
    @workflow(name="retrying.continuing")
    async def continuing(left: int = 1) -> Any:
        await act("work")
        if left:
            continue_as_new(left - 1)
        return "end"

    async def test(storage: StorageBackend, engine: Engine, clock: VirtualClock) -> None:
        broken.add("work")
        run_id = await started(storage, continuing)
        broken.clear()
        await retry_workflow(run_id, storage=storage)
        await work_off(engine, clock)
        assert await resume(run_id, storage=storage) == "end"

    run(test)


def test_a_parent_whose_child_was_deleted_is_not_retried() -> None:
    @workflow(name="retrying.bereft")
    async def parent() -> Any:
        return await start_child_workflow(child, "x")

    async def test(storage: StorageBackend, engine: Engine, clock: VirtualClock) -> None:
        broken.add(("x", 1))
        run_id = await started(storage, parent)
        (record,) = [r for r in await storage.list_runs() if r.parent == run_id]
        await storage.delete(record.run_id, expected=record.head)
        with pytest.raises(RetryRefusedError, match="which was deleted"):
            await retry_workflow(run_id, storage=storage)

    run(test)
