"""What a schedule starts and when, and how its state changes; all without side effects.

The schedule's run works by these functions, and whoever looks at a schedule applies them to what
it was told and has not taken yet. So both see the same.
"""

from __future__ import annotations

import sys
from typing import Any

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from pyworkflow_core.ids import derive_run_id
from pyworkflow_core.payloads import ScheduleChanged, ScheduledRun, WorkflowStarted

from ..definitions import list_workflows
from .spec import OverlapPolicy, Times
from .times import Look

SCHEDULE = "pyworkflow.schedule"
"""The workflow that schedules are runs of."""
QUEUE = "pyworkflow.schedules"
"""The queue of schedules, which every worker serves."""
ATTRIBUTE = "schedule_id"

PAUSE, RESUME, UPDATE, DELETE = "pause", "resume", "update", "delete"
TRIGGER, BACKFILL = "trigger", "backfill"

_RECENT = 10
_SHOWN = 20
_MOST_BUFFERED = 1000


class Facts(Struct, frozen=True, omit_defaults=True):
    """What the definition of a workflow says of its runs.

    Attributes:
        version: the version that new runs start on.
        tags: labels.
        max_duration: microseconds after which a run is ended.
        max_recoveries: times a run is taken up after a crash without progress.
    """

    version: str | None = None
    tags: tuple[str, ...] = ()
    max_duration: int | None = None
    max_recoveries: int = 3


class Plan(Struct, frozen=True, omit_defaults=True):
    """What a schedule starts, and when. Part of the arguments of its run.

    Attributes:
        schedule_id: the schedule.
        token: drawn when it was created; run ids follow from it.
        workflow: name of the scheduled workflow.
        args: its encoded arguments.
        queue: the queue of its runs.
        priority: of its runs.
        facts: of the definition, as they were known last; None if they never were.
        times: when it is due.
        overlap: the overlap policy.
    """

    schedule_id: str
    token: str
    workflow: str
    args: str
    times: Times
    queue: str = "default"
    priority: int = 5
    facts: Facts | None = None
    overlap: OverlapPolicy = OverlapPolicy.SKIP


class Ask(Struct, frozen=True, omit_defaults=True):
    """What a signal to a schedule holds.

    Attributes:
        at: when it was asked.
        due: due times to start runs for.
        times: new times.
        overlap: a new overlap policy.
        facts: what is known of the workflow's definition now.
    """

    at: int = 0
    due: tuple[int, ...] = ()
    times: Times | None = None
    overlap: OverlapPolicy | None = None
    facts: Facts | None = None


def facts_of(workflow: str) -> Facts | None:
    """What this process knows of a workflow: of its newest version; None if it does not have it."""
    known = list_workflows().get(workflow)
    if known is None:
        return None
    return Facts(known.version, known.tags, known.max_duration, known.max_recovery_attempts)


def run_id_of(plan: Plan, kind: str, *parts: object) -> str:
    """The run id of a firing: the same whoever works it out, and however often."""
    return derive_run_id("scheduled", plan.schedule_id, plan.token, kind, *map(str, parts))


def first_event_of(plan: Plan, parent: str, due: int, now: int) -> WorkflowStarted:
    """The first event of a run that the schedule starts."""
    facts = plan.facts or Facts()
    return WorkflowStarted(
        plan.workflow,
        Raw(plan.args.encode()),
        queue=plan.queue,
        priority=plan.priority,
        python=f"{sys.version_info.major}.{sys.version_info.minor}",
        workflow_version=facts.version,
        # Its depth is 0: it may have as many levels of children as if it had been started by hand.
        parent=parent,
        tags=facts.tags,
        attributes={ATTRIBUTE: plan.schedule_id, "scheduled_for": str(due)},
        deadline=None if facts.max_duration is None else now + facts.max_duration,
        max_recoveries=facts.max_recoveries,
    )


