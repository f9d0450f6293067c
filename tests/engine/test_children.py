"""Children: their results and failures, handles, policies, and cancellation that flows down."""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import sys
from typing import Any

import pytest

from pyworkflow import (
    CancellationError,
    ChildWorkflowFailedError,
    ChildWorkflowHandle,
    InMemoryStorageBackend,
    MaxNestingDepthError,
    cancel_workflow,
    configure,
    get_workflow_run,
    hook,
    list_workflow_runs,
    reset_config,
    resume,
    resume_hook,
    sleep,
    start,
    start_child_workflow,
    step,
    workflow,
)
from pyworkflow.engine.clock import VirtualClock
from pyworkflow.engine.outbox import Tell, pay
from pyworkflow_core.payloads import (
    ChildWorkflowCompleted,
    ChildWorkflowReleased,
    ChildWorkflowStarted,
    WorkflowSuspended,
)
from pyworkflow_core.storage import StorageBackend

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from families import outcomes, take_up_due, work_off
from simulated_runs import SECOND, default_raw, log_of, make_engine

sys.path.pop(0)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(auto=True)


@pytest.fixture
def storage() -> StorageBackend:
    return InMemoryStorageBackend()


@step(name="children.double", max_retries=0)
async def double(n: int) -> int:
    return 2 * n


@workflow(name="children.doubling")
async def doubling(n: int, seconds: float = 0) -> int:
    await sleep(seconds)
    return await double(n)


@workflow(name="children.failing")
async def failing() -> None:
    raise KeyError("no such order")


async def run(storage: StorageBackend, definition: Any, *args: Any) -> Any:
    """Start a workflow, wait for its end; what it returned."""
    run_id = await start(definition, *args, storage=storage, wait=True)
    return await resume(run_id, storage=storage)


def only(history: list[Any], kind: type) -> list[Any]:
    return [e.data for e in history if isinstance(e.data, kind)]


def test_a_parent_leaves_memory_while_it_waits_and_gets_what_the_child_returned(
    storage: StorageBackend, clock: VirtualClock
) -> None:
    @workflow(name="children.parent")
    async def parent() -> int:
        return 1 + int(await start_child_workflow(doubling, 20, 3600))

    async def main() -> None:
        make_engine(storage, clock)
        run_id = await start(parent, storage=storage)
        view = await get_workflow_run(run_id, storage)
        assert view is not None
        assert view.status == "suspended"
        (child,) = await list_workflow_runs(parent_run_id=run_id, storage=storage)
        assert (child.status, child.nesting_depth) == ("suspended", 1)
        clock.advance(3600 * SECOND)
        assert await resume(run_id, storage=storage) == 41
        history = await log_of(storage, run_id)
        assert only(history, WorkflowSuspended)[0].waiting == (f"child children.doubling {child.run_id}",)

    asyncio.run(main())


def test_a_failure_reaches_the_parent_with_its_type_its_text_and_the_child(
    storage: StorageBackend, clock: VirtualClock
) -> None:
    @workflow(name="children.parent_of_failing")
    async def parent() -> Any:
        await start_child_workflow(failing)

    async def main() -> None:
        make_engine(storage, clock)
        with pytest.raises(ChildWorkflowFailedError, match="no such order") as caught:
            await run(storage, parent)
        error = caught.value
        assert (error.error_type, error.error) == ("KeyError", "'no such order'")
        assert error.child_workflow_name == "children.failing"
        assert isinstance(error.__cause__, KeyError)
        child = await get_workflow_run(error.child_run_id, storage)
        assert child is not None
        assert child.status == "failed"
        # The same from the log, in a process that has not seen it happen.
        (failed,) = await list_workflow_runs(workflow_name="children.parent_of_failing", storage=storage)
        with pytest.raises(ChildWorkflowFailedError, match="no such order") as again:
            await resume(failed.run_id, storage=storage)
        assert again.value.child_run_id == error.child_run_id

    asyncio.run(main())


def test_a_handle_is_there_at_once_and_says_what_the_parent_knows(
    storage: StorageBackend, clock: VirtualClock
) -> None:
    @workflow(name="children.with_handle")
    async def parent() -> Any:
        handle = await start_child_workflow(doubling, 4, 10, wait_for_completion=False)
        first = await handle.is_running(), await handle.is_terminal(), str(await handle.get_status())
        try:
            await handle.result(timeout="1s")
        except TimeoutError:
            late = "not yet"
        result = await handle.result()
        return first, late, result, await handle.is_running(), await handle.cancel(), handle

    async def main() -> None:
        make_engine(storage, clock)
        first, late, result, running, cancelled, handle = await run(storage, parent)
        assert (first, late, result) == ((True, False, "running"), "not yet", 8)
        assert (running, cancelled) == (False, False)
        assert isinstance(handle, ChildWorkflowHandle)
        configure(storage=storage)
        try:
            assert (await handle.result(), str(await handle.get_status())) == (8, "completed")
            assert await handle.is_terminal()
            assert not await handle.cancel()
        finally:
            reset_config()

    asyncio.run(main())


