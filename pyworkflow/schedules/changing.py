"""What is done to schedules: each is a signal that the schedule's run takes when it is driven next.

In a step, each has an id that follows from the step: a further attempt, which makes the same
requests in the same order, asks for nothing twice.
"""

from __future__ import annotations

from datetime import datetime
from itertools import islice

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from pyworkflow_core.errors import ConfigurationError
from pyworkflow_core.events import to_micros
from pyworkflow_core.payloads import ScheduleChanged
from pyworkflow_core.record import RunRecord
from pyworkflow_core.storage import StorageBackend

from ..config import get_storage
from ..engine.attempt import current_attempt
from ..engine.engine import Engine, engine_for
from ..engine.signals import has_heard, tell
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
    to = await _found(schedule_id, UPDATE, storage)
    asked = Ask(to.engine.clock.now(), times=times, overlap=overlap, facts=facts_of(to.plan.workflow))
    return await _change(to, asked)


async def pause_schedule(schedule_id: str, *, storage: StorageBackend | str | None = None) -> Schedule:
    """Let nothing be due until `resume_schedule`. Runs under way go on.

    Raises:
        ScheduleNotFoundError: there is no such schedule.
    """
    to = await _found(schedule_id, PAUSE, storage)
    return await _change(to, Ask(to.engine.clock.now()))


async def resume_schedule(schedule_id: str, *, storage: StorageBackend | str | None = None) -> Schedule:
    """Go on with a paused schedule. What was due in the pause is not made up for.

    Raises:
        ScheduleNotFoundError: there is no such schedule.
    """
    to = await _found(schedule_id, RESUME, storage)
    return await _change(to, Ask(to.engine.clock.now()))


async def delete_schedule(schedule_id: str, *, storage: StorageBackend | str | None = None) -> None:
    """End a schedule. Runs under way go on; the id may be used again once a worker has seen to it.

    Raises:
        ScheduleNotFoundError: there is no such schedule.
    """
    to = await _found(schedule_id, DELETE, storage)
    await _tell(to, Ask(to.engine.clock.now()))


async def trigger_schedule(schedule_id: str, *, storage: StorageBackend | str | None = None) -> str:
    """Start a run now, whatever the times, the overlap policy and a pause say.

    Returns:
        The id of the run; it is there once a worker has seen to the schedule.

    Raises:
        ScheduleNotFoundError: there is no such schedule.
    """
    to = await _found(schedule_id, TRIGGER, storage)
    await _tell(to, Ask(to.engine.clock.now()))
    return run_id_of(to.plan, TRIGGER, to.signal_id)


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
    to = await _found(schedule_id, BACKFILL, storage)
    plan, state = to.plan, to.state
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
        signal_id = f"{to.signal_id} {n}"
        await _tell(replace(to, signal_id=signal_id), Ask(to.engine.clock.now(), part))
        run_ids += [run_id_of(plan, BACKFILL, signal_id, due) for due in part]
    return run_ids


def _anchor_before(anchor: int, plan: Plan, first: int) -> int:
    """Where an interval may be counted from, so that times before the schedule's creation are found."""
    interval = plan.times.interval
    if interval is None or anchor < first:
        return anchor
    return anchor - -(-(anchor - first + 1) // interval) * interval


class _To(Struct, frozen=True):
    """A schedule that something is asked of.

    Attributes:
        engine: whose storage it is in.
        record: the run that it is now.
        plan: what it does.
        state: where it stands.
        signal: what is asked.
        signal_id: under which id.
    """

    engine: Engine
    record: RunRecord
    plan: Plan
    state: ScheduleChanged
    signal: str
    signal_id: str


async def _found(schedule_id: str, signal: str, storage: StorageBackend | str | None) -> _To:
    refuse_in_workflow("a function that changes schedules")
    engine, attempt = engine_for(get_storage(storage)), current_attempt.get()
    own = attempt if attempt is not None and attempt.engine is engine else None
    signal_id = engine.ids.event_id() if own is None else f"{own.derive_id()} {signal}"
    record = await find_schedule(engine, schedule_id)
    if record is None:
        raise not_found(engine, schedule_id)
    plan, state = await plan_of(engine, record)
    if state.status == "deleted" and (own is None or not await has_heard(engine, record, signal_id)):
        raise not_found(engine, schedule_id)
    return _To(engine, record, plan, state, signal, signal_id)


async def _change(to: _To, ask: Ask) -> Schedule:
    await _tell(to, ask)
    now = await find_schedule(to.engine, to.plan.schedule_id)
    if now is None:
        raise not_found(to.engine, to.plan.schedule_id)
    return await schedule_of(to.engine, now)


async def _tell(to: _To, ask: Ask) -> None:
    asked = msgspec.to_builtins(ask)
    try:
        await tell(to.engine, to.record.run_id, to.signal, asked, signal_id=to.signal_id)
    except WorkflowNotFoundError:
        raise not_found(to.engine, to.plan.schedule_id) from None