def to_ask(value: Any) -> Ask | None:
    """What a signal's value asks for; None if it makes no sense."""
    try:
        return msgspec.convert({} if value is None else value, Ask)
    except msgspec.ValidationError:
        return None


def asked(plan: Plan, state: ScheduleChanged, signal: str, ask: Ask) -> tuple[Plan, ScheduleChanged]:
    """Plan and state after a request that changes when the schedule is due.

    What comes next has to be worked out afterwards if the state is active and has no next time.
    """
    if state.status == "deleted":
        return plan, state
    at = max(ask.at, state.after)
    nothing_next = replace(state, updated_at=at, next_at=None, wake_at=None)
    if signal == PAUSE and state.status == "active":
        return plan, replace(nothing_next, status="paused", paused_at=at)
    if signal == RESUME and state.status == "paused":
        # What was due in the pause is not made up for.
        return plan, replace(nothing_next, status="active", paused_at=None, after=at)
    if signal == UPDATE:
        plan = replace(plan, overlap=ask.overlap or plan.overlap, facts=ask.facts or plan.facts)
        if ask.times is None:
            return plan, replace(state, updated_at=at)
        return replace(plan, times=ask.times), replace(nothing_next, after=at, anchor=at)
    if signal == DELETE:
        return plan, replace(nothing_next, status="deleted", buffered=())
    return plan, state


def shown(state: ScheduleChanged) -> ScheduleChanged:
    """The state as it is noted: of a bounded size, however many runs are under way."""
    return replace(
        state,
        running=state.running[:_SHOWN],
        running_count=len(state.running),
        buffered=(),
        buffered_count=len(state.buffered),
    )


def looked(state: ScheduleChanged, found: Look) -> ScheduleChanged:
    """The state after a look at the clock; its due times are still to be dealt with."""
    return replace(
        state,
        after=found.after,
        next_at=found.next_at,
        wake_at=found.wake_at,
        missed=state.missed + found.missed,
    )


def started(state: ScheduleChanged, run_id: str, due: int, now: int) -> ScheduleChanged:
    """The state after a run was started."""
    recent = (ScheduledRun(run_id, due), *state.recent)[:_RECENT]
    running = (*state.running, run_id)
    return replace(state, running=running, recent=recent, runs=state.runs + 1, updated_at=now)


def ended(state: ScheduleChanged, run_id: str, status: str, now: int) -> ScheduleChanged:
    """The state after a run has ended."""
    if run_id not in state.running:
        return state
    count = {"completed": "successes", "failed": "failures"}.get(status, "cancelled")
    return replace(
        state,
        running=tuple(other for other in state.running if other != run_id),
        recent=tuple(replace(r, status=status) if r.run_id == run_id else r for r in state.recent),
        updated_at=now,
        **{count: getattr(state, count) + 1},
    )


def meet(state: ScheduleChanged, overlap: OverlapPolicy, due: int) -> tuple[ScheduleChanged, bool]:
    """What a due time does: the state after it, and whether a run starts now."""
    if overlap is OverlapPolicy.ALLOW_ALL or not (state.running or state.buffered):
        return state, True
    waiting = state.buffered
    if overlap is OverlapPolicy.CANCEL_OTHER:
        return replace(state, buffered=(due,), skips=state.skips + len(waiting)), False
    room = {OverlapPolicy.BUFFER_ONE: 1, OverlapPolicy.BUFFER_ALL: _MOST_BUFFERED}.get(overlap, 0)
    if len(waiting) < room:
        return replace(state, buffered=(*waiting, due)), False
    return replace(state, skips=state.skips + 1), False


def next_buffered(state: ScheduleChanged) -> tuple[ScheduleChanged, int | None]:
    """The due time that has waited for its turn and may start now, taken off the state."""
    if state.status != "active" or state.running or not state.buffered:
        return state, None
    return replace(state, buffered=state.buffered[1:]), state.buffered[0]
