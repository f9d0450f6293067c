"""Looking at schedules: their logs say where they stand, and no code is run for it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from pyworkflow_core.codec import Opaque
from pyworkflow_core.errors import CodecError, MissingDriverError, WorkflowError
from pyworkflow_core.events import from_micros
from pyworkflow_core.ids import derive_run_id, validate_id
from pyworkflow_core.payloads import ScheduleChanged, SignalReceived, WorkflowStarted
from pyworkflow_core.record import RunRecord, RunStatus
from pyworkflow_core.replay import Inbox
from pyworkflow_core.storage import RunQuery, StorageBackend

from ..config import get_storage
from ..definitions import list_workflows
from ..engine.engine import Engine, engine_for
from ..engine.history import envelopes_of
from ..engine.outside import end_of_chain
from ..errors import ScheduleNotFoundError
from .plan import ATTRIBUTE, RESUME, SCHEDULE, UPDATE, Plan, asked, shown, to_ask
from .spec import OverlapPolicy, ScheduleSpec, ScheduleStatus, spec_of
from .times import first_look

_LIVE = frozenset({RunStatus.PENDING, RunStatus.RUNNING, RunStatus.SUSPENDED})
_CONTINUED = frozenset({RunStatus.CONTINUED_AS_NEW})


class RecentRun(Struct, frozen=True, kw_only=True):
    """A run that a schedule started.

    Attributes:
        run_id: the run.
        scheduled_for: the due time that it was started for.
        status: ``running``, ``completed``, ``failed`` or ``cancelled``, as far as the schedule was told.
    """

    run_id: str
    scheduled_for: datetime
    status: str


class Schedule(Struct, frozen=True, kw_only=True):
    """A schedule as it stands.

    Attributes:
        schedule_id: the schedule.
        workflow_name: what it starts.
        spec: when.
        status: what it is doing.
        overlap_policy: what happens at a due time while a run is under way.
        args: positional arguments of its runs.
        kwargs: keyword arguments of its runs.
        queue: the queue of its runs.
        next_run_time: when it fires next; None if it is paused, or will not be due any more.
        last_run_at: the due time of the newest run.
        last_run_id: the newest run.
        running_run_ids: runs that have not ended, the oldest twenty.
        running_count: how many runs have not ended.
        buffered_count: due times that wait for these runs to end.
        total_runs: how many runs were started.
        successful_runs: how many of them completed.
        failed_runs: how many failed.
        cancelled_runs: how many were cancelled.
        skipped_runs: due times that were left out because a run was under way.
        missed_runs: due times that passed while nobody drove the schedule, and were not made up for.
        recent_runs: the newest runs, at most ten, newest first.
        created_at: when it was created.
        updated_at: when it changed last.
        paused_at: since when it is paused.
        run_id: the run that is the schedule.
    """

    schedule_id: str
    workflow_name: str
    spec: ScheduleSpec
    status: ScheduleStatus
    overlap_policy: OverlapPolicy
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = {}
    queue: str = "default"
    next_run_time: datetime | None = None
    last_run_at: datetime | None = None
    last_run_id: str | None = None
    running_run_ids: tuple[str, ...] = ()
    running_count: int = 0
    buffered_count: int = 0
    total_runs: int = 0
    successful_runs: int = 0
    failed_runs: int = 0
    cancelled_runs: int = 0
    skipped_runs: int = 0
    missed_runs: int = 0
    recent_runs: tuple[RecentRun, ...] = ()
    created_at: datetime
    updated_at: datetime
    paused_at: datetime | None = None
    run_id: str


async def get_schedule(schedule_id: str, storage: StorageBackend | str | None = None) -> Schedule | None:
    """The schedule, or None if there never was one of this id. A deleted one says that it is."""
    engine = engine_for(get_storage(storage))
    record = await find_schedule(engine, schedule_id)
    return None if record is None else await schedule_of(engine, record)


async def list_schedules(
    *,
    workflow_name: str | None = None,
    status: ScheduleStatus | str | None = None,
    limit: int = 100,
    storage: StorageBackend | str | None = None,
) -> list[Schedule]:
    """The schedules that match, those that are deleted left out.

    Raises:
        ValueError: a status that does not exist, or ``deleted``, of which there is no list.
    """
    wanted = None if status is None else ScheduleStatus(status)
    if wanted is ScheduleStatus.DELETED:
        raise ValueError("deleted schedules are not listed; get_schedule(…) still finds one")
    engine = engine_for(get_storage(storage))
    found: dict[str, Schedule] = {}
    async for record in _ends(engine):
        schedule = await schedule_of(engine, record)
        if _fits(schedule, workflow_name, wanted):
            found.setdefault(schedule.schedule_id, schedule)
            if len(found) >= limit:
                break
    return list(found.values())


async def _ends(engine: Engine) -> AsyncIterator[RunRecord]:
    """The runs that schedules are now."""
    cursor: str | None = None
    while True:
        page = await engine.storage.find(RunQuery(workflow=SCHEDULE, status=_LIVE), cursor=cursor, limit=500)
        for record in page.records:
            yield record
        cursor = page.cursor
        if cursor is None:
            break
    # A process may have died after the end of one run of a chain, and before the beginning of the next.
    page = await engine.storage.find(RunQuery(workflow=SCHEDULE, status=_CONTINUED), limit=500)
    for record in page.records:
        if record.detail.owes:
            end = await end_of_chain(engine, record.run_id)
            if end is not None:
                yield end


async def find_schedule(engine: Engine, schedule_id: str) -> RunRecord | None:
    """The run that the schedule is now, or was last; None if there never was one of this id."""
    validate_id(schedule_id, "schedule id")
    generation = 0
    first: RunRecord | None = None
    while (found := await engine.storage.get(run_id_of_schedule(schedule_id, generation))) is not None:
        first, generation = found, generation + 1
    if first is None:
        return await _end_without_beginning(engine, schedule_id)
    if first.status is not RunStatus.CONTINUED_AS_NEW:
        return first
    # Its chain may have thousands of links by now: look for the end before going along it.
    query = RunQuery(workflow=SCHEDULE, status=_LIVE, attributes=attributes_of(schedule_id, generation - 1))
    for record in (await engine.storage.find(query, limit=1)).records:
        return record
    # If a part of it was deleted from the storage, this is where it ends.
    return await end_of_chain(engine, first.run_id) or first


async def _end_without_beginning(engine: Engine, schedule_id: str) -> RunRecord | None:
    """The run that a schedule is now, if its first ones were deleted from the storage."""
    for statuses in (_LIVE, _CONTINUED):
        query = RunQuery(workflow=SCHEDULE, status=statuses, attributes={ATTRIBUTE: schedule_id})
        for record in (await engine.storage.find(query, limit=100)).records:
            if record.status is not RunStatus.CONTINUED_AS_NEW:
                return record
            if record.detail.owes:
                return await end_of_chain(engine, record.run_id)
    return None


def run_id_of_schedule(schedule_id: str, generation: int) -> str:
    """The first run of a schedule; of the how-manieth schedule of that id, if earlier ones were deleted."""
    return derive_run_id("schedule", schedule_id, str(generation))


def attributes_of(schedule_id: str, generation: int) -> dict[str, str]:
    """By what the runs of a schedule are found."""
    return {ATTRIBUTE: schedule_id, "generation": str(generation)}


async def plan_of(engine: Engine, record: RunRecord) -> tuple[Plan, ScheduleChanged]:
    """Plan and state of a schedule: what its run noted last, and what it was told that it had not taken then.

    A signal may stand in front of a note that does not know of it: whoever drives the schedule had
    worked the note out before.
    """
    history = envelopes_of(await engine.storage.read(record.run_id, limit=record.head))
    started = history[0].data
    assert isinstance(started, WorkflowStarted)
    plan, state = decode_arguments(engine, started)
    state = replace(shown(state), heard=0)
    inbox = Inbox()  # as the run has it: of what was said twice it takes the first
    if started.carried is not None:
        inbox.carry(started.carried.signals, started.carried.known)
    for envelope in history:
        if isinstance(envelope.data, ScheduleChanged):
            state = envelope.data
        elif isinstance(envelope.data, SignalReceived):
            inbox.put(envelope.data)
    return _told(engine, plan, state, inbox.untaken)


def decode_arguments(engine: Engine, started: WorkflowStarted) -> tuple[Plan, ScheduleChanged]:
    """Plan and state in the first event of a schedule's run."""
    (plan, state), _ = engine.codec.decode_args(started.args)
    return msgspec.convert(plan, Plan), msgspec.convert(state, ScheduleChanged)


