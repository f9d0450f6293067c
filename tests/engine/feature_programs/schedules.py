"""Schedules: what is due is started once each, also after changes from outside."""

from __future__ import annotations

from typing import Any

from feature_programs import Program
from pyworkflow import (
    ScheduleSpec,
    create_schedule,
    delete_schedule,
    get_schedule,
    pause_schedule,
    resume_schedule,
    sleep,
    step,
    trigger_schedule,
    workflow,
)
from pyworkflow.engine.attempt import current_attempt
from pyworkflow.engine.engine import Engine
from pyworkflow_core.events import from_micros

CRASHES = 1000


def here() -> tuple[Engine, str]:
    """The engine of the step that runs, and an id of its run's own for a schedule."""
    attempt = current_attempt.get()
    assert attempt is not None
    return attempt.engine, f"of {attempt.call.machine.run_id}"


@step(name="schedules.count_to")
async def count_to(number: int) -> int:
    return number


@workflow(name="schedules.counting", max_recovery_attempts=CRASHES)
async def counting(number: int) -> int:
    await sleep(2)
    return await count_to(number)


@step(name="schedules.create")
async def create(first: int, last: int, policy: str) -> str:
    """Have it due from so many seconds from now on; done once, although the step may run again."""
    engine, schedule_id = here()
    if await get_schedule(schedule_id, engine.storage) is None:
        start, end = (from_micros(engine.clock.now() + 1_000_000 * seconds) for seconds in (first, last))
        spec = ScheduleSpec(interval="30s", start_at=start, end_at=end, catch_up="1000d")
        await create_schedule(
            counting,
            spec,
            7,
            overlap_policy=policy,
            schedule_id=schedule_id,
            queue="q",
            storage=engine.storage,
        )
    return schedule_id


@step(name="schedules.look")
async def look(schedule_id: str) -> tuple[int, int, int, int]:
    schedule = await get_schedule(schedule_id, here()[0].storage)
    assert schedule is not None
    due = {run.scheduled_for for run in schedule.recent_runs}
    return schedule.total_runs, schedule.successful_runs, schedule.skipped_runs, len(due)


@step(name="schedules.delete")
async def delete(schedule_id: str) -> str:
    engine, _ = here()
    await delete_schedule(schedule_id, storage=engine.storage)
    schedule = await get_schedule(schedule_id, engine.storage)
    assert schedule is not None
    return str(schedule.status)


@step(name="schedules.change")
async def change(schedule_id: str) -> str:
    """Pause it, have it fire once all the same, and let it go on: once, although the step may run again."""
    engine, _ = here()
    await pause_schedule(schedule_id, storage=engine.storage)
    await trigger_schedule(schedule_id, storage=engine.storage)
    schedule = await resume_schedule(schedule_id, storage=engine.storage)
    return str(schedule.status)


async def until_done(schedule_id: str, runs: int) -> tuple[int, int, int, int]:
    while True:
        await sleep(20)
        seen = await look(schedule_id)
        if seen[1] >= runs:
            return seen


@workflow(name="schedules.watching", max_recovery_attempts=CRASHES)
async def watching() -> Any:
    # Long enough for any machine to be done with the creation before the first due time.
    schedule_id = await create(600, 665, "buffer_all")
    await sleep(600)
    seen = await until_done(schedule_id, 3)
    return seen, await delete(schedule_id)


@workflow(name="schedules.changing", max_recovery_attempts=CRASHES)
async def changing() -> Any:
    schedule_id = await create(10**8, 10**8, "skip")
    changed = await change(schedule_id)
    seen = await until_done(schedule_id, 1)
    return changed, seen, await delete(schedule_id)


PROGRAMS = (
    Program("schedule", watching, outcome=("completed", ((3, 3, 0, 3), "deleted"))),
    Program("changed schedule", changing, outcome=("completed", ("active", (1, 1, 0, 1), "deleted"))),
)
