"""Retried runs whose processes die at any append: the outcome is that of a calm operator."""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import sys
from typing import Any

import pytest

from pyworkflow import InMemoryStorageBackend, RetryRefusedError, get_workflow_run, retry_workflow, start
from pyworkflow.engine.clock import VirtualClock
from pyworkflow.engine.engine import Engine
from pyworkflow_core.storage import StorageBackend

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from breakable import check_logs
from families import take_up_due
from feature_programs.verbs import PROGRAMS, failing
from simulated_runs import LEASE, make_engine
from storage_wrappers import NOISE, DisturbedStorage, Killed, KillingStorage, Wrapper, append_from_outside

sys.path.pop(0)

(PROGRAM,) = PROGRAMS


async def operate(storage: StorageBackend, engine: Engine, clock: VirtualClock) -> tuple[Any, Any]:
    """Start the program, be its outside world, and drive whatever is due until it has ended."""
    run_id = await start(PROGRAM.workflow, storage=storage, idempotency_key="program", queue="default")
    for _ in range(1000):
        run = await get_workflow_run(run_id, storage)
        assert run is not None
        if run.status.is_terminal:
            return run.status, run.result
        assert PROGRAM.act is not None
        await PROGRAM.act(storage, run_id)
        if not await take_up_due(engine):
            wakes = [r.wake_at for r in await storage.list_runs() if r.wake_at is not None]
            later = [wake for wake in wakes if wake > clock.now()]
            clock.move_to(min(later) if later else clock.now() + LEASE)
    raise AssertionError("not ended after 1000 rounds")


async def calm() -> int:
    clock = VirtualClock(auto=True)
    storage = Wrapper(InMemoryStorageBackend())
    assert await operate(storage, make_engine(storage, clock, 1), clock) == PROGRAM.outcome
    await check_logs(storage)
    reopened = [record.detail.reopened for record in await storage.list_runs()]
    assert sorted(reopened) == [0, 1, 1, 1, 1, 2], "the family twice, the first time with both children"
    return storage.commits


@pytest.mark.parametrize("acknowledged", [False, True], ids=["before", "after"])
def test_operated_runs_that_are_killed_at_any_append_end_as_if_nothing_had_happened(
    acknowledged: bool,
) -> None:
    async def main() -> None:
        for n in range(1, await calm() + 1):
            clock = VirtualClock(auto=True)
            storage = InMemoryStorageBackend()
            killing = KillingStorage(storage, n, acknowledged=acknowledged)
            with contextlib.suppress(Killed):
                await operate(killing, make_engine(killing, clock, 3), clock)
            engine = make_engine(storage, clock, 4)
            assert await operate(storage, engine, clock) == PROGRAM.outcome, n
            await check_logs(storage)

    asyncio.run(main())


def test_operated_runs_whose_appends_meet_conflicts_end_as_if_nothing_had_happened() -> None:
    async def main() -> None:
        patterns = [lambda k, n=n: k == n for n in range(2, await calm() + 1)]
        patterns += [lambda k: k % 2 == 0 and k < 100, lambda k: k < 12]
        for when in patterns:
            clock = VirtualClock(auto=True)
            storage = InMemoryStorageBackend()
            outsider = make_engine(storage, clock, 5)

            async def noise(run_id: str, outsider: Engine = outsider) -> None:
                await append_from_outside(outsider.storage, run_id, NOISE, outsider.ids, outsider.clock.now())

            disturbed = DisturbedStorage(storage, noise, when)
            assert await operate(disturbed, make_engine(disturbed, clock, 3), clock) == PROGRAM.outcome
            await check_logs(storage)

    asyncio.run(main())


def test_of_two_retries_at_once_one_reopens_the_run() -> None:
    async def main() -> None:
        clock = VirtualClock(auto=True)
        storage = InMemoryStorageBackend()
        engine = make_engine(storage, clock)
        run_id = await start(failing, storage=storage, queue="default")
        await take_up_due(engine)
        tries = [retry_workflow(run_id, storage=storage) for _ in range(5)]
        answers = await asyncio.gather(*tries, return_exceptions=True)
        assert sum(isinstance(answer, RetryRefusedError) for answer in answers) == 4
        events = [event.type for event in await storage.read(run_id)]
        assert events.count("run_reopened") == 1

    asyncio.run(main())


def test_an_append_between_the_look_and_the_retry_is_noticed() -> None:
    async def main() -> None:
        clock = VirtualClock(auto=True)
        storage = InMemoryStorageBackend()
        engine = make_engine(storage, clock)
        run_id = await start(failing, storage=storage, queue="default")
        await take_up_due(engine)

        async def retry_first(_: str) -> None:
            await retry_workflow(run_id, storage=storage)

        disturbed = DisturbedStorage(storage, retry_first, lambda k: k == 1)
        make_engine(disturbed, clock, 7)
        make_engine(storage, clock, 8)
        with pytest.raises(RetryRefusedError, match="is pending"):
            await retry_workflow(run_id, storage=disturbed)

    asyncio.run(main())