@pytest.mark.parametrize(("policy", "status"), [("cancel", "cancelled"), ("abandon", "completed")])
@pytest.mark.parametrize("end", ["returns", "raises", "is cancelled"])
def test_the_end_of_a_parent_cancels_its_children_or_leaves_them_alone(
    storage: StorageBackend, clock: VirtualClock, policy: Any, status: str, end: str
) -> None:
    @workflow(name="children.ending")
    async def parent() -> None:
        await start_child_workflow(doubling, 1, 3600, wait_for_completion=False, parent_close_policy=policy)
        await sleep(60)
        if end == "raises":
            raise ValueError("enough")

    async def main() -> None:
        engine = make_engine(storage, clock)
        run_id = await start(parent, storage=storage, queue="q")
        for _ in range(4):
            await take_up_due(engine)
        if end == "is cancelled":
            await cancel_workflow(run_id, "enough", storage=storage)
        await work_off(engine, clock)
        (child,) = await list_workflow_runs(parent_run_id=run_id, storage=storage)
        assert child.status == status

    asyncio.run(main())


def test_what_is_started_or_cancelled_last_of_all_is_started_and_cancelled(
    storage: StorageBackend, clock: VirtualClock
) -> None:
    @workflow(name="children.parting")
    async def parent() -> str:
        options: dict[str, Any] = {"wait_for_completion": False, "parent_close_policy": "abandon"}
        stopped = await start_child_workflow(doubling, 1, 60, **options)
        await sleep(5)
        await start_child_workflow(doubling, 2, 60, **options)
        await stopped.cancel()
        return "gone"

    async def main() -> None:
        engine = make_engine(storage, clock)
        run_id = await start(parent, storage=storage, queue="q")
        await work_off(engine, clock)
        children = await list_workflow_runs(parent_run_id=run_id, storage=storage)
        assert sorted((str(child.status), child.result) for child in children) == [
            ("cancelled", None),
            ("completed", 4),
        ]

    asyncio.run(main())


def test_a_cancellation_flows_down_to_the_child_of_the_child(
    storage: StorageBackend, clock: VirtualClock
) -> None:
    cleaned: list[str] = []

    @step(name="children.clean")
    async def clean(what: str) -> None:
        cleaned.append(what)

    @workflow(name="children.leaf")
    async def leaf() -> None:
        try:
            await hook("never")
        except CancellationError as error:
            await clean(f"leaf: {error.reason}")
            raise

    @workflow(name="children.branch")
    async def branch() -> None:
        await start_child_workflow(leaf)

    @workflow(name="children.trunk")
    async def trunk() -> None:
        await start_child_workflow(branch)

    async def main() -> None:
        engine = make_engine(storage, clock)
        run_id = await start(trunk, storage=storage, queue="q")
        for _ in range(5):
            await take_up_due(engine)
        await cancel_workflow(run_id, "the storm", storage=storage)
        await work_off(engine, clock)
        assert cleaned == ["leaf: the storm"]
        statuses = {str(run.status) for run in await list_workflow_runs(storage=storage)}
        assert statuses == {"cancelled"}
        assert len(await outcomes(storage)) == 3

    asyncio.run(main())


def test_a_child_that_lost_a_race_is_asked_to_stop_unless_it_is_abandoned(
    storage: StorageBackend, clock: VirtualClock
) -> None:
    @workflow(name="children.racing")
    async def parent() -> str:
        for policy in ("cancel", "abandon"):
            call = start_child_workflow(doubling, 1, 60, parent_close_policy=policy)  # type: ignore[arg-type]
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(call, 5)
        return str(await double(1))

    async def main() -> None:
        engine = make_engine(storage, clock)
        run_id = await start(parent, storage=storage, queue="q")
        await work_off(engine, clock)
        children = await list_workflow_runs(parent_run_id=run_id, storage=storage)
        assert sorted(str(child.status) for child in children) == ["cancelled", "completed"]
        history = await log_of(storage, run_id)
        assert [p.stop for p in only(history, ChildWorkflowReleased)] == [True, False]

    asyncio.run(main())