def _told(
    engine: Engine, plan: Plan, noted: ScheduleChanged, told: Iterable[SignalReceived]
) -> tuple[Plan, ScheduleChanged]:
    """Plan and state after requests, of which the schedule's run had taken the first ones when it noted."""
    state = noted
    for number, signal in enumerate(told, 1):
        ask = to_ask(engine.codec.decode_lenient(signal.payload)) if len(signal.payload) else None
        if ask is None:
            continue
        plan, after = asked(plan, state, signal.signal, ask)
        if number <= noted.heard:
            continue  # no note holds the plan
        state = after
        if signal.signal in {RESUME, UPDATE} and state.status == "active" and state.next_at is None:
            with contextlib.suppress(MissingDriverError, WorkflowError):
                found = first_look(plan.times, plan.schedule_id, state.anchor, state.after)
                state = replace(state, next_at=found.next_at, wake_at=found.wake_at)
    return plan, state


async def schedule_of(engine: Engine, record: RunRecord) -> Schedule:
    """The schedule for people."""
    plan, state = await plan_of(engine, record)
    status = ScheduleStatus(state.status)
    if record.status.is_terminal:
        status = ScheduleStatus.DELETED  # by whatever way
    args, kwargs = _arguments(engine, plan)
    last = state.recent[0] if state.recent else None
    return Schedule(
        schedule_id=plan.schedule_id,
        workflow_name=plan.workflow,
        spec=spec_of(plan.times),
        status=status,
        overlap_policy=plan.overlap,
        args=args,
        kwargs=kwargs,
        queue=plan.queue,
        next_run_time=_moment(state.wake_at if status is ScheduleStatus.ACTIVE else None),
        last_run_at=_moment(last.at if last is not None else None),
        last_run_id=last.run_id if last is not None else None,
        running_run_ids=state.running,
        running_count=state.running_count,
        buffered_count=state.buffered_count,
        total_runs=state.runs,
        successful_runs=state.successes,
        failed_runs=state.failures,
        cancelled_runs=state.cancelled,
        skipped_runs=state.skips,
        missed_runs=state.missed,
        recent_runs=tuple(
            RecentRun(run_id=r.run_id, scheduled_for=from_micros(r.at), status=r.status) for r in state.recent
        ),
        created_at=from_micros(state.created_at),
        updated_at=from_micros(state.updated_at),
        paused_at=_moment(state.paused_at),
        run_id=record.run_id,
    )


def not_found(engine: Engine, schedule_id: str) -> ScheduleNotFoundError:
    """The error for a schedule that does not exist, or no longer does."""
    return ScheduleNotFoundError(
        f"there is no schedule {schedule_id!r} in {engine.storage!r}, or it was deleted; "
        "'pyworkflow schedules list' shows those there are"
    )


def _arguments(engine: Engine, plan: Plan) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of the runs; those of types that are not known here come as `Opaque`."""
    definition = list_workflows().get(plan.workflow)
    encoded = plan.args.encode()
    if definition is not None:
        with contextlib.suppress(CodecError):
            return engine.codec.decode_args(encoded, reach=definition.reach)
    found = engine.codec.decode_lenient(encoded)
    assert not isinstance(found, Opaque)
    return tuple(found[0]), dict(found[1])


def _fits(schedule: Schedule, workflow_name: str | None, status: ScheduleStatus | None) -> bool:
    return (workflow_name is None or schedule.workflow_name == workflow_name) and (
        schedule.status is not ScheduleStatus.DELETED if status is None else schedule.status is status
    )


def _moment(micros: int | None) -> datetime | None:
    return None if micros is None else from_micros(micros)
