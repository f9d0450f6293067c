"""Steps that nobody wants any more: how they learn of it, and that they may clean up."""

from __future__ import annotations

import asyncio
import pathlib
import sys
import threading
from typing import Any

import pytest

from pyworkflow import (
    CancellationError,
    InMemoryStorageBackend,
    StepTimeoutError,
    cancel_workflow,
    check_cancellation,
    hook,
    is_cancelled,
    resume,
    shield,
    sleep,
    start,
    step,
    workflow,
)
from pyworkflow.engine.clock import VirtualClock
from pyworkflow_core.payloads import StepCompleted

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from simulated_runs import SECOND, log_of, make_engine, recorded, replay

sys.path.pop(0)

seen: list[Any] = []
begun = threading.Event()
over = threading.Event()


@pytest.fixture(autouse=True)
def _nothing_seen() -> None:
    seen.clear()
    begun.clear()
    over.clear()


@step(name="stopping.note")
async def note(what: Any) -> Any:
    seen.append(what)
    return what


@step(name="stopping.in_a_thread", max_retries=0)
def in_a_thread() -> None:
    begun.set()
    pause = threading.Event()
    try:
        while True:
            check_cancellation()
            pause.wait(0.002)
    except CancellationError as stopped:
        seen.append(stopped.reason)
        raise
    finally:
        over.set()


@step(name="stopping.asynchronous", max_retries=0)
async def asynchronous() -> None:
    begun.set()
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        seen.append(is_cancelled())
        with pytest.raises(CancellationError, match="enough"):
            check_cancellation()
        await asyncio.sleep(0.01)  # clean-up may await, and is not cancelled again
        seen.append("cleaned up")
        raise
    finally:
        over.set()


@workflow(name="stopping.running")
async def running(thread: bool) -> None:
    try:
        await (in_a_thread() if thread else asynchronous())
    finally:
        await note(is_cancelled())


async def _when(event: threading.Event) -> None:
    async with asyncio.timeout(20):
        while not event.is_set():
            await asyncio.sleep(0.001)


async def _stopped(flow: Any, *args: Any) -> tuple[str, Any]:
    """Ask the run to stop while its step executes; how it ends, after a look at its replay."""
    storage = InMemoryStorageBackend()
    task = asyncio.create_task(start(flow, *args, storage=storage))
    await _when(begun)
    (record,) = await storage.list_runs()
    assert await cancel_workflow(record.run_id, "enough", storage=storage)
    await task
    await _when(over)
    history = await log_of(storage, record.run_id)
    assert replay(history) == recorded(history)
    return recorded(history)


def test_a_step_in_a_thread_that_asks_learns_that_it_is_not_wanted_and_why() -> None:
    assert asyncio.run(_stopped(running, True)) == ("cancelled", None)
    assert sorted(seen, key=str) == [True, "enough"]


def test_a_step_that_was_cancelled_cleans_up_in_peace_before_start_returns() -> None:
    assert asyncio.run(_stopped(running, False)) == ("cancelled", None)
    assert sorted(seen, key=str) == [True, True, "cleaned up"]


def test_a_step_that_cleans_up_is_wanted_and_does_not_feel_stopped() -> None:
    @step(name="stopping.cleaning")
    async def cleaning() -> None:
        check_cancellation()
        seen.append(is_cancelled())

    @workflow
    async def tidy() -> None:
        try:
            await asynchronous()
        finally:
            await cleaning()

    assert asyncio.run(_stopped(tidy)) == ("cancelled", None)
    assert False in seen


def test_a_thread_whose_timeout_has_passed_learns_of_it() -> None:
    @step(name="stopping.too_long", max_retries=0, timeout=0.02)
    def too_long() -> None:
        in_a_thread.func()

    @workflow
    async def impatient() -> str:
        try:
            await too_long()
        except StepTimeoutError:
            return "too long"
        return "nothing"

    async def main() -> None:
        storage = InMemoryStorageBackend()
        run_id = await start(impatient, storage=storage)
        assert await resume(run_id, storage=storage) == "too long"
        await _when(over)

    asyncio.run(main())
    assert ["timeout" in reason for reason in seen] == [True]


def test_a_thread_that_lost_a_race_learns_that_nobody_waits() -> None:
    @workflow
    async def racing() -> str:
        slow = asyncio.ensure_future(in_a_thread())
        await note("quick")
        slow.cancel()
        return str(await note("and on"))

    async def main() -> None:
        storage = InMemoryStorageBackend()
        await start(racing, storage=storage)
        await _when(over)

    asyncio.run(main())
    assert "the workflow no longer waits for it" in seen


def test_a_thread_learns_that_its_process_is_being_stopped() -> None:
    @workflow
    async def left() -> None:
        await in_a_thread()

    async def main() -> None:
        storage = InMemoryStorageBackend()
        task = asyncio.create_task(start(left, storage=storage))
        await _when(begun)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await _when(over)
        (record,) = await storage.list_runs()
        assert record.status == "suspended"

    asyncio.run(main())
    assert ["left this process" in reason for reason in seen] == [True]


def test_outside_of_steps_and_workflows_nothing_is_cancelled() -> None:
    check_cancellation()
    assert is_cancelled() is False


