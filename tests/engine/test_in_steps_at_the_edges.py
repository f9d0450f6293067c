"""Steps that record in transactions, at limits, while their worker stops, and after their end."""

from __future__ import annotations

import asyncio
import pathlib
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from pyworkflow import (
    InMemoryStorageBackend,
    StepTransactionError,
    Worker,
    delete_step_checkpoint,
    get_workflow_run,
    heartbeat,
    list_hooks,
    load_step_checkpoint,
    open_storage,
    resume,
    resume_hook,
    save_step_checkpoint,
    save_step_checkpoint_blocking,
    start,
    start_child_workflow,
    step,
    step_hook,
    step_info,
    step_transaction,
    workflow,
)
from pyworkflow.engine.clock import VirtualClock
from pyworkflow.engine.engine import Settings
from pyworkflow_core.errors import LimitExceeded
from pyworkflow_core.payloads import StepCheckpointSaved, StepHeartbeat
from pyworkflow_core.storage import Limits

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from simulated_runs import SECOND, check_log, log_of, make_engine, recorded, replay
from storage_wrappers import Wrapper

sys.path.pop(0)


async def _kinds(storage: Any, run_id: str) -> list[type[Any]]:
    """The kinds of events in a log that is sound, and replays where the run has ended."""
    record = await storage.get(run_id)
    check_log(await storage.read(run_id), record)
    history = await log_of(storage, run_id)
    if record.status.is_terminal:
        assert replay(history, run=record) == recorded(history)
    return [type(envelope.data) for envelope in history]


def test_in_its_transaction_a_step_records_nothing_else_and_is_told_so(tmp_path: Path) -> None:
    @step(name="edges.paying", max_retries=0)
    async def paying() -> Any:
        await save_step_checkpoint("before")
        async with step_transaction():
            heartbeat("within")
            found = [await load_step_checkpoint()]
            for call in (lambda: save_step_checkpoint(1), delete_step_checkpoint, lambda: step_hook("h")):
                with pytest.raises(StepTransactionError) as caught:
                    await call()
                found.append(str(caught.value).partition(" in its")[0])
        return found

    @workflow(name="edges.pay")
    async def pay() -> Any:
        return await paying()

    async def main() -> None:
        async with open_storage(f"sqlite:///{tmp_path}/runs.db") as storage:
            run_id = await start(pay, storage=storage)
            run = await get_workflow_run(run_id, storage)
            assert run is not None
            said = "step 'edges.paying' called {}()"
            names = ("save_step_checkpoint", "delete_step_checkpoint", "step_hook")
            assert run.result == ["before", *(said.format(name) for name in names)]
            assert StepHeartbeat not in await _kinds(storage, run_id)

    asyncio.run(main())


def test_what_is_too_large_is_refused_where_it_is_saved_and_the_run_goes_on() -> None:
    @step(name="edges.large", max_retries=0)
    async def large() -> Any:
        await asyncio.gather(*(save_step_checkpoint("x" * 18_000, name=str(n)) for n in range(5)))
        with pytest.raises(LimitExceeded, match=r"the checkpoint would take 19802 bytes .* takes 20000"):
            await save_step_checkpoint("x" * 19_800, name="0")
        with pytest.raises(LimitExceeded, match="the details would take"):
            heartbeat("x" * 19_800)
        heartbeat("x" * 18_000)
        return [len(await load_step_checkpoint(name=str(n))) for n in range(5)]

    @workflow(name="edges.larger")
    async def larger() -> Any:
        return await asyncio.gather(large(), large())

    async def main() -> None:
        limits = Limits(event_bytes=20_000, append_bytes=30_000, append_events=1000)
        storage = Wrapper(InMemoryStorageBackend(), limits=limits)
        make_engine(storage, VirtualClock())
        run_id = await start(larger, storage=storage)
        assert await resume(run_id, storage=storage) == [[18_000] * 5] * 2
        assert (await _kinds(storage, run_id)).count(StepCheckpointSaved) == 10

    asyncio.run(main())


