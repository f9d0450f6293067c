"""Steps that ask something of a schedule and are tried again: it is asked once, and nothing is wrong."""

from __future__ import annotations

import asyncio
import pathlib
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from pyworkflow import (
    InMemoryStorageBackend,
    ScheduleNotFoundError,
    ScheduleSpec,
    ScheduleStatus,
    backfill_schedule,
    create_schedule,
    delete_schedule,
    get_schedule,
    pause_schedule,
    resume,
    resume_schedule,
    start,
    step,
    trigger_schedule,
    update_schedule,
    workflow,
)
from pyworkflow.engine.attempt import current_attempt
from pyworkflow.engine.clock import VirtualClock
from pyworkflow_core.storage import StorageBackend

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))
from families import work_off
from schedules_at_work import DAY, at, quick, runs_of, work_until
from simulated_runs import make_engine

sys.path.pop(0)

Asking = Callable[[StorageBackend], Awaitable[Any]]


async def trigger(storage: StorageBackend) -> Any:
    return await trigger_schedule("s", storage=storage)


async def backfill(storage: StorageBackend) -> Any:
    first, last = (datetime(2025, 12, day, tzinfo=UTC) for day in (1, 3))
    return await backfill_schedule("s", first, last, storage=storage)


async def pause_and_resume(storage: StorageBackend) -> Any:
    await pause_schedule("s", storage=storage)
    return str((await resume_schedule("s", storage=storage)).status)


async def update(storage: StorageBackend) -> Any:
    return str((await update_schedule("s", ScheduleSpec(interval="2d"), storage=storage)).spec.interval)


async def delete(storage: StorageBackend) -> Any:
    await delete_schedule("s", storage=storage)


ASKING: dict[str, Asking] = {
    function.__name__: function for function in (trigger, backfill, pause_and_resume, update, delete)
}
answers: list[Any] = []


@step(name="asking.ask", retry_delay="1h")
async def ask(what: str) -> Any:
    attempt = current_attempt.get()
    assert attempt is not None
    answers.append(await ASKING[what](attempt.engine.storage))
    if len(answers) == 1:
        raise OSError("after it was asked")
    return answers[-1]


@workflow(name="asking.again")
async def asking(what: str) -> Any:
    return await ask(what)


@pytest.mark.parametrize(
    ("what", "runs"), [("trigger", 1), ("backfill", 3), ("pause_and_resume", 0), ("update", 0), ("delete", 0)]
)
def test_a_step_that_is_tried_again_has_asked_a_schedule_once(what: str, runs: int) -> None:
    async def main() -> None:
        answers.clear()
        clock, storage = VirtualClock(at("2026-01-01 00:00")), InMemoryStorageBackend()
        engine = make_engine(storage, clock, 1)
        spec = ScheduleSpec(interval="1d")
        await create_schedule(quick, spec, schedule_id="s", overlap_policy="allow_all", storage=storage)
        run_id = await start(asking, what, storage=storage, queue="q")
        await work_until(engine, clock, clock.now() + DAY // 2)
        assert await resume(run_id, storage=storage) == answers[0]
        assert answers == [answers[0]] * 2
        assert len(await runs_of(storage, "s")) == runs
        schedule = await get_schedule("s", storage)
        assert schedule is not None
        assert schedule.status == (ScheduleStatus.DELETED if what == "delete" else ScheduleStatus.ACTIVE)

    asyncio.run(main())


def test_what_was_not_asked_before_the_deletion_is_refused_after_it() -> None:
    async def main() -> None:
        answers.clear()
        clock, storage = VirtualClock(at("2026-01-01 00:00")), InMemoryStorageBackend()
        engine = make_engine(storage, clock, 1)
        await create_schedule(quick, ScheduleSpec(interval="1d"), schedule_id="s", storage=storage)
        await delete_schedule("s", storage=storage)
        with pytest.raises(ScheduleNotFoundError):
            await delete_schedule("s", storage=storage)
        run_id = await start(asking, "delete", storage=storage, queue="q")
        await work_off(engine, clock)
        with pytest.raises(ScheduleNotFoundError):
            await resume(run_id, storage=storage)
        assert answers == []

    asyncio.run(main())
