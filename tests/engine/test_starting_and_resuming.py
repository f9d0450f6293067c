"""`start` and `resume`: what they answer, raise, refuse, and how runs are taken up after a crash."""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import sys
from typing import Any

import pytest

from pyworkflow import (
    IdempotencyConflictError,
    InMemoryStorageBackend,
    StepNotAwaitedError,
    StepOutsideWorkflowError,
    UnserializableValueError,
    WorkflowAlreadyRunningError,
    WorkflowInterruptedError,
    WorkflowNotFoundError,
    WorkflowStalledError,
    WorkflowTimeoutError,
    get_workflow_run,
    hook,
    resume,
    sleep,
    start,
    step,
    workflow,
)
from pyworkflow.engine.clock import VirtualClock
from pyworkflow_core.payloads import RunRecovered, StepStarted, WorkflowInterrupted
from pyworkflow_core.storage import Limits

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from simulated_runs import LEASE, SECOND, check_log, finish, log_of, make_engine, recorded, replay
from storage_wrappers import NOISE, DisturbedStorage, Killed, KillingStorage, Wrapper, append_from_outside

sys.path.pop(0)

executed: list[Any] = []


@pytest.fixture(autouse=True)
def _nothing_executed() -> None:
    executed.clear()


@step(name="starting.work")
async def work(n: int = 0) -> int:
    executed.append(n)
    return n


@workflow(name="starting.sum")
async def total(n: int) -> int:
    return sum([await work(i) for i in range(n)])


@workflow(name="starting.sleeper")
async def sleeper(seconds: int) -> str:
    await work(1)
    await sleep(seconds)
    return "rested"


def test_four_concurrent_starts_with_one_key_make_one_run() -> None:
    async def main() -> None:
        storage = InMemoryStorageBackend()
        ids = await asyncio.gather(*[start(total, 3, storage=storage, idempotency_key="k") for _ in range(4)])
        assert len(set(ids)) == 1
        assert executed == [0, 1, 2]
        with pytest.raises(IdempotencyConflictError) as caught:
            await start(total, 4, storage=storage, idempotency_key="k")
        assert caught.value.run_id == ids[0]
        with pytest.raises(IdempotencyConflictError, match=r"starting\.sum"):
            await start(sleeper, 3, storage=storage, idempotency_key="k")

    asyncio.run(main())


def test_resuming_answers_by_what_the_run_is_doing() -> None:
    async def main() -> None:
        storage, clock = InMemoryStorageBackend(), VirtualClock()
        make_engine(storage, clock)
        run_id = await start(sleeper, 60, storage=storage)
        assert await resume(run_id, storage=storage) is None
        assert len(await log_of(storage, run_id)) == 5, "a run that is not due is left alone"
        clock.advance(60 * SECOND)
        (claim,) = await storage.claim(owner="elsewhere", now=clock.now(), lease=LEASE, run_id=run_id)
        with pytest.raises(WorkflowAlreadyRunningError, match="held by another process"):
            await resume(run_id, storage=storage)
        await storage.release(claim)
        assert await resume(run_id, storage=storage) == "rested"
        assert await resume(run_id, storage=storage) == "rested"
        assert executed == [1]
        with pytest.raises(WorkflowNotFoundError):
            await resume("run_unknown", storage=storage)

    asyncio.run(main())


def test_a_failed_run_raises_what_it_raised_whenever_it_is_resumed() -> None:
    @workflow
    async def failing() -> None:
        raise LookupError("lost")

    async def main() -> None:
        storage = InMemoryStorageBackend()
        with pytest.raises(LookupError) as caught:
            await start(failing, storage=storage, idempotency_key="k")
        (record,) = await storage.list_runs()
        assert caught.value.__notes__ == [f"pyworkflow run: {record.run_id}"]
        for _ in range(2):
            with pytest.raises(LookupError, match="lost"):
                await resume(record.run_id, storage=storage)

    asyncio.run(main())