def test_a_stopping_worker_still_records_checkpoints_and_lets_the_step_end() -> None:
    begun, stopped = asyncio.Event(), asyncio.Event()

    @step(name="edges.finishing")
    async def finishing() -> Any:
        begun.set()
        await stopped.wait()
        for n in range(3):
            await save_step_checkpoint(n)
        return await load_step_checkpoint()

    @workflow(name="edges.finish")
    async def finish() -> Any:
        return [await finishing(), step_info is not None]

    async def main() -> None:
        storage = InMemoryStorageBackend()
        engine = make_engine(storage, VirtualClock())
        run_id = await start(finish, storage=storage, queue="q")
        worker = Worker(engine=engine)
        working = asyncio.create_task(worker.run())
        await begun.wait()
        worker.stop()
        stopped.set()
        await working
        assert (await _kinds(storage, run_id)).count(StepCheckpointSaved) == 3
        assert await resume(run_id, storage=storage) == [2, True]

    asyncio.run(main())


def test_a_stopping_worker_does_not_wait_for_an_answer_and_the_next_one_finds_the_hook() -> None:
    attempts: list[int] = []

    @step(name="edges.waiting", max_retries=0)
    async def waiting() -> Any:
        attempts.append(step_info().attempt)
        return await step_hook("approval")

    @workflow(name="edges.wait")
    async def wait() -> Any:
        return await waiting()

    async def main() -> None:
        storage = InMemoryStorageBackend()
        engine = make_engine(storage, VirtualClock(), settings=Settings(grace=3600 * SECOND))
        run_id = await start(wait, storage=storage, queue="q")
        worker = Worker(engine=engine)
        working = asyncio.create_task(worker.run())
        while not await list_hooks(run_id, storage=storage):
            await asyncio.sleep(0)
        worker.stop()
        await working
        run = await get_workflow_run(run_id, storage)
        assert run is not None
        assert run.status == "suspended"
        (hook,) = await list_hooks(run_id, storage=storage)
        await resume_hook(hook.token, "yes", storage=storage)
        assert await resume(run_id, storage=storage) == "yes"
        assert attempts == [1, 2]
        await _kinds(storage, run_id)

    asyncio.run(main())


def test_what_is_left_behind_by_an_attempt_can_record_nothing() -> None:
    ended: list[BaseException] = []
    go = threading.Event()

    @step(name="edges.leaving", timeout=0.05, max_retries=0)
    def leaving() -> None:
        go.wait()
        try:
            save_step_checkpoint_blocking(1)
        except BaseException as error:
            ended.append(error)
            raise

    @workflow(name="edges.leave")
    async def leave() -> Any:
        try:
            await leaving()
        except TimeoutError:
            return "left"

    async def main() -> None:
        storage = InMemoryStorageBackend()
        make_engine(storage, VirtualClock())
        run_id = await start(leave, storage=storage)
        go.set()
        while not ended:
            await asyncio.sleep(0.001)
        assert StepCheckpointSaved not in await _kinds(storage, run_id)

    asyncio.run(main())
    assert isinstance(ended[0], asyncio.CancelledError)


def test_steps_record_beside_children_hooks_and_cancelled_neighbours() -> None:
    @step(name="edges.slow")
    async def slow() -> None:
        while True:
            await save_step_checkpoint("still there")
            heartbeat("still there")
            await asyncio.sleep(0)

    @workflow(name="edges.child")
    async def child() -> str:
        return "child"

    @step(name="edges.busy")
    async def busy() -> Any:
        await save_step_checkpoint("mine")
        return [await start_child_workflow(child), await load_step_checkpoint()]

    @workflow(name="edges.crowd")
    async def crowd() -> Any:
        neighbour = asyncio.ensure_future(slow())
        found = await asyncio.gather(busy(), busy())
        neighbour.cancel()
        return found

    async def main() -> None:
        storage = InMemoryStorageBackend()
        make_engine(storage, VirtualClock())
        run_id = await start(crowd, storage=storage)
        assert await resume(run_id, storage=storage) == [["child", "mine"]] * 2
        await _kinds(storage, run_id)

    asyncio.run(main())