def test_children_nest_as_deep_as_is_configured(storage: StorageBackend, clock: VirtualClock) -> None:
    @workflow(name="children.deep")
    async def deep(level: int = 0) -> Any:
        try:
            return await start_child_workflow(deep, level + 1)
        except MaxNestingDepthError as error:
            return level, error.max_depth

    async def main() -> None:
        make_engine(storage, clock)
        assert await run(storage, deep) == (3, 3)
        configure(max_nesting_depth=5)
        try:
            assert await run(storage, deep) == (5, 5)
        finally:
            reset_config()

    asyncio.run(main())


def test_a_step_starts_children_and_a_further_attempt_gets_the_same(
    storage: StorageBackend, clock: VirtualClock
) -> None:
    attempts: list[str] = []

    @step(name="children.starting", max_retries=1, retry_delay=1)
    async def starting() -> Any:
        handle = await start_child_workflow(doubling, 1, wait_for_completion=False)
        attempts.append(handle.run_id)
        if len(attempts) == 1:
            raise ValueError("once more")
        return await handle.result(), await start_child_workflow(doubling, 2), handle

    @workflow(name="children.through_a_step")
    async def parent() -> Any:
        one, two, handle = await starting()
        return one, two, await handle.result()

    async def main() -> None:
        make_engine(storage, clock)
        assert await run(storage, parent) == (2, 4, 2)
        assert len(set(attempts)) == 1
        assert len(attempts) == 2
        assert len(await list_workflow_runs(workflow_name="children.doubling", storage=storage)) == 2
        (of,) = await list_workflow_runs(workflow_name="children.through_a_step", storage=storage)
        history = await log_of(storage, of.run_id)
        assert [p.step for p in only(history, ChildWorkflowStarted)] == 2 * ["children.starting#1"]

    asyncio.run(main())


def test_workers_of_two_queues_share_a_family(storage: StorageBackend, clock: VirtualClock) -> None:
    @workflow(name="children.over_queues")
    async def parent() -> Any:
        return await asyncio.gather(
            start_child_workflow(doubling, 1, queue="blue"), start_child_workflow(doubling, 2)
        )

    async def main() -> None:
        engine = make_engine(storage, clock)
        run_id = await start(parent, storage=storage, queue="red")
        assert await take_up_due(engine, ["red"]) == 1
        assert [await take_up_due(engine, ["red"]) for _ in range(4)] == [1, 1, 0, 0]
        (blue,) = await list_workflow_runs(queue="blue", storage=storage)
        assert blue.status == "pending"
        assert await take_up_due(engine, ["blue"]) == 1
        assert await take_up_due(engine, ["red"]) == 1
        assert await resume(run_id, storage=storage) == [2, 4]

    asyncio.run(main())


def test_a_child_for_another_queue_is_left_to_its_workers(
    storage: StorageBackend, clock: VirtualClock
) -> None:
    @workflow(name="children.elsewhere")
    async def parent() -> Any:
        return await start_child_workflow(doubling, 1, queue="elsewhere")

    async def main() -> None:
        engine = make_engine(storage, clock)
        run_id = await start(parent, storage=storage)
        (child,) = await list_workflow_runs(parent_run_id=run_id, storage=storage)
        assert child.status == "pending"
        assert await resume(run_id, storage=storage) is None
        assert await take_up_due(engine, ["elsewhere"]) == 1
        assert await resume(run_id, storage=storage) == 2

    asyncio.run(main())


def test_a_parent_that_is_told_twice_takes_the_news_once(
    storage: StorageBackend, clock: VirtualClock
) -> None:
    @workflow(name="children.told_twice")
    async def parent() -> Any:
        handle = await start_child_workflow(doubling, 1, wait_for_completion=False)
        first = await handle.result()
        await hook("pause")
        return first, await handle.result()

    async def main() -> None:
        engine = make_engine(storage, clock)
        run_id = await start(parent, storage=storage)
        (child,) = await list_workflow_runs(parent_run_id=run_id, storage=storage)
        lie = ChildWorkflowCompleted("children.doubling", child.run_id, default_raw(999))
        await pay(engine, [Tell(run_id, lie, clock.now())])
        await resume_hook(f"{run_id}:pause", storage=storage)
        assert await resume(run_id, storage=storage) == (2, 2)

    asyncio.run(main())


def test_a_parent_that_was_deleted_counts_as_told(storage: StorageBackend, clock: VirtualClock) -> None:
    @workflow(name="children.deleted")
    async def parent() -> Any:
        return await start_child_workflow(doubling, 1, 60)

    async def main() -> None:
        engine = make_engine(storage, clock)
        run_id = await start(parent, storage=storage)
        record = await storage.get(run_id)
        assert record is not None
        await storage.delete(run_id, expected=record.head)
        await work_off(engine, clock)
        assert await outcomes(storage) == ['["children.doubling", 1, "completed", "2"]']

    asyncio.run(main())
