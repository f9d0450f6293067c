"""Retrying runs that have ended: from the failed step, and what is forgotten."""

from __future__ import annotations

import asyncio
import pathlib
import sys
from typing import Any

import pytest

from pyworkflow import (
    CancellationError,
    FatalError,
    RetryRefusedError,
    WorkflowNotFoundError,
    WorkflowTimeoutError,
    cancel_workflow,
    configure,
    emit,
    get_current_signal,
    get_workflow_events,
    get_workflow_run,
    hook,
    reset_config,
    resume,
    resume_hook,
    retry_workflow,
    sleep,
    start,
    step,
    step_info,
    stream_step,
    terminate,
    workflow,
)
from pyworkflow.engine.clock import VirtualClock
from pyworkflow.engine.engine import Engine
from pyworkflow_core.storage import StorageBackend

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from breakable import act, act_twice, broken, done, run, started
from families import work_off

sys.path.pop(0)


@workflow(name="retrying.order")
async def order() -> list[Any]:
    return [await act("charge"), await act("ship"), await act("mail")]


def test_a_failed_run_goes_on_from_the_failed_step() -> None:
    async def test(storage: StorageBackend, engine: Engine, clock: VirtualClock) -> None:
        broken.add("ship")
        run_id = await started(storage, order)
        assert done == ["charge", "ship"]
        broken.clear()
        retried = await retry_workflow(run_id, reason="mended", storage=storage)
        assert (retried.run_id, retried.retried, retried.forgotten) == (run_id, ("step breakable.act#2",), ())
        run = await get_workflow_run(run_id, storage)
        assert run is not None
        assert (run.status, run.error, run.completed_at) == ("pending", None, None)
        assert await resume(run_id, storage=storage) == ["charge", "ship", "mail"]
        assert done == ["charge", "ship", "ship", "mail"]
        reopened = [e.data for e in await get_workflow_events(run_id, storage) if e.type == "run_reopened"]
        assert [data["reason"] for data in reopened] == ["mended"]

    run(test)


def test_a_run_that_fails_again_can_be_retried_again() -> None:
    async def test(storage: StorageBackend, engine: Engine, clock: VirtualClock) -> None:
        broken.add("ship")
        run_id = await started(storage, order)
        for _ in range(3):
            await retry_workflow(run_id, storage=storage)
            with pytest.raises(FatalError, match="ship is broken"):
                await resume(run_id, storage=storage)
        broken.clear()
        await retry_workflow(run_id, storage=storage)
        assert await resume(run_id, storage=storage) == ["charge", "ship", "mail"]
        assert done == ["charge", "ship", "ship", "ship", "ship", "ship", "mail"]

    run(test)


def test_a_retried_step_has_all_its_retries_again() -> None:
    @workflow(name="retrying.retries")
    async def retries() -> Any:
        return await act_twice("a")

    async def test(storage: StorageBackend, engine: Engine, clock: VirtualClock) -> None:
        broken.add("a")
        run_id = await started(storage, retries)
        assert done == ["a", "a"]
        await retry_workflow(run_id, storage=storage)
        await work_off(engine, clock)
        assert done == ["a", "a", "a", "a"]

    run(test)


def test_steps_that_failed_side_by_side_are_all_retried_and_the_others_keep_their_results() -> None:
    @workflow(name="retrying.many")
    async def many() -> Any:
        found = await asyncio.gather(*(act(n) for n in range(5)), return_exceptions=True)
        if any(isinstance(one, BaseException) for one in found):
            raise RuntimeError("some failed")
        return found

    async def test(storage: StorageBackend, engine: Engine, clock: VirtualClock) -> None:
        broken.update({1, 3})
        run_id = await started(storage, many)
        broken.clear()
        done.clear()
        retried = await retry_workflow(run_id, storage=storage)
        assert set(retried.retried) == {"step breakable.act#2", "step breakable.act#4"}
        assert await resume(run_id, storage=storage) == [0, 1, 2, 3, 4]
        assert sorted(done) == [1, 3]

    run(test)


def test_a_task_group_that_one_failure_ended_goes_on_as_a_whole() -> None:
    @workflow(name="retrying.group")
    async def group() -> Any:
        async with asyncio.TaskGroup() as tasks:
            found = [tasks.create_task(chain(n)) for n in range(3)]
        return [task.result() for task in found]

    async def chain(n: int) -> Any:
        await sleep(n + 1)
        return await act(n)

    async def test(storage: StorageBackend, engine: Engine, clock: VirtualClock) -> None:
        broken.add(1)
        run_id = await started(storage, group)
        broken.clear()
        await retry_workflow(run_id, storage=storage)
        await work_off(engine, clock)
        assert await resume(run_id, storage=storage) == [0, 1, 2]
        assert done == [0, 1, 1, 2]

    run(test)