@pytest.mark.parametrize(("attempts", "recoverable"), [(3, True), (0, True), (5, False)])
def test_a_run_that_kills_its_processes_is_given_up_after_so_many(attempts: int, recoverable: bool) -> None:
    @step
    async def poison() -> None:
        executed.append("poison")
        raise Killed

    limit = attempts if recoverable else 0

    @workflow(max_recovery_attempts=attempts, recover_on_worker_loss=recoverable)
    async def poisoned() -> Any:
        await work(0)
        return await poison()

    async def main() -> None:
        inner, clock = InMemoryStorageBackend(), VirtualClock(auto=True)
        storage = KillingStorage(inner, 2, acknowledged=True)
        make_engine(storage, clock)
        with contextlib.suppress(Killed):
            await start(poisoned, storage=storage)
        (record,) = await inner.list_runs()
        for n in range(limit):
            clock.advance(LEASE)
            storage = KillingStorage(inner, 1, acknowledged=True)
            make_engine(storage, clock, n)
            with contextlib.suppress(Killed):
                await resume(record.run_id, storage=storage)
        clock.advance(LEASE)
        make_engine(inner, clock)
        with pytest.raises(WorkflowInterruptedError, match=f"taken up {limit} times"):
            await resume(record.run_id, storage=inner)
        history = await log_of(inner, record.run_id)
        counts = [e.data.count for e in history if isinstance(e.data, RunRecovered)]
        assert counts == list(range(1, limit + 1))
        assert isinstance(history[-1].data, WorkflowInterrupted)
        view = await get_workflow_run(record.run_id, storage=inner)
        assert view is not None
        assert view.status == "interrupted"
        assert "poison" not in executed

    asyncio.run(main())


def test_a_call_that_is_never_awaited_fails_the_run_with_its_place() -> None:
    @workflow
    async def forgetful() -> int:
        work(1)
        return 1

    with pytest.raises(StepNotAwaitedError, match=r"starting\.work.*test_starting_and_resuming\.py:\d+"):
        asyncio.run(start(forgetful, storage=InMemoryStorageBackend()))
    assert executed == []


def test_steps_sleeps_hooks_and_workflows_are_refused_outside() -> None:
    for call in (lambda: work(1), lambda: sleep(1), lambda: hook("h"), lambda: total(1)):
        with pytest.raises(StepOutsideWorkflowError):
            call()

    @step(max_retries=0)
    async def nested() -> Any:
        return await work(1)

    @workflow
    async def flow() -> Any:
        return await nested()

    with pytest.raises(StepOutsideWorkflowError):
        asyncio.run(start(flow, storage=InMemoryStorageBackend()))


def test_wrong_arguments_are_refused_before_anything_is_recorded() -> None:
    async def main() -> None:
        storage = InMemoryStorageBackend()
        with pytest.raises(TypeError, match=r"starting\.sum.*takes total\(n: 'int'\)"):
            await start(total, storage=storage)
        with pytest.raises(UnserializableValueError):
            await start(total, object(), storage=storage)
        assert await storage.list_runs() == []

        @workflow
        async def wrong() -> None:
            await work(1, 2, 3)

        with pytest.raises(TypeError, match=r"starting\.work"):
            await start(wrong, storage=storage)

    asyncio.run(main())
    assert executed == []


def test_a_workflow_that_waits_for_nothing_that_could_come_fails_at_once() -> None:
    @workflow(name="starting.stalled")
    async def stalled() -> None:
        await work(1)
        await asyncio.Event().wait()

    async def main() -> None:
        storage = InMemoryStorageBackend()
        with pytest.raises(WorkflowStalledError, match="nothing will ever bring"):
            await start(stalled, storage=storage)
        (record,) = await storage.list_runs()
        from simulated_runs import machine_of

        from pyworkflow_core.events import decode_bodies

        machine = machine_of("r", stalled)
        machine.feed(decode_bodies([e.body for e in await storage.read(record.run_id)]))
        assert machine.ended is not None
        machine.evict()

    asyncio.run(main())


def test_a_run_ends_when_its_longest_duration_has_passed() -> None:
    @workflow(max_duration="10s")
    async def endless() -> None:
        try:
            while True:
                await sleep(3)
        finally:
            await work(99)

    async def main() -> None:
        storage = InMemoryStorageBackend()
        make_engine(storage, VirtualClock(auto=True))
        with pytest.raises(WorkflowTimeoutError, match="max_duration of 10 s"):
            await start(endless, storage=storage, wait=True)
        (record,) = await storage.list_runs()
        assert record.updated_at - record.created_at == 10 * SECOND
        assert executed == [99]
        history = await log_of(storage, record.run_id)
        assert replay(history)[0] == "cancelled"

    asyncio.run(main())


