"""A cancellation request: where it arrives, what clean-up may do, and how the run ends."""

from __future__ import annotations

import asyncio
import pathlib
import sys
from collections.abc import Callable
from typing import Any

import pytest

from pyworkflow import (
    CancellationError,
    InMemoryStorageBackend,
    Worker,
    WorkflowNotFoundError,
    cancel_workflow,
    hook,
    resume,
    shield,
    sleep,
    start,
    step,
    workflow,
)
from pyworkflow.definitions import _workflows
from pyworkflow.engine.clock import VirtualClock
from pyworkflow_core.payloads import CancellationRequested

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from simulated_runs import LEASE, SECOND, check_log, log_of, make_engine, recorded, replay
from storage_wrappers import Killed, KillingStorage

sys.path.pop(0)

seen: list[Any] = []


@pytest.fixture(autouse=True)
def _nothing_seen() -> None:
    seen.clear()


@step(name="cancelling.note")
async def note(what: str) -> str:
    seen.append(what)
    return what


@step(name="cancelling.hang")
async def hang() -> None:
    seen.append("hanging")
    try:
        await asyncio.Event().wait()
    finally:
        seen.append("stopped")


async def _gathering() -> None:
    await asyncio.gather(hang(), sleep("1h"))


async def _grouping() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(sleep("1h"))
        group.create_task(hook("h"))


async def _within_a_timeout() -> None:
    async with asyncio.timeout(3600):
        await sleep("2h")


WAITS: dict[str, Callable[[], Any]] = {
    "a step": hang,
    "a sleep": lambda: sleep("1h"),
    "an asyncio.sleep": lambda: asyncio.sleep(3600),
    "a hook": lambda: hook("h"),
    "a gather": _gathering,
    "a group": _grouping,
    "a timeout": _within_a_timeout,
    "a wait_for": lambda: asyncio.wait_for(sleep("2h"), 3600),
    "a shield": lambda: asyncio.shield(asyncio.ensure_future(sleep("1h"))),
    "a task": lambda: asyncio.create_task(_within_a_timeout()),
}
AT_A_PYWORKFLOW_AWAIT = {"a step", "a sleep", "a hook", "a timeout"}


@workflow(name="cancelling.waiting")
async def waiting(where: str) -> None:
    try:
        await WAITS[where]()
    except asyncio.CancelledError as error:
        kind = "CancellationError" if isinstance(error, CancellationError) else "CancelledError"
        await note(f"{kind} {getattr(error, 'reason', '')}".strip())
        await asyncio.gather(note("clean"), note("up"))
        raise


async def _cancel_while_it_waits(flow: Any, *args: Any, times: int = 1) -> tuple[Any, str]:
    storage, clock = InMemoryStorageBackend(), VirtualClock()
    make_engine(storage, clock)
    task = asyncio.create_task(start(flow, *args, storage=storage))
    while not await storage.list_runs():
        await asyncio.sleep(0)
    (record,) = await storage.list_runs()
    for _ in range(100):
        await asyncio.sleep(0)
    for _ in range(times):
        await cancel_workflow(record.run_id, "enough", storage=storage)
    await task
    await resume(record.run_id, storage=storage)
    found = await storage.get(record.run_id)
    assert found is not None
    history = await log_of(storage, record.run_id)
    check_log(await storage.read(record.run_id), found)
    assert replay(history) == recorded(history)
    assert sum(isinstance(e.data, CancellationRequested) for e in history) == 1
    return found, storage  # type: ignore[return-value]


@pytest.mark.parametrize("where", WAITS)
def test_a_request_reaches_the_code_wherever_it_waits_and_clean_up_runs(where: str) -> None:
    record, _ = asyncio.run(_cancel_while_it_waits(waiting, where, times=2))
    assert record.status == "cancelled"
    notes = [what for what in seen if what not in {"hanging", "stopped"}]
    if where in AT_A_PYWORKFLOW_AWAIT:
        assert notes == ["CancellationError enough", "clean", "up"]
    else:
        assert notes[1:] == ["clean", "up"]
    assert ("hanging" in seen) == ("stopped" in seen)


def test_a_request_waits_until_the_shielded_part_is_done() -> None:
    @workflow
    async def flow() -> None:
        async with shield():
            async with shield():
                await sleep(10)
            await note("saved")
        await note("never")

    async def main() -> None:
        storage, clock = InMemoryStorageBackend(), VirtualClock()
        make_engine(storage, clock)
        run_id = await start(flow, storage=storage)
        assert await cancel_workflow(run_id, storage=storage)
        await resume(run_id, storage=storage)
        assert (await storage.get(run_id)).status == "suspended"  # type: ignore[union-attr]
        clock.advance(10 * SECOND)
        await resume(run_id, storage=storage)
        assert (await storage.get(run_id)).status == "cancelled"  # type: ignore[union-attr]
        assert seen == ["saved"]
        history = await log_of(storage, run_id)
        assert replay(history) == recorded(history)

    asyncio.run(main())


def test_a_request_that_is_swallowed_lets_the_run_complete() -> None:
    @workflow
    async def stubborn() -> str:
        try:
            await sleep("1h")
        except CancellationError:
            await note("no")
        return await note("done")

    record, _ = asyncio.run(_cancel_while_it_waits(stubborn))
    assert record.status == "completed"
    assert seen == ["no", "done"]


