"""Schedules in simulated time: what they start, and driving them until a moment."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from families import take_up_due
from simulated_runs import LEASE, check_log, log_of, recorded, replay

from pyworkflow import FatalError, shield, sleep, step, workflow
from pyworkflow.engine.clock import VirtualClock
from pyworkflow.engine.engine import Engine
from pyworkflow_core.events import to_micros
from pyworkflow_core.record import RunRecord
from pyworkflow_core.storage import RunQuery, StorageBackend

SECOND = 1_000_000
MINUTE, HOUR, DAY = 60 * SECOND, 3600 * SECOND, 86_400 * SECOND


@workflow(name="schedules.quick", max_recovery_attempts=1000)
async def quick(*args: Any, **kwargs: Any) -> Any:
    return [*args, kwargs] if kwargs else list(args)


@workflow(name="schedules.slow", max_recovery_attempts=1000)
async def slow(seconds: float) -> str:
    await sleep(seconds)
    return "slept"


@workflow(name="schedules.stubborn", max_recovery_attempts=1000)
async def stubborn(seconds: float) -> str:
    async with shield():
        await sleep(seconds)
    await sleep(1)
    return "slept"


@step(name="schedules.break", max_retries=0)
async def break_down() -> None:
    raise FatalError("broken")


@workflow(name="schedules.failing", max_recovery_attempts=1000)
async def failing() -> None:
    await break_down()


def at(text: str) -> int:
    """A moment in UTC, such as ``2026-03-29 01:30``, in microseconds."""
    return to_micros(datetime.fromisoformat(text).replace(tzinfo=UTC))


async def work_until(engine: Engine, clock: VirtualClock, until: int) -> None:
    """Take up whatever becomes due, at the moment when it does."""
    while True:
        while await take_up_due(engine):
            pass
        query = RunQuery()
        wakes, cursor = [], None
        while True:
            page = await engine.storage.find(query, cursor=cursor, limit=500)
            wakes += [r.wake_at for r in page.records if r.wake_at is not None]
            cursor = page.cursor
            if cursor is None:
                break
        ahead = [wake if wake > clock.now() else clock.now() + LEASE for wake in wakes]
        if not ahead or min(ahead) > until:
            clock.move_to(until)
            return
        clock.move_to(min(ahead))


async def runs_of(storage: StorageBackend, schedule_id: str) -> list[RunRecord]:
    """The runs that the schedule started, oldest due time first; its own are not among them."""
    found = await storage.list_runs(RunQuery(attributes={"schedule_id": schedule_id}), limit=100_000)
    started = [r for r in found if "scheduled_for" in r.attributes]
    return sorted(started, key=lambda r: (int(r.attributes["scheduled_for"]), r.created_at, r.run_id))


async def due_of(storage: StorageBackend, schedule_id: str) -> list[int]:
    """The due times for which runs were started."""
    return [int(r.attributes["scheduled_for"]) for r in await runs_of(storage, schedule_id)]


async def check_schedule_logs(storage: StorageBackend) -> None:
    """Every log of a schedule's chain is sound, and a replay comes to the same end."""
    for record in await storage.list_runs(RunQuery(workflow="pyworkflow.schedule"), limit=100_000):
        check_log(await storage.read(record.run_id), record)
        if record.status.is_terminal:
            history = await log_of(storage, record.run_id)
            assert replay(history, run=record) == recorded(history)
            assert replay(history, run=record, one_by_one=True) == recorded(history)
