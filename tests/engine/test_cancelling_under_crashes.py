"""A run that is asked to stop, and killed at every append: it stops as if nothing had happened."""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import sys
from typing import Any

import pytest

from pyworkflow import (
    InMemoryStorageBackend,
    RetryableError,
    cancel_workflow,
    hook,
    shield,
    sleep,
    start,
    start_child_workflow,
    step,
    workflow,
)
from pyworkflow.definitions import WorkflowDefinition
from pyworkflow.engine.clock import VirtualClock
from pyworkflow.engine.engine import Engine, Settings
from pyworkflow_core.ids import derive_run_id
from pyworkflow_core.payloads import CancellationRequested, StepCompleted
from pyworkflow_core.storage import StorageBackend

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from families import outcomes, work_off
from simulated_runs import log_of, make_engine
from storage_wrappers import NOISE, DisturbedStorage, Killed, KillingStorage, Wrapper, append_from_outside

sys.path.pop(0)

RUN = derive_run_id("key", "program")
QUICK = Settings(poll=10_000)


@step(name="stop.note", max_retries=0)
async def note(what: str) -> str:
    return what


@step(name="stop.hang")
async def hang() -> None:
    await asyncio.Event().wait()


@step(name="stop.again", retry_delay="1h")
async def again() -> None:
    raise RetryableError("not yet")


@workflow(name="stop.child", max_recovery_attempts=1000)
async def child() -> None:
    try:
        await sleep("1h")
    finally:
        await note("child cleaned")


async def _grouping() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(sleep("1h"))
        await hang()


async def _shielding() -> None:
    async with shield():
        await sleep(5)
    await note("saved")  # never: the request comes first


async def _racing() -> None:
    await asyncio.wait([asyncio.ensure_future(hang()), asyncio.ensure_future(hook("h"))])


WAITS: dict[str, Any] = {
    "a step": hang,
    "a sleep": lambda: sleep("1h"),
    "a retry": again,
    "a hook": lambda: hook("h"),
    "a child": lambda: start_child_workflow(child),
    "a group": _grouping,
    "a shield": _shielding,
    "a race": _racing,
}


@workflow(name="stop.waiting", max_recovery_attempts=1000)
async def waiting(where: str) -> None:
    await note("reached")
    try:
        await WAITS[where]()
    finally:
        await note("first")
        await sleep("1m")
        await asyncio.gather(note("second"), note("third"))


async def _ask(storage: StorageBackend) -> bool:
    """Ask the run to stop if it is where it waits."""
    if any(isinstance(e.data, StepCompleted) for e in await log_of(storage, RUN)):
        await cancel_workflow(RUN, "enough", storage=storage)
        return True
    return False


async def _keep_asking(storage: StorageBackend) -> None:
    while not await _ask(storage):
        await asyncio.sleep(0)


async def _until_it_ended(storage: StorageBackend, engine: Engine, where: str, asker: StorageBackend) -> None:
    """What a process does from its start on, while another, or the same one, asks the run to stop."""
    flow: WorkflowDefinition[Any, Any] = waiting
    asking = asyncio.create_task(_keep_asking(asker))
    driving = asyncio.create_task(start(flow, where, storage=storage, idempotency_key="program"))

    async def going_on() -> None:
        await driving
        await work_off(engine, engine.clock, act=lambda: _ask(asker))  # type: ignore[arg-type]

    tasks = [asking, driving, asyncio.create_task(going_on())]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    for task in tasks:
        task.cancel()  # the death of one is that of the process
    for ended in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(ended, BaseException) and not isinstance(ended, asyncio.CancelledError):
            raise ended


async def _completed(storage: StorageBackend) -> list[str]:
    history = await log_of(storage, RUN)
    assert sum(isinstance(e.data, CancellationRequested) for e in history) == 1
    return [bytes(e.data.result).decode() for e in history if isinstance(e.data, StepCompleted)]


async def _calm(where: str, *, elsewhere: bool = False) -> tuple[list[str], list[str], int]:
    clock = VirtualClock(auto=True)
    storage = InMemoryStorageBackend()
    wrapper = Wrapper(storage)
    if elsewhere:
        make_engine(storage, clock, 9)
    engine = make_engine(wrapper, clock, 1, QUICK)
    await _until_it_ended(wrapper, engine, where, storage if elsewhere else wrapper)
    return await outcomes(storage), await _completed(storage), wrapper.commits


@pytest.mark.parametrize("where", WAITS)
def test_a_run_is_asked_to_stop_by_its_own_process_or_another_and_cleans_up(where: str) -> None:
    ends, notes, _ = asyncio.run(_calm(where))
    assert sum('"cancelled"' in end for end in ends) == len(ends) == (2 if where == "a child" else 1)
    assert notes[:2] == ['"reached"', '"first"']
    assert sorted(notes[2:]) == ['"second"', '"third"']
    assert asyncio.run(_calm(where, elsewhere=True))[:2] == (ends, notes)


@pytest.mark.parametrize("where", WAITS)
def test_a_run_killed_at_any_append_of_its_life_stops_as_if_nothing_had_happened(where: str) -> None:
    async def main() -> None:
        ends, notes, commits = await _calm(where)
        for n in range(1, commits + 1):
            for acknowledged in (False, True):
                clock = VirtualClock(auto=True)
                storage = InMemoryStorageBackend()
                killing = KillingStorage(storage, n, acknowledged=acknowledged)
                engine = make_engine(killing, clock, 3, QUICK)
                with contextlib.suppress(Killed):
                    await _until_it_ended(killing, engine, where, killing)
                engine = make_engine(storage, clock, 4, QUICK)
                await _until_it_ended(storage, engine, where, storage)
                assert await outcomes(storage) == ends, (n, acknowledged)
                assert sorted(await _completed(storage)) == sorted(notes), (n, acknowledged)

    asyncio.run(main())


@pytest.mark.parametrize("where", WAITS)
def test_a_request_that_meets_conflicts_is_made_once_and_stops_the_run(where: str) -> None:
    async def main() -> None:
        ends, notes, commits = await _calm(where)
        for n in range(2, commits + 1):
            clock = VirtualClock(auto=True)
            storage = InMemoryStorageBackend()
            outsider = make_engine(storage, clock, 5)

            async def noise(run_id: str, outsider: Engine = outsider) -> None:
                await append_from_outside(outsider.storage, run_id, NOISE, outsider.ids, outsider.clock.now())

            disturbed = DisturbedStorage(storage, noise, lambda k, n=n: k == n)  # type: ignore[misc]
            engine = make_engine(disturbed, clock, 3, QUICK)
            await _until_it_ended(disturbed, engine, where, disturbed)
            assert await outcomes(storage) == ends, n
            assert sorted(await _completed(storage)) == sorted(notes), n

    asyncio.run(main())


def test_a_run_that_nobody_began_is_cancelled_whole_whenever_the_asking_process_dies() -> None:
    async def main() -> None:
        for n in (1, 2):
            for acknowledged in (False, True):
                storage = InMemoryStorageBackend()
                killing = KillingStorage(storage, n, acknowledged=acknowledged)
                for place in (killing, storage):
                    engine = make_engine(place, VirtualClock(), n)
                    with contextlib.suppress(Killed):
                        await start(waiting, "a step", storage=place, idempotency_key="program", queue="q")
                        await cancel_workflow(RUN, "never mind", storage=place)
                assert engine.storage is storage
                assert ['"cancelled"' in end for end in await outcomes(storage)] == [True]
                assert await _completed(storage) == []

    asyncio.run(main())