def test_a_broad_except_does_not_swallow_a_request() -> None:
    @workflow
    async def broad() -> None:
        for _ in range(100):
            try:
                await sleep("1h")
            except Exception:
                await note("swallowed")

    assert asyncio.run(_cancel_while_it_waits(broad))[0].status == "cancelled"
    assert seen == []


def test_clean_up_that_fails_makes_the_run_a_failed_one() -> None:
    @workflow
    async def clumsy() -> None:
        try:
            await sleep("1h")
        finally:
            raise LookupError("clumsy")

    async def main() -> None:
        storage = InMemoryStorageBackend()
        make_engine(storage, VirtualClock(auto=True))
        run_id = await start(clumsy, storage=storage)
        assert await cancel_workflow(run_id, storage=storage, wait=True)
        assert (await storage.get(run_id)).status == "failed"  # type: ignore[union-attr]

    asyncio.run(main())


def test_a_run_that_was_not_begun_ends_at_once_and_never_runs() -> None:
    async def main() -> None:
        storage, clock = InMemoryStorageBackend(), VirtualClock()
        make_engine(storage, clock)
        run_id = await start(waiting, "a step", storage=storage, queue="q")
        assert await cancel_workflow(run_id, "never mind", storage=storage)
        assert (await storage.get(run_id)).status == "cancelled"  # type: ignore[union-attr]
        assert await resume(run_id, storage=storage) is None
        assert await cancel_workflow(run_id, storage=storage) is False
        assert seen == []

    asyncio.run(main())


def test_a_request_between_a_claim_and_its_first_append_ends_the_run() -> None:
    async def main() -> None:
        from pyworkflow.engine.control import drive_for
        from pyworkflow.engine.drive import RunLost

        storage, clock = InMemoryStorageBackend(), VirtualClock()
        engine = make_engine(storage, clock)
        run_id = await start(waiting, "a step", storage=storage, queue="q")
        (claim,) = await storage.claim(owner="w", now=clock.now(), lease=30 * SECOND, run_id=run_id)
        await cancel_workflow(run_id, storage=storage)
        with pytest.raises(RunLost):
            await (await drive_for(engine, claim)).run()
        record = await storage.get(run_id)
        assert record is not None
        assert record.status == "cancelled"
        check_log(await storage.read(run_id), record)
        assert seen == []

    asyncio.run(main())


def test_cancelling_waits_in_time_or_says_that_it_did_not() -> None:
    @workflow
    async def shielded() -> None:
        async with shield():
            await hook("never")

    async def main() -> None:
        storage = InMemoryStorageBackend()
        with pytest.raises(WorkflowNotFoundError):
            await cancel_workflow("run_unknown", storage=storage)
        run_id = await start(shielded, storage=storage)
        with pytest.raises(TimeoutError):
            await cancel_workflow(run_id, storage=storage, wait=True, timeout=0.05)
        assert (await storage.get(run_id)).detail.cancel_requested  # type: ignore[union-attr]

    asyncio.run(main())


def test_a_plain_cancel_of_a_task_is_no_cancellation_request() -> None:
    @workflow
    async def flow() -> str:
        task = asyncio.ensure_future(sleep("1h"))
        worked = asyncio.create_task(_waiting_for(task))
        await note("begun")
        task.cancel()
        return await worked

    async def _waiting_for(task: Any) -> str:
        try:
            await task
        except asyncio.CancelledError as error:
            return type(error).__name__
        return "nothing"

    async def main() -> None:
        storage = InMemoryStorageBackend()
        run_id = await start(flow, storage=storage)
        assert await resume(run_id, storage=storage) == "CancelledError"

    asyncio.run(main())


def test_waiting_for_a_cancelled_run_whose_code_is_elsewhere_leaves_it_to_the_others() -> None:
    @workflow(name="cancelling.elsewhere")
    async def elsewhere() -> None:
        await sleep("1d")

    async def main() -> None:
        storage = InMemoryStorageBackend()
        run_id = await start(elsewhere, storage=storage)
        definition = _workflows.pop("cancelling.elsewhere")
        with pytest.raises(TimeoutError):
            await cancel_workflow(run_id, wait=True, timeout=0.05, storage=storage)
        _workflows["cancelling.elsewhere"] = definition
        await Worker(storage, once=True).run()
        record = await storage.get(run_id)
        assert record is not None
        assert record.status == "cancelled"

    asyncio.run(main())


def test_a_request_to_a_run_whose_process_died_in_a_step_ends_it_without_that_step() -> None:
    @workflow(name="cancelling.died_in_a_step")
    async def died() -> str:
        return await note("a step")

    async def main() -> None:
        storage, clock = InMemoryStorageBackend(), VirtualClock()
        killing = KillingStorage(storage, 2, acknowledged=False)
        make_engine(killing, clock)
        with pytest.raises(Killed):
            await start(died, storage=killing)
        make_engine(storage, clock)
        (record,) = await storage.list_runs()
        await cancel_workflow(record.run_id, "enough", storage=storage)
        clock.advance(LEASE)
        await resume(record.run_id, storage=storage)
        history = await log_of(storage, record.run_id)
        assert recorded(history) == replay(history) == ("cancelled", None)
        assert seen == ["a step"]

    asyncio.run(main())