def test_a_shielded_workflow_can_look_for_a_request_and_stop_at_a_good_place() -> None:
    @workflow
    async def by_pages(explicitly: bool) -> int:
        async with shield():
            for page in range(10):
                if is_cancelled():
                    if explicitly:
                        check_cancellation()
                    return page
                await note(page)
                await sleep(1)
        return 10

    async def main(explicitly: bool) -> tuple[str, Any]:
        storage, clock = InMemoryStorageBackend(), VirtualClock()
        make_engine(storage, clock)
        run_id = await start(by_pages, explicitly, storage=storage)
        for _ in range(2):
            clock.advance(SECOND)
            await resume(run_id, storage=storage)
        await cancel_workflow(run_id, "enough", storage=storage)
        clock.advance(SECOND)
        await resume(run_id, storage=storage)
        history = await log_of(storage, run_id)
        assert replay(history) == replay(history, one_by_one=True) == recorded(history)
        assert sum(isinstance(e.data, StepCompleted) for e in history) == 3
        return recorded(history)

    assert asyncio.run(main(False)) == ("completed", b"3")
    assert asyncio.run(main(True)) == ("cancelled", None)


@pytest.mark.parametrize("where", ["body", "helper", "shield"])
def test_a_request_in_the_body_of_a_task_group_cancels_the_run_and_does_not_fail_it(where: str) -> None:
    async def helper() -> None:
        await hook("never")

    async def looking() -> None:
        async with shield():
            await sleep(1)
            check_cancellation()

    @workflow
    async def grouping() -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(sleep("1h"))
                await {"body": lambda: hook("never"), "helper": helper, "shield": looking}[where]()
        except asyncio.CancelledError as stopped:
            await note(str(stopped))
            raise

    async def main() -> None:
        storage, clock = InMemoryStorageBackend(), VirtualClock()
        make_engine(storage, clock)
        run_id = await start(grouping, storage=storage)
        await cancel_workflow(run_id, "enough", storage=storage)
        clock.advance(SECOND)
        await resume(run_id, storage=storage)
        history = await log_of(storage, run_id)
        assert replay(history) == recorded(history) == ("cancelled", None)

    asyncio.run(main())
    assert seen == ["enough"]


def test_a_group_that_is_not_a_local_variable_cancels_the_run_all_the_same() -> None:
    class Holder:
        group: asyncio.TaskGroup

    @workflow
    async def hidden() -> None:
        holder = Holder()
        async with asyncio.TaskGroup() as holder.group:
            holder.group.create_task(sleep("1h"))
            await hook("never")

    async def main() -> None:
        storage = InMemoryStorageBackend()
        make_engine(storage, VirtualClock())
        run_id = await start(hidden, storage=storage)
        await cancel_workflow(run_id, storage=storage, wait=True)
        assert (await storage.get(run_id)).status == "cancelled"  # type: ignore[union-attr]

    asyncio.run(main())


def test_clean_up_may_use_timeouts_and_groups_of_its_own() -> None:
    @step(name="stopping.failing", max_retries=0)
    async def failing() -> None:
        raise LookupError("no")

    @workflow
    async def thorough() -> None:
        try:
            await sleep("30d")
        finally:
            try:
                async with asyncio.timeout(5):
                    await hook("a")
            except TimeoutError:
                await note("timeout")
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(failing())
                    await hook("b")
            except* LookupError:
                await note("group")
            try:
                await asyncio.wait_for(hook("c"), 5)
            except TimeoutError:
                await note("wait_for")

    async def main() -> None:
        storage = InMemoryStorageBackend()
        make_engine(storage, VirtualClock(auto=True))
        run_id = await start(thorough, storage=storage)
        assert await cancel_workflow(run_id, storage=storage, wait=True, timeout="1h")
        history = await log_of(storage, run_id)
        assert replay(history) == recorded(history) == ("cancelled", None)

    asyncio.run(main())
    assert seen == ["timeout", "group", "wait_for"]


def test_waiting_for_the_end_takes_as_long_as_was_said_on_the_engines_clock() -> None:
    @workflow
    async def slow_to_go() -> None:
        async with shield():
            await sleep("1h")

    async def main() -> None:
        storage, clock = InMemoryStorageBackend(), VirtualClock(auto=True)
        make_engine(storage, clock)
        run_id = await start(slow_to_go, storage=storage)
        before = clock.now()
        with pytest.raises(ValueError, match="timeout"):
            await cancel_workflow(run_id, storage=storage, timeout="soon")
        assert not (await storage.get(run_id)).detail.cancel_requested  # type: ignore[union-attr]
        with pytest.raises(TimeoutError, match=f"{run_id!r} was asked to stop and did not end within 600 s"):
            await cancel_workflow(run_id, "a", storage=storage, wait=True, timeout="10m")
        assert clock.now() == before + 600 * SECOND
        # Asked once more, it is not asked again, and the first reason stands.
        assert await cancel_workflow(run_id, "b", storage=storage, wait=True, timeout="2h")
        record = await storage.get(run_id)
        assert record is not None
        assert record.status == "completed"
        assert await cancel_workflow(run_id, "c", storage=storage) is False

    asyncio.run(main())
