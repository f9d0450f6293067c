"""Schedulers that die between due and fire, at every append: nothing is lost and nothing doubled."""

from __future__ import annotations

import asyncio
import pathlib
import sys
from typing import Any

import pytest

from pyworkflow import (
    InMemoryStorageBackend,
    OverlapPolicy,
    ScheduleSpec,
    create_schedule,
    get_schedule,
)
from pyworkflow.engine.clock import VirtualClock
from pyworkflow.engine.engine import Engine
from pyworkflow_core.events import from_micros
from pyworkflow_core.payloads import ChildWorkflowStarted
from pyworkflow_core.storage import StorageBackend

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from schedules_at_work import MINUTE, SECOND, check_schedule_logs, due_of, log_of, runs_of, slow, work_until
from simulated_runs import make_engine
from storage_wrappers import NOISE, DisturbedStorage, Killed, KillingStorage, Wrapper, append_from_outside

sys.path.pop(0)

START = 1_700_000_000 * SECOND
SPEC = ScheduleSpec(interval="1m", catch_up="1d", end_at=from_micros(START + 4 * MINUTE))
each_policy = pytest.mark.parametrize("policy", OverlapPolicy)


async def drive(storage: StorageBackend, policy: OverlapPolicy, seed: int, *, began: int = START) -> Any:
    """Create the schedule if it is not there, drive it until all has ended, and say what it did."""
    clock = VirtualClock(began)
    engine = make_engine(storage, clock, seed)
    if await get_schedule("s", storage) is None:
        await create_schedule(slow, SPEC, 90, overlap_policy=policy, schedule_id="s", storage=storage)
    await work_until(engine, clock, START + 30 * MINUTE)
    await check_schedule_logs(storage)
    started = []
    for record in await storage.list_runs(limit=1000):
        history = [envelope.data for envelope in await log_of(storage, record.run_id)]
        started += [data.run_id for data in history if isinstance(data, ChildWorkflowStarted)]
    assert len(set(started)) == len(started), "a firing was recorded twice"
    assert sorted(started) == sorted(r.run_id for r in await runs_of(storage, "s"))
    schedule = await get_schedule("s", storage)
    assert schedule is not None
    assert (schedule.running_run_ids, schedule.buffered_count, schedule.missed_runs) == ((), 0, 0)
    assert schedule.successful_runs + schedule.cancelled_runs == schedule.total_runs == len(started)
    return [(due - START) // MINUTE for due in await due_of(storage, "s")], schedule.skipped_runs


@each_policy
def test_a_scheduler_that_is_killed_at_any_append_loses_and_doubles_nothing(policy: OverlapPolicy) -> None:
    async def main() -> None:
        calm = Wrapper(InMemoryStorageBackend())
        expected = await drive(calm, policy, 1)
        commits = calm.commits
        for n in range(1, commits + 1):
            for acknowledged in (False, True):
                storage = InMemoryStorageBackend()
                killing = KillingStorage(storage, n, acknowledged=acknowledged)
                clock = START
                try:
                    await drive(killing, policy, 2)
                except Killed:
                    records = await storage.list_runs(limit=1000)
                    clock = max([r.updated_at for r in records], default=START)
                fired, skipped = await drive(storage, policy, 3, began=clock)
                if policy in {OverlapPolicy.ALLOW_ALL, OverlapPolicy.BUFFER_ALL}:
                    assert (fired, skipped) == expected, (n, acknowledged)
                # The lease of the dead delays what comes next, and so what overlaps what.
                assert fired == sorted(set(fired)), (n, acknowledged)
                assert len(fired) + skipped == 4, (n, acknowledged)

    asyncio.run(main())


@each_policy
def test_a_schedule_whose_appends_meet_conflicts_fires_as_if_nothing_had_happened(
    policy: OverlapPolicy,
) -> None:
    async def main() -> None:
        calm = Wrapper(InMemoryStorageBackend())
        expected = await drive(calm, policy, 1)
        commits = calm.commits
        patterns = [lambda k, n=n: k == n for n in range(2, commits + 1)]
        patterns += [lambda k: k % 2 == 0 and k < 40, lambda k: k < 12]
        for when in patterns:
            storage = InMemoryStorageBackend()
            outsider = make_engine(storage, VirtualClock(START), 5)

            async def noise(run_id: str, outsider: Engine = outsider) -> None:
                await append_from_outside(outsider.storage, run_id, NOISE, outsider.ids, outsider.clock.now())

            assert await drive(DisturbedStorage(storage, noise, when), policy, 3) == expected

    asyncio.run(main())
