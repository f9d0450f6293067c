"""Continuing as new: chains, what is carried over, who follows the chain, and limits of a history."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import pathlib
import sys
from typing import Any

import pytest

from pyworkflow import (
    CancellationError,
    ChildWorkflowHandle,
    HistoryLimitError,
    HookAlreadyReceivedError,
    HookExpiredError,
    InMemoryStorageBackend,
    StepOutsideWorkflowError,
    WorkflowNotFoundError,
    cancel_workflow,
    configure,
    continue_as_new,
    get_workflow_chain,
    get_workflow_run,
    hook,
    list_workflow_runs,
    reset_config,
    resume,
    resume_hook,
    shield,
    sleep,
    start,
    start_child_workflow,
    step,
    workflow,
)
from pyworkflow.engine.clock import VirtualClock
from pyworkflow_core.ids import derive_run_id
from pyworkflow_core.payloads import WorkflowStarted
from pyworkflow_core.storage import StorageBackend

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from families import outcomes, take_up_due, work_off
from simulated_runs import SECOND, log_of, make_engine
from storage_wrappers import Killed, KillingStorage

sys.path.pop(0)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(auto=True)


@pytest.fixture
def storage() -> StorageBackend:
    return InMemoryStorageBackend()


@step(name="chain.one", max_retries=0)
async def one() -> int:
    return 1


@workflow(name="chain.counting", tags=["counting"])
async def counting(left: int, total: int = 0) -> int:
    total += await one()
    if left:
        continue_as_new(left - 1, total=total)
    return total


async def started(storage: StorageBackend, run_id: str) -> WorkflowStarted:
    payload = (await log_of(storage, run_id))[0].data
    assert isinstance(payload, WorkflowStarted)
    return payload


def test_a_chain_of_runs_ends_with_the_result_of_the_last_and_each_has_a_log_of_its_own(
    storage: StorageBackend, clock: VirtualClock
) -> None:
    async def main() -> None:
        make_engine(storage, clock)
        run_id = await start(counting, 3, storage=storage, idempotency_key="k", priority=2)
        assert await resume(run_id, storage=storage) == 4
        chain = await get_workflow_chain(run_id, storage)
        assert [str(run.status) for run in chain] == 3 * ["continued_as_new"] + ["completed"]
        for before, after in itertools.pairwise(chain):
            record = await storage.get(before.run_id)
            assert record is not None
            assert after.run_id == derive_run_id("continue", before.run_id, record.incarnation)
            assert before.continued_to_run_id == after.run_id
            assert after.continued_from_run_id == before.run_id
            assert (after.priority, after.tags, after.idempotency_key) == (2, ("counting",), None)
        # Wherever one asks, the chain is the same, and so is the end.
        assert await get_workflow_chain(chain[2].run_id, storage) == chain
        assert await start(counting, 3, storage=storage, idempotency_key="k", wait=True) == run_id
        assert (await started(storage, chain[3].run_id)).first == run_id
        with pytest.raises(WorkflowNotFoundError):
            await get_workflow_chain("nothing", storage)

    asyncio.run(main())


def test_the_failure_of_the_last_run_is_the_failure_of_the_chain(
    storage: StorageBackend, clock: VirtualClock
) -> None:
    @workflow(name="chain.failing")
    async def failing(again: bool) -> None:
        if again:
            continue_as_new(False)
        raise ValueError("the end")

    async def main() -> None:
        make_engine(storage, clock)
        for wait in (False, True):
            with pytest.raises(ValueError, match="the end"):
                await start(failing, True, storage=storage, wait=wait)
        first = (await list_workflow_runs(storage=storage, status="continued_as_new"))[0]
        with pytest.raises(ValueError, match="the end"):
            await resume(first.run_id, storage=storage)

    asyncio.run(main())


def test_no_except_swallows_it_and_awaiting_it_is_the_same(
    storage: StorageBackend, clock: VirtualClock
) -> None:
    @workflow(name="chain.in_a_group")
    async def in_a_group(left: int) -> str:
        async def inner() -> None:
            try:
                await continue_as_new(left - 1)
            except Exception:
                pytest.fail("it was swallowed")

        if left == 2:
            async with asyncio.TaskGroup() as group:
                group.create_task(inner())
        if left == 1:
            await inner()
        return "end"

    async def main() -> None:
        make_engine(storage, clock)
        run_id = await start(in_a_group, 2, storage=storage)
        assert await resume(run_id, storage=storage) == "end"
        assert len(await get_workflow_chain(run_id, storage)) == 3

    asyncio.run(main())


def test_what_cannot_be_the_arguments_is_refused_where_it_is_called(
    storage: StorageBackend, clock: VirtualClock
) -> None:
    @workflow(name="chain.refused")
    async def refused(n: int) -> list[str]:
        found = []
        for args in ((), (object(),)):
            try:
                continue_as_new(*args)
            except TypeError as error:
                found.append(type(error).__name__)
        return found

    async def main() -> None:
        make_engine(storage, clock)
        run_id = await start(refused, 1, storage=storage)
        assert await resume(run_id, storage=storage) == ["TypeError", "UnserializableValueError"]
        with pytest.raises(StepOutsideWorkflowError, match="outside a workflow"):
            continue_as_new()

    asyncio.run(main())


def test_a_request_to_stop_goes_to_the_run_that_goes_on(storage: StorageBackend, clock: VirtualClock) -> None:
    @workflow(name="chain.stopped")
    async def stopped(again: bool) -> str:
        if again:
            continue_as_new(False)
        try:
            await hook("never")
        except CancellationError as error:
            return f"stopped: {error.reason}"
        return "nothing"

    async def main() -> None:
        make_engine(storage, clock)
        run_id = await start(stopped, True, storage=storage)
        assert await cancel_workflow(run_id, "enough", wait=True, storage=storage)
        assert await resume(run_id, storage=storage) == "stopped: enough"
        assert not await cancel_workflow(run_id, storage=storage)

    asyncio.run(main())


def test_a_request_to_stop_that_was_shielded_is_delivered_to_the_run_that_goes_on(
    storage: StorageBackend, clock: VirtualClock
) -> None:
    @workflow(name="chain.shielded")
    async def shielded(again: bool) -> str:
        if again:
            async with shield():
                await sleep(60)
                continue_as_new(False)
        try:
            await sleep(60)
        except CancellationError as error:
            return f"stopped: {error.reason}"
        return "nothing"

    async def main() -> None:
        engine = make_engine(storage, clock)
        run_id = await start(shielded, True, storage=storage, queue="q")
        await take_up_due(engine)
        await cancel_workflow(run_id, "enough", storage=storage)
        await work_off(engine, clock)
        assert await resume(run_id, storage=storage) == "stopped: enough"

    asyncio.run(main())


@pytest.mark.parametrize("when", ["before", "after", "before it is asked for"])
def test_an_answer_to_a_hook_reaches_the_run_that_goes_on_under_the_old_token(
    storage: StorageBackend, clock: VirtualClock, when: str
) -> None:
    tokens: list[str] = []

    @workflow(name="chain.asking")
    async def asking(again: bool = True) -> Any:
        if not again:
            await hook("pause")
        answer = asyncio.create_task(hook("approval", on_created=tokens.append))  # type: ignore[arg-type]
        if again:
            await hook("pause")
            continue_as_new(False)
        return await answer

    async def main() -> None:
        make_engine(storage, clock)
        run_id = await start(asking, storage=storage)
        if when == "before":
            await resume_hook(tokens[0], "yes", storage=storage)
        await resume_hook(f"{run_id}:pause", storage=storage)
        await resume(run_id, storage=storage)
        (_, successor) = await get_workflow_chain(run_id, storage)
        if when == "before it is asked for":
            told = await resume_hook(tokens[0], "yes", storage=storage)
            assert told.run_id == successor.run_id
            with pytest.raises(HookAlreadyReceivedError):
                await resume_hook(tokens[0], "no", storage=storage)
        with pytest.raises((HookAlreadyReceivedError, HookExpiredError)):
            await resume_hook(f"{run_id}:pause", storage=storage)
        await resume_hook(f"{successor.run_id}:pause", storage=storage)
        await resume(run_id, storage=storage)
        if when == "after":
            assert len(set(tokens)) == 2  # each names its own run, and opens the same hook
            assert len({token.rpartition(".")[2] for token in tokens}) == 1
            await resume_hook(tokens[0], "yes", storage=storage)
        assert await resume(run_id, storage=storage) == "yes"
        assert len(await outcomes(storage)) == 2

    asyncio.run(main())


def test_children_follow_the_chain_and_their_results_come_to_its_end(
    storage: StorageBackend, clock: VirtualClock
) -> None:
    @workflow(name="chain.child")
    async def child(seconds: int) -> int:
        await sleep(seconds)
        return seconds

    @workflow(name="chain.with_children")
    async def parent(left: int, handles: list[ChildWorkflowHandle]) -> Any:
        if left:
            handles.append(await start_child_workflow(child, left * 100, wait_for_completion=False))
            await start_child_workflow(child, 10_000, wait_for_completion=False)
            await sleep(150)
            continue_as_new(left - 1, handles)
        return [await handle.result() for handle in handles]

    async def main() -> None:
        engine = make_engine(storage, clock)
        run_id = await start(parent, 3, [], storage=storage, queue="q")
        await work_off(engine, clock)
        assert await resume(run_id, storage=storage) == [300, 200, 100]
        runs = await list_workflow_runs(workflow_name="chain.child", storage=storage)
        # Those that nobody waited for went on while the chain did, and were cancelled at its end.
        assert sorted(str(run.status) for run in runs) == 3 * ["cancelled"] + 3 * ["completed"]
        last = (await get_workflow_chain(run_id, storage))[-1]
        carried = (await started(storage, last.run_id)).carried
        assert carried is not None
        # Ended ones go along only where a handle asks for them; the open ones always do.
        assert sorted(c.status for c in carried.children) == ["completed"] * 3 + ["open"] * 3

    asyncio.run(main())


def test_a_successor_that_is_not_there_yet_is_made_by_whoever_looks_for_it(clock: VirtualClock) -> None:
    async def main() -> None:
        helped = 0
        for n in range(2, 10):
            storage = InMemoryStorageBackend()
            killing = KillingStorage(storage, n, acknowledged=True)
            make_engine(killing, clock)
            with contextlib.suppress(Killed):
                await start(counting, 1, storage=killing, idempotency_key="k")
            run_id = derive_run_id("key", "k")
            record = await storage.get(run_id)
            assert record is not None
            if record.detail.continued_to is None or await storage.get(record.detail.continued_to):
                continue
            helped += 1
            make_engine(storage, clock)
            # Its process holds the lease of the first run still; nobody has to wait for that.
            assert await resume(run_id, storage=storage) == 2
        assert helped == 1

    asyncio.run(main())


def test_a_successor_that_was_deleted_is_not_made_again(storage: StorageBackend, clock: VirtualClock) -> None:
    async def main() -> None:
        engine = make_engine(storage, clock)
        run_id = await start(counting, 1, storage=storage, queue="q")
        await work_off(engine, clock)
        (_, successor) = await get_workflow_chain(run_id, storage)
        calm = await storage.get(run_id)
        assert calm is not None
        assert not calm.detail.owes
        await storage.delete(successor.run_id, expected=successor.event_count)
        # It was deleted, and is not made again by somebody who looks for it.
        with pytest.raises(WorkflowNotFoundError):
            await resume(run_id, storage=storage)
        assert [run.run_id for run in await get_workflow_chain(run_id, storage)] == [run_id]

    asyncio.run(main())


def test_a_long_history_is_warned_of_and_ends_at_its_limit(
    storage: StorageBackend, clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    cleaned: list[str] = []

    @step(name="chain.clean")
    async def clean() -> None:
        cleaned.append("up")

    @workflow(name="chain.endless")
    async def endless() -> None:
        try:
            while True:
                await one()
        except CancellationError:
            await clean()
            raise

    async def main() -> None:
        make_engine(storage, clock)
        configure(history_warning=20, history_limit=50)
        try:
            with (
                caplog.at_level(logging.WARNING, "pyworkflow"),
                pytest.raises(HistoryLimitError, match="continue_as_new"),
            ):
                await start(endless, storage=storage)
        finally:
            reset_config()
        (run,) = await list_workflow_runs(storage=storage)
        assert run.status == "failed"
        assert 50 <= run.event_count < 60
        assert cleaned == ["up"]
        warnings = [record for record in caplog.records if "continue_as_new" in record.getMessage()]
        assert len(warnings) == 2  # at 20 and at twice that

    asyncio.run(main())


def test_a_limit_of_zero_is_no_limit_and_a_chain_stays_below_any(
    storage: StorageBackend, clock: VirtualClock
) -> None:
    async def main() -> None:
        make_engine(storage, clock)
        configure(history_warning=0, history_limit=8)
        try:
            run_id = await start(counting, 20, storage=storage)
            assert await resume(run_id, storage=storage) == 21
            configure(history_limit=0)
            assert await resume(await start(counting, 0, storage=storage), storage=storage) == 1
        finally:
            reset_config()
        view = await get_workflow_run(run_id, storage)
        assert view is not None
        assert view.event_count <= 8
        clock.advance(SECOND)

    asyncio.run(main())