def test_a_failure_of_the_workflows_own_code_is_replayed_up_to_there() -> None:
    @workflow(name="retrying.own_code")
    async def own_code() -> Any:
        first = await act("first")
        if broken:
            raise ZeroDivisionError
        return first, await act("second")

    async def test(storage: StorageBackend, engine: Engine, clock: VirtualClock) -> None:
        broken.add("code")
        run_id = await started(storage, own_code)
        broken.clear()
        assert (await retry_workflow(run_id, storage=storage)).retried == ()
        assert await resume(run_id, storage=storage) == ("first", "second")
        assert done == ["first", "second"]

    run(test)


def test_a_run_whose_code_cleaned_up_after_the_failure_is_retried_only_with_force() -> None:
    @workflow(name="retrying.saga")
    async def saga() -> Any:
        await act("charge")
        try:
            return await act("ship")
        except FatalError:
            await act("refund")
            raise

    async def test(storage: StorageBackend, engine: Engine, clock: VirtualClock) -> None:
        broken.add("ship")
        run_id = await started(storage, saga)
        broken.clear()
        with pytest.raises(
            RetryRefusedError, match=r"forgets and does again: step breakable.act#3"
        ) as refused:
            await retry_workflow(run_id, storage=storage)
        assert refused.value.forgotten == ("step breakable.act#3",)
        retried = await retry_workflow(run_id, force=True, storage=storage)
        assert retried.forgotten == ("step breakable.act#3",)
        assert await resume(run_id, storage=storage) == "ship"
        assert done == ["charge", "ship", "refund", "ship"]

    run(test)


def test_a_cancelled_run_goes_on_where_the_request_met_it() -> None:
    @workflow(name="retrying.cancelled")
    async def cancelled() -> Any:
        return await act("before"), await hook("answer")

    async def test(storage: StorageBackend, engine: Engine, clock: VirtualClock) -> None:
        run_id = await started(storage, cancelled, wait=False)
        await cancel_workflow(run_id, wait=True, storage=storage)
        await retry_workflow(run_id, storage=storage)
        assert await resume(run_id, storage=storage) is None
        await resume_hook(f"{run_id}:answer", "yes", storage=storage)
        assert await resume(run_id, storage=storage) == ("before", "yes")
        assert done == ["before"]
        assert await cancel_workflow(run_id, storage=storage) is False

    run(test)


def test_a_retried_run_can_be_cancelled_and_cleans_up_then() -> None:
    @workflow(name="retrying.cancelled_again")
    async def again() -> Any:
        try:
            await hook("answer")
        except CancellationError:
            await act("clean")
            raise

    async def test(storage: StorageBackend, engine: Engine, clock: VirtualClock) -> None:
        run_id = await started(storage, again, wait=False)
        await cancel_workflow(run_id, wait=True, storage=storage)
        await retry_workflow(run_id, force=True, storage=storage)
        assert await cancel_workflow(run_id, storage=storage)
        await work_off(engine, clock)
        assert done == ["clean", "clean"]
        run = await get_workflow_run(run_id, storage)
        assert run is not None
        assert run.status == "cancelled"

    run(test)


def test_a_run_that_was_cancelled_before_it_began_begins() -> None:
    async def test(storage: StorageBackend, engine: Engine, clock: VirtualClock) -> None:
        run_id = await start(order, queue="default", storage=storage)
        await cancel_workflow(run_id, storage=storage)
        await retry_workflow(run_id, storage=storage)
        assert await resume(run_id, storage=storage) == ["charge", "ship", "mail"]

    run(test)


def test_a_run_that_max_duration_ended_gets_all_its_time_again() -> None:
    @workflow(name="retrying.quick", max_duration="10s")
    async def quick() -> Any:
        await sleep(8)
        if broken:
            await sleep(8)
        return await act("end")

    async def test(storage: StorageBackend, engine: Engine, clock: VirtualClock) -> None:
        broken.add("slow")
        run_id = await started(storage, quick)
        with pytest.raises(WorkflowTimeoutError):
            await resume(run_id, storage=storage)
        await retry_workflow(run_id, storage=storage)
        clock.move_to(clock.now() + 7_000_000)
        await work_off(engine, clock)
        assert await resume(run_id, storage=storage) == "end"

    run(test)


