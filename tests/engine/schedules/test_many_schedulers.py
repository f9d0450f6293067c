"""Many schedules that are due in the same second, on several scheduler processes: each fires once.

``PYWORKFLOW_SCHEDULES=1000`` has a thousand of them; by default there are fewer, for the time it takes.
"""

from __future__ import annotations

import asyncio
import os
import pathlib
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pyworkflow import ScheduleSpec, create_schedule, list_schedules, open_storage
from pyworkflow_core.record import RunStatus
from pyworkflow_core.storage import RunQuery, StorageBackend

SCHEDULES = int(os.environ.get("PYWORKFLOW_SCHEDULES", "150"))
PROCESSES = 4
SCRIPT = pathlib.Path(__file__).with_name("scheduler_process.py")


async def create_all(storage: StorageBackend) -> datetime:
    """Create schedules that are due once, all at the same moment, which has not come yet."""
    moment = datetime.now(UTC) + timedelta(seconds=2 + SCHEDULES / 50)
    spec = ScheduleSpec(interval="1h", start_at=moment, end_at=moment)
    for first in range(0, SCHEDULES, 50):
        names = [f"s{n}" for n in range(first, min(first + 50, SCHEDULES))]
        made = await asyncio.gather(
            *(create_schedule("many.job", spec, name, schedule_id=name, storage=storage) for name in names)
        )
        assert all(one.next_run_time == moment for one in made)
    return moment


async def completed(storage: StorageBackend) -> list[str]:
    """For which schedule each run was started that has completed."""
    query = RunQuery(workflow="many.job", status=frozenset({RunStatus.COMPLETED}))
    return [r.attributes["schedule_id"] for r in await storage.list_runs(query, limit=10 * SCHEDULES)]


@pytest.mark.timeout(600)
def test_schedules_due_in_the_same_second_are_all_fired_once_by_four_schedulers(tmp_path: Path) -> None:
    url = f"file:{tmp_path / 'store'}"

    async def main() -> None:
        async with open_storage(url) as storage:
            moment = await create_all(storage)
            command = [sys.executable, str(SCRIPT), url]
            schedulers = [
                subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
                for _ in range(PROCESSES)
            ]
            try:
                for scheduler in schedulers:
                    assert scheduler.stdout is not None
                    assert scheduler.stdout.readline() == b"ready\n"
                while len(await completed(storage)) < SCHEDULES:
                    assert all(scheduler.poll() is None for scheduler in schedulers)
                    await asyncio.sleep(0.2)
                print(f"all fired {time.time() - moment.timestamp():.1f} s after they were due")
                while any(s.running_run_ids for s in await list_schedules(limit=SCHEDULES, storage=storage)):
                    await asyncio.sleep(0.2)
            finally:
                for scheduler in schedulers:
                    scheduler.communicate()
            assert [scheduler.returncode for scheduler in schedulers] == [0] * PROCESSES
            found = Counter(await completed(storage))
            assert found == {f"s{n}": 1 for n in range(SCHEDULES)}
            assert (
                len(await storage.list_runs(RunQuery(workflow="many.job"), limit=10 * SCHEDULES)) == SCHEDULES
            )
            for schedule in await list_schedules(limit=SCHEDULES, storage=storage):
                assert (schedule.total_runs, schedule.successful_runs) == (1, 1)
                assert schedule.last_run_at == moment
                assert schedule.next_run_time is None

    asyncio.run(main())
