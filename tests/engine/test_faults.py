"""Faults that an older system had, and that must be impossible here, over each storage at hand."""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pyworkflow import (
    HookAlreadyReceivedError,
    NonDeterminismError,
    WorkflowAlreadyRunningError,
    hook,
    list_workflow_runs,
    open_storage,
    resume,
    resume_hook,
    sleep,
    start,
    step,
    workflow,
)
from pyworkflow.definitions import WorkflowDefinition
from pyworkflow.engine.clock import VirtualClock
from pyworkflow_core.payloads import HookReceived, StepCompleted
from pyworkflow_core.storage import StorageBackend

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from any_storage import STORAGES, namespaces_of
from simulated_runs import LEASE, SECOND, check_log, log_of, make_engine
from storage_wrappers import Killed, KillingStorage, Wrapper

sys.path.pop(0)

Open = Callable[[], StorageBackend]
executed: list[Any] = []


@pytest.fixture(params=STORAGES)
def open_one(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """Opens a handle; each handle sees the same runs."""
    executed.clear()
    with namespaces_of(request.param, request, tmp_path).fresh() as url:
        yield lambda: open_storage(url)


@step(name="faults.charge", max_retries=2, retry_delay=5)
async def charge(amount: Any) -> Any:
    executed.append(amount)
    if isinstance(amount, BaseException):
        raise amount
    return amount


def run(main: Callable[..., Any], open_one: Open, handles: int = 1) -> None:
    """Run `main` with open handles, and close them."""

    async def opened() -> None:
        async with contextlib.AsyncExitStack() as stack:
            await main(*[await stack.enter_async_context(open_one()) for _ in range(handles)])

    asyncio.run(opened())


def test_two_handles_that_drive_and_answer_at_once_never_number_an_event_twice(open_one: Open) -> None:
    @workflow(name="faults.many_hooks")
    async def many() -> Any:
        return await asyncio.gather(*[hook(f"h{n}") for n in range(10)])

    async def main(one: StorageBackend, two: StorageBackend) -> None:
        run_id = await start(many, storage=one)
        answers = [resume_hook(f"{run_id}:h{n}", n, storage=(one, two)[n % 2]) for n in range(10)]
        drives = [resume(run_id, storage=storage) for storage in (one, two)]
        await asyncio.gather(*answers, *drives, return_exceptions=True)
        with contextlib.suppress(WorkflowAlreadyRunningError):
            await resume(run_id, storage=two)
        record = await two.get(run_id)
        assert record is not None
        check_log(await two.read(run_id), record)
        history = await log_of(one, run_id)
        assert sum(isinstance(e.data, HookReceived) for e in history) == 10

    run(main, open_one, 2)


def test_the_same_call_with_the_same_arguments_is_made_as_often_as_it_is_written(open_one: Open) -> None:
    @workflow(name="faults.charges")
    async def charges() -> Any:
        return [await charge(5), await charge(5)]

    async def main(storage: StorageBackend) -> None:
        await start(charges, storage=storage)
        assert executed == [5, 5]

    run(main, open_one)


def test_changed_code_is_never_answered_with_the_results_of_the_old(open_one: Open) -> None:
    def version(amount: int) -> WorkflowDefinition[Any, Any]:
        @workflow(name="faults.versioned")
        async def versioned() -> Any:
            got = await charge(amount)
            await sleep(1)
            return got

        return versioned

    async def main(storage: StorageBackend) -> None:
        clock = VirtualClock()
        make_engine(storage, clock)
        run_id = await start(version(5), storage=storage)
        version(7)
        clock.advance(SECOND)
        with pytest.raises(NonDeterminismError, match="only the arguments"):
            await resume(run_id, storage=storage)
        version(5)
        assert await resume(run_id, storage=storage) == 5

    run(main, open_one)


def test_sleeps_retries_and_timeouts_come_to_their_end_without_a_worker(open_one: Open) -> None:
    @workflow(name="faults.local")
    async def local() -> Any:
        await sleep("1h")
        with contextlib.suppress(ValueError):
            await charge(ValueError("no"))
        with contextlib.suppress(Exception):
            await hook("h", timeout="1d")
        return len(executed)

    async def main(storage: StorageBackend) -> None:
        clock = VirtualClock()
        engine = make_engine(storage, clock)
        run_id = await start(local, storage=storage)
        for _ in range(10):
            record = await storage.get(run_id)
            assert record is not None
            if record.status.is_terminal:
                break
            assert record.wake_at is not None
            clock.move_to(record.wake_at)
            await resume(run_id, storage=engine.storage)
        assert await resume(run_id, storage=storage) == 3

    run(main, open_one)


def test_a_step_whose_process_was_killed_is_taken_up_again(open_one: Open) -> None:
    @workflow(name="faults.killed")
    async def killed() -> Any:
        return await charge(1) + await charge(2)

    async def main(storage: StorageBackend) -> None:
        clock = VirtualClock()
        killing = KillingStorage(storage, 2, acknowledged=True)
        make_engine(killing, clock)
        with pytest.raises(Killed):
            await start(killed, storage=killing)
        make_engine(storage, clock)
        (record,) = await storage.list_runs()
        with pytest.raises(WorkflowAlreadyRunningError):
            await resume(record.run_id, storage=storage)
        clock.advance(LEASE)
        assert await resume(record.run_id, storage=storage) == 3
        assert executed == [1, 2]

    run(main, open_one)


def test_two_that_resume_one_run_execute_its_step_once_and_a_finished_one_not_at_all(open_one: Open) -> None:
    @workflow(name="faults.resumed")
    async def resumed() -> Any:
        await sleep(1)
        return await charge(3)

    async def main(one: StorageBackend, two: StorageBackend) -> None:
        clock = VirtualClock()
        for storage in (one, two):
            make_engine(storage, clock)
        run_id = await start(resumed, storage=one)
        clock.advance(SECOND)
        answers = await asyncio.gather(
            resume(run_id, storage=one), resume(run_id, storage=two), return_exceptions=True
        )
        assert {3, WorkflowAlreadyRunningError} >= {a if a == 3 else type(a) for a in answers}
        assert 3 in answers
        assert await resume(run_id, storage=two) == 3
        assert executed == [3]
        history = await log_of(two, run_id)
        assert sum(isinstance(e.data, StepCompleted) for e in history) == 1

    run(main, open_one, 2)


def test_four_starts_with_one_key_make_one_run_and_of_two_answers_one_counts(open_one: Open) -> None:
    @workflow(name="faults.keyed")
    async def keyed() -> Any:
        await charge(1)
        return await hook("h")

    async def main(one: StorageBackend, two: StorageBackend) -> None:
        starts = [start(keyed, storage=(one, two)[n % 2], idempotency_key="k") for n in range(4)]
        ids = await asyncio.gather(*starts)
        assert len(set(ids)) == 1
        assert executed == [1]
        token = f"{ids[0]}:h"
        answers = await asyncio.gather(
            *[resume_hook(token, n, storage=s) for n, s in enumerate((one, two))], return_exceptions=True
        )
        assert [type(a) for a in answers].count(HookAlreadyReceivedError) == 1

    run(main, open_one, 2)


def test_a_broad_except_around_a_step_or_a_hook_does_not_swallow_a_suspension(open_one: Open) -> None:
    caught: list[BaseException] = []

    @workflow(name="faults.broad")
    async def broad() -> Any:
        for make in (lambda: hook("h"), lambda: sleep(1), lambda: charge(1)):
            try:
                await make()
            except Exception as error:
                caught.append(error)
        return "end"

    async def main(storage: StorageBackend) -> None:
        clock = VirtualClock()
        make_engine(storage, clock)
        run_id = await start(broad, storage=storage)
        await resume_hook(f"{run_id}:h", 1, storage=storage)
        assert await resume(run_id, storage=storage) is None
        clock.advance(SECOND)
        assert await resume(run_id, storage=storage) == "end"
        assert caught == []

    run(main, open_one)


VALUES = [
    (1, (2,)),
    {1: "a", (1, 2): "b"},
    {"$": "error", "type": "os.system"},
    {3, 4},
    b"\xff",
    Decimal("1.10"),
    2**80,
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_value_is_the_same_before_and_after_the_log_and_data_is_never_code(
    open_one: Open, value: Any
) -> None:
    @workflow(name="faults.values")
    async def values(given: Any) -> Any:
        live = await charge(given)
        return [live == given, type(live).__name__, await hook("h"), live]

    async def main(storage: StorageBackend) -> None:
        run_id = await start(values, value, storage=storage)
        await resume_hook(f"{run_id}:h", value, storage=storage)
        assert await resume(run_id, storage=storage) == [True, type(value).__name__, value, value]
        assert executed == [value]

    run(main, open_one)


@pytest.mark.parametrize("name", ["../x", "a/b", "..", "nul\x01", "*", "{key}"])
def test_a_name_is_only_a_name(open_one: Open, name: str, tmp_path: Path) -> None:
    @workflow(name="faults.named")
    async def named() -> Any:
        return await hook(name)

    async def main(storage: StorageBackend) -> None:
        before = {path for path in tmp_path.parent.iterdir() if path != tmp_path}
        run_id = await start(named, storage=storage, idempotency_key=name)
        await resume_hook(f"{run_id}:{name}", "answered", storage=storage)
        assert await resume(run_id, storage=storage) == "answered"
        assert {path for path in tmp_path.parent.iterdir() if path != tmp_path} == before

    run(main, open_one)


def test_every_storage_numbers_from_one_and_lists_every_run(open_one: Open) -> None:
    @workflow(name="faults.listed")
    async def listed(n: int) -> Any:
        return await charge(n)

    async def main(storage: StorageBackend) -> None:
        ids = {await start(listed, n, storage=storage) for n in range(5)}
        for run_id in ids:
            assert [e.sequence for e in await storage.get_events(run_id)] == [1, 2, 3, 4]
        assert {view.run_id for view in await list_workflow_runs(storage=storage)} == ids

    run(main, open_one)


def test_the_bytes_that_an_append_writes_do_not_grow_with_the_log(open_one: Open) -> None:
    class Sizes(Wrapper):
        sizes: list[int]

        async def before(self, appends: Any) -> None:
            self.sizes += [sum(len(e.body) for e in a.events) + len(a.record.rest) for a in appends]

    @workflow(name="faults.long")
    async def long() -> None:
        for _ in range(300):
            await charge(1)

    async def main(storage: StorageBackend) -> None:
        sizes = Sizes(storage)
        sizes.sizes = []
        await start(long, storage=sizes)
        assert len(sizes.sizes) == 301
        assert max(sizes.sizes[200:300]) <= max(sizes.sizes[10:100]) + 10

    run(main, open_one)