def test_a_timeout_around_the_failed_step_leaves_it_the_time_that_was_left() -> None:
    @workflow(name="retrying.timed")
    async def timed() -> Any:
        async with asyncio.timeout(10):
            await sleep(4)
            first = await act("timed")
            await sleep(4)
        return first

    @workflow(name="retrying.timed_out")
    async def timed_out() -> Any:
        async with asyncio.timeout(10):
            await act("timed out")
            await sleep(20)

    async def test(storage: StorageBackend, engine: Engine, clock: VirtualClock) -> None:
        broken.update({"timed", "timed out"})
        runs = [await started(storage, timed), await started(storage, timed_out)]
        clock.move_to(clock.now() + 3600_000_000)
        broken.clear()
        for run_id in runs:
            await retry_workflow(run_id, storage=storage)
        await work_off(engine, clock)
        assert await resume(runs[0], storage=storage) == "timed"
        with pytest.raises(TimeoutError):
            await resume(runs[1], storage=storage)
        await retry_workflow(runs[1], storage=storage)
        with pytest.raises(TimeoutError):
            await resume(runs[1], storage=storage)

    run(test)


def test_a_run_that_was_interrupted_has_all_its_recoveries_again() -> None:
    @workflow(name="retrying.poison", max_recovery_attempts=0)
    async def poison() -> Any:
        return await act("a")

    async def test(storage: StorageBackend, engine: Engine, clock: VirtualClock) -> None:
        run_id = await start(poison, queue="default", storage=storage)
        for _ in range(2):
            (claim,) = await storage.claim(owner="x", now=clock.now(), lease=10, run_id=run_id)
            from pyworkflow.engine.outside import append_outside
            from pyworkflow_core.payloads import WorkflowResumed

            assert await append_outside(engine, claim.record, [WorkflowResumed("gone")])
            clock.move_to(clock.now() + 60_000_000)
            await work_off(engine, clock)
            run = await get_workflow_run(run_id, storage)
            assert run is not None
            assert run.status == "interrupted"
            await retry_workflow(run_id, storage=storage)
        assert await resume(run_id, storage=storage) == "a"

    run(test)


def test_a_step_that_is_tried_again_after_a_retry_says_the_same_under_the_same_ids() -> None:
    heard: list[str] = []
    keys: list[str] = []

    @stream_step("retrying.told", ["news", "end"])
    async def hears() -> None:
        signal = await get_current_signal()
        if signal is not None:
            heard.append(signal.signal_type)
            if signal.signal_type == "end":
                await terminate()

    @step(name="retrying.tells", max_retries=0)
    async def tells() -> str:
        keys.append(step_info().idempotency_key)
        for kind in ("news", "end"):
            await emit("retrying.told", kind, stream_run_id="s")
        if len(keys) == 1:
            raise OSError("after it was said")
        return "told"

    @workflow(name="retrying.telling")
    async def telling() -> str:
        return await tells()

    async def test(storage: StorageBackend, engine: Engine, clock: VirtualClock) -> None:
        run_id = await start(telling, queue="default", storage=storage)
        await work_off(engine, clock)
        await retry_workflow(run_id, storage=storage)
        await work_off(engine, clock)
        assert await resume(run_id, storage=storage) == "told"
        assert heard == ["news", "end"]
        assert len(keys) == 2
        assert len(set(keys)) == 1

    run(test)


def test_the_length_of_the_log_still_counts_after_a_retry() -> None:
    @workflow(name="retrying.long")
    async def long() -> Any:
        for n in range(20):
            await act(n)
        return "end"

    async def test(storage: StorageBackend, engine: Engine, clock: VirtualClock) -> None:
        configure(history_limit=20)
        try:
            run_id = await started(storage, long)
            with pytest.raises(RetryRefusedError, match="raise history_limit first"):
                await retry_workflow(run_id, storage=storage)
            configure(history_limit=200)
            await retry_workflow(run_id, storage=storage)
            assert await resume(run_id, storage=storage) == "end"
        finally:
            reset_config()
        assert done == list(range(20))

    run(test)


def test_what_cannot_be_retried_is_refused_with_a_reason() -> None:
    async def test(storage: StorageBackend, engine: Engine, clock: VirtualClock) -> None:
        with pytest.raises(WorkflowNotFoundError):
            await retry_workflow("run_nowhere", storage=storage)
        completed = await start(order, storage=storage)
        with pytest.raises(RetryRefusedError, match="has completed"):
            await retry_workflow(completed, storage=storage)
        waiting = await start(order, queue="default", storage=storage)
        with pytest.raises(RetryRefusedError, match="is pending"):
            await retry_workflow(waiting, storage=storage)
        with pytest.raises(ValueError, match="reason of a retry"):
            await retry_workflow(waiting, reason="\ud800", storage=storage)

    run(test)
