"""What is done to schedules: each is a signal that the schedule's run takes when it is driven next."""

from __future__ import annotations

from datetime import datetime
from itertools import islice

import msgspec

from pyworkflow_core.errors import ConfigurationError
from pyworkflow_core.events import to_micros
from pyworkflow_core.record import RunRecord
from pyworkflow_core.storage import StorageBackend

from ..config import get_storage
from ..engine.engine import Engine, engine_for
from ..engine.signals import tell
from ..errors import WorkflowNotFoundError
from .creating import overlap_of, refuse_in_workflow
from .plan import BACKFILL, DELETE, PAUSE, RESUME, TRIGGER, UPDATE, Ask, Plan, facts_of, run_id_of
from .reading import Schedule, find_schedule, not_found, plan_of, schedule_of
from .spec import OverlapPolicy, ScheduleSpec, times_of, zone_of
from .times import due_times

_MOST_BACKFILLED = 2_000
_AT_ONCE = 500


async def update_schedule(
    schedule_id: str,
    spec: ScheduleSpec | None = None,
    overlap_policy: OverlapPolicy | str | None = None,
    *,
    storage: StorageBackend | str | None = None,
) -> Schedule:
    """Change when a schedule is due, or what it does about overlaps. An interval is counted anew from now.

    Raises:
        ScheduleNotFoundError: there is no such schedule.
        ConfigurationError: the spec or the policy is wrong.
    """
    times = None if spec is None else times_of(spec)
    overlap = None if overlap_policy is None else overlap_of(overlap_policy)
    engine, record, plan = await _found(schedule_id, storage)
    asked = Ask(engine.clock.now(), times=times, overlap=overlap, facts=facts_of(plan.workflow))
    return await _change(engine, record, schedule_id, UPDATE, asked)


async def pause_schedule(schedule_id: str, *, storage: StorageBackend | str | None = None) -> Schedule:
    """Let nothing be due until `resume_schedule`. Runs under way go on.

    Raises:
        ScheduleNotFoundError: there is no such schedule.
    """
    engine, record, _ = await _found(schedule_id, storage)
    return await _change(engine, record, schedule_id, PAUSE, Ask(engine.clock.now()))


async def resume_schedule(schedule_id: str, *, storage: StorageBackend | str | None = None) -> Schedule:
    """Go on with a paused schedule. What was due in the pause is not made up for.

    Raises:
        ScheduleNotFoundError: there is no such schedule.
    """
    engine, record, _ = await _found(schedule_id, storage)
    return await _change(engine, record, schedule_id, RESUME, Ask(engine.clock.now()))


async def delete_schedule(schedule_id: str, *, storage: StorageBackend | str | None = None) -> None:
    """End a schedule. Runs under way go on; the id may be used again once a worker has seen to it.

    Raises:
        ScheduleNotFoundError: there is no such schedule.
    """
    engine, record, _ = await _found(schedule_id, storage)
    await _change(engine, record, schedule_id, DELETE, Ask(engine.clock.now()))


async def trigger_schedule(schedule_id: str, *, storage: StorageBackend | str | None = None) -> str:
    """Start a run now, whatever the times, the overlap policy and a pause say.

    Returns:
        The id of the run; it is there once a worker has seen to the schedule.

    Raises:
        ScheduleNotFoundError: there is no such schedule.
    """
    engine, record, plan = await _found(schedule_id, storage)
    signal_id = await _tell(engine, record, schedule_id, TRIGGER, Ask(engine.clock.now()))
    return run_id_of(plan, TRIGGER, signal_id)


async def backfill_schedule(
    schedule_id: str,
    start: datetime,
    end: datetime,
    *,
    storage: StorageBackend | str | None = None,
) -> list[str]:
    """Start a run for every due time of a stretch, both ends included, at once and beside each other.

    Each call makes runs of its own, also for due times that had one.

    Args:
        schedule_id: the schedule.
        start: a naive time is one of the schedule's time zone.
        end: likewise.
        storage: where the schedule lives; the configured one unless given.

    Returns:
        The ids of the runs; they are there once a worker has seen to the schedule.

    Raises:
        ScheduleNotFoundError: there is no such schedule.
        ConfigurationError: the stretch holds too many due times, or is none.
    """
    engine, record, plan = await _found(schedule_id, storage)
    _, state = await plan_of(engine, record)
    zone = zone_of(plan.times.timezone)
    if not isinstance(start, datetime) or not isinstance(end, datetime):
        raise ConfigurationError("backfill_schedule() takes two datetimes, start and end")
    first, last = (to_micros(m if m.tzinfo is not None else m.replace(tzinfo=zone)) for m in (start, end))
    if last < first:
        raise ConfigurationError(f"backfill_schedule(): the end {end} is before the start {start}")
    anchor = _anchor_before(state.anchor, plan, first)
    found = []
    for due in islice(due_times(plan.times, anchor, first - 1), _MOST_BACKFILLED + 1):
        if due > last:
            break
        found.append(due)
    if len(found) > _MOST_BACKFILLED:
        raise ConfigurationError(
            f"schedule {schedule_id!r} was due more than {_MOST_BACKFILLED} times from {start} to {end}; "
            "backfill shorter stretches"
        )
    run_ids = []
    for n in range(0, len(found), _AT_ONCE):
        part = tuple(found[n : n + _AT_ONCE])
        signal_id = await _tell(engine, record, schedule_id, BACKFILL, Ask(engine.clock.now(), part))
        run_ids += [run_id_of(plan, BACKFILL, signal_id, due) for due in part]
    return run_ids


def _anchor_before(anchor: int, plan: Plan, first: int) -> int:
    """Where an interval may be counted from, so that times before the schedule's creation are found."""
    interval = plan.times.interval
    if interval is None or anchor < first:
        return anchor
    return anchor - -(-(anchor - first + 1) // interval) * interval


async def _change(engine: Engine, record: RunRecord, schedule_id: str, signal: str, ask: Ask) -> Schedule:
    await _tell(engine, record, schedule_id, signal, ask)
    now = await find_schedule(engine, schedule_id)
    if now is None:
        raise not_found(engine, schedule_id)
    return await schedule_of(engine, now)


async def _found(schedule_id: str, storage: StorageBackend | str | None) -> tuple[Engine, RunRecord, Plan]:
    refuse_in_workflow("a function that changes schedules")
    engine = engine_for(get_storage(storage))
    record = await find_schedule(engine, schedule_id)
    if record is None:
        raise not_found(engine, schedule_id)
    plan, state = await plan_of(engine, record)
    if state.status == "deleted":
        raise not_found(engine, schedule_id)
    return engine, record, plan


async def _tell(engine: Engine, record: RunRecord, schedule_id: str, signal: str, ask: Ask) -> str:
    try:
        return await tell(engine, record.run_id, signal, msgspec.to_builtins(ask))
    except WorkflowNotFoundError:
        raise not_found(engine, schedule_id) from None