@pytest.mark.parametrize("crash", [0, 5, 20, 31, 33, 60])
def test_a_fan_out_far_over_the_storages_limits_completes_and_survives_a_crash(crash: int) -> None:
    @workflow(max_recovery_attempts=9, name="starting.fan_out")
    async def fan_out() -> int:
        return sum(await asyncio.gather(*[work(i) for i in range(3000)]))

    async def main() -> None:
        inner, clock = InMemoryStorageBackend(), VirtualClock(auto=True)
        small = Wrapper(inner, limits=Limits(append_events=100))
        killing: Wrapper = KillingStorage(small, crash, acknowledged=True) if crash else small
        killing.limits = small.limits
        make_engine(killing, clock)
        with contextlib.suppress(Killed):
            await start(fan_out, storage=killing)
        (record,) = await inner.list_runs()
        record = await finish(make_engine(small, clock, 2), clock, record.run_id)
        check_log(await inner.read(record.run_id), record)
        history = await log_of(inner, record.run_id)
        assert recorded(history) == ("completed", str(sum(range(3000))).encode())
        assert replay(history) == recorded(history)
        started = [e for e in history if isinstance(e.data, StepStarted) and e.data.attempt == 1]
        assert len(started) == 3000

    asyncio.run(main())


def test_the_same_step_with_the_same_arguments_runs_as_often_as_it_is_called() -> None:
    @workflow
    async def polling() -> int:
        tries = 0
        while await work(5) and tries < 4:
            tries += 1
            await sleep(60)
        return tries

    async def main() -> None:
        storage = InMemoryStorageBackend()
        make_engine(storage, VirtualClock(auto=True))
        run_id = await start(polling, storage=storage, wait=True)
        assert await resume(run_id, storage=storage) == 4
        assert executed == [5] * 5

    asyncio.run(main())


def test_a_run_that_meets_a_conflict_at_every_append_for_a_while_gets_through() -> None:
    async def main() -> None:
        inner, clock = InMemoryStorageBackend(), VirtualClock(auto=True)

        async def noise(run_id: str) -> None:
            await append_from_outside(inner, run_id, NOISE, engine.ids, clock.now())

        storage = DisturbedStorage(inner, noise, lambda n: 1 < n < 60)
        engine = make_engine(storage, clock)
        run_id = await start(total, 10, storage=storage)
        assert await resume(run_id, storage=storage) == 45
        assert executed == list(range(10)), "results were kept across conflicts"
        check_log(await inner.read(run_id), await inner.get(run_id))  # type: ignore[arg-type]
        assert storage.commits < 150

    asyncio.run(main())


def test_a_retry_that_meets_two_conflicts_in_a_row_is_executed() -> None:
    @step(max_retries=1, retry_delay=5)
    async def flaky() -> int:
        executed.append(1)
        if len(executed) == 1:
            raise ValueError("once")
        return 7

    @workflow(name="starting.flaky")
    async def flow() -> int:
        return await flaky()

    clock = VirtualClock()
    engine: Any = None

    class Intruder(Wrapper):
        left = 2

        async def before(self, appends: Any) -> None:
            attempts = [e.payload for a in appends for e in a.events if isinstance(e.payload, StepStarted)]
            if self.left and any(attempt.attempt == 2 for attempt in attempts):
                self.left -= 1
                await append_from_outside(self.inner, appends[0].run_id, NOISE, engine.ids, clock.now())

    async def main() -> None:
        nonlocal engine
        storage = Intruder(InMemoryStorageBackend())
        engine = make_engine(storage, clock)
        run_id = await start(flow, storage=storage)
        clock.move_to(clock.now() + 5 * SECOND)
        await resume(run_id, storage=storage)
        assert (storage.left, len(executed)) == (0, 2)
        assert await resume(run_id, storage=storage) == 7

    asyncio.run(main())


def test_a_step_in_flight_when_ctrl_c_comes_is_tried_again_and_finished_ones_are_not() -> None:
    hang = True

    @step
    async def hanging() -> str:
        executed.append("hanging")
        if hang:
            await asyncio.Event().wait()
        return "now"

    @workflow
    async def flow() -> Any:
        return await asyncio.gather(work(1), hanging(), work(2))

    async def main() -> None:
        nonlocal hang
        storage = InMemoryStorageBackend()
        task = asyncio.create_task(start(flow, storage=storage))
        while len(executed) < 3:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        (record,) = await storage.list_runs()
        assert record.status == "suspended"
        hang = False
        assert await resume(record.run_id, storage=storage) == [1, "now", 2]
        assert sorted(executed, key=str) == [1, 2, "hanging", "hanging"]

    asyncio.run(main())
