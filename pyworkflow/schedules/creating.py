"""Creating schedules."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from pyworkflow_core.codec import EMPTY_REACH
from pyworkflow_core.errors import ConfigurationError, LimitExceeded
from pyworkflow_core.events import Event, encode_body
from pyworkflow_core.ids import validate_id
from pyworkflow_core.payloads import ScheduleChanged, WorkflowStarted
from pyworkflow_core.record import GROWTH_BYTES, check_record, evolve
from pyworkflow_core.replay import current_machine
from pyworkflow_core.storage import StorageBackend

from ..config import get_storage
from ..definitions import WorkflowDefinition, get_workflow, list_workflows
from ..engine.engine import Engine, engine_for
from ..engine.outside import create
from ..errors import ScheduleExistsError, StepOutsideWorkflowError
from .plan import QUEUE, SCHEDULE, Plan, facts_of, looked
from .reading import Schedule, attributes_of, find_schedule, plan_of, run_id_of_schedule, schedule_of
from .spec import OverlapPolicy, ScheduleSpec, times_of
from .times import first_look

_OVERHEAD = 8192  # what the events of a schedule and of its runs hold beside the arguments


async def create_schedule(
    workflow_name: str | WorkflowDefinition[Any, Any],
    spec: ScheduleSpec,
    *args: Any,
    overlap_policy: OverlapPolicy | str = OverlapPolicy.SKIP,
    schedule_id: str | None = None,
    queue: str | None = None,
    storage: StorageBackend | str | None = None,
    **kwargs: Any,
) -> Schedule:
    """Have a workflow started whenever it is time, once for each due time.

    Any worker drives the schedule, and so does `LocalScheduler`. The workflow itself is started in
    `queue`, and need be known to the workers of that queue only.

    Args:
        workflow_name: the workflow, or its name.
        spec: when it is due.
        *args: positional arguments of each run.
        overlap_policy: what happens at a due time while a run is under way.
        schedule_id: a name; drawn unless given. Creating the same schedule once more does nothing.
        queue: whose workers run the workflow; the default queue unless given.
        storage: where the schedule and its runs live; the configured one unless given.
        **kwargs: keyword arguments of each run.

    Raises:
        ConfigurationError: the spec or the policy is wrong.
        MissingDriverError: a cron expression needs an extra that is not installed.
        ScheduleExistsError: the id belongs to a schedule of something else.
        TypeError: the arguments do not fit the workflow, as far as it is known here.
        UnserializableValueError: an argument cannot be recorded.
    """
    refuse_in_workflow("create_schedule()")
    engine = engine_for(get_storage(storage))
    if schedule_id is None:
        schedule_id = f"sched_{engine.ids.event_id()}"
    validate_id(schedule_id, "schedule id")
    plan = _plan(engine, workflow_name, spec, args, kwargs, overlap_policy, schedule_id, queue)
    while True:
        record = await find_schedule(engine, schedule_id)
        generation = 0
        if record is not None:
            there, state = await plan_of(engine, record)
            if not record.status.is_terminal and state.status != "deleted":
                break
            generation = int(record.attributes["generation"]) + 1  # the id may be used again
        # If somebody else creates it at the same time, one of the two is found in the next round.
        await create(
            engine, run_id_of_schedule(schedule_id, generation), _first_event(engine, plan, generation)
        )
    if _sketch(there) != _sketch(plan):
        raise ScheduleExistsError(
            f"schedule {schedule_id!r} exists already, and starts something else or at other times; "
            "choose another id, or use update_schedule(…)",
            schedule_id,
        )
    return await schedule_of(engine, record)


def refuse_in_workflow(what: str) -> None:
    """Refuse a call from workflow code.

    Raises:
        StepOutsideWorkflowError: a workflow runs here.
    """
    if current_machine.get() is not None:
        raise StepOutsideWorkflowError(
            f"{what} was called inside a workflow: a replay would do it again. Call it from a @step."
        )


def overlap_of(value: OverlapPolicy | str) -> OverlapPolicy:
    """The policy.

    Raises:
        ConfigurationError: there is none of that name.
    """
    try:
        return OverlapPolicy(value)
    except ValueError:
        known = ", ".join(OverlapPolicy)
        raise ConfigurationError(f"there is no overlap policy {value!r}; there are {known}") from None


def _plan(
    engine: Engine,
    workflow: str | WorkflowDefinition[Any, Any],
    spec: ScheduleSpec,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    overlap: OverlapPolicy | str,
    schedule_id: str,
    queue: str | None,
) -> Plan:
    known: WorkflowDefinition[Any, Any] | None
    if isinstance(workflow, WorkflowDefinition):
        known = workflow
    elif isinstance(workflow, str):
        known = list_workflows().get(workflow)
    else:
        raise ConfigurationError(
            f"create_schedule() takes a workflow or its name, not {type(workflow).__name__} {workflow!r}"
        )
    name = validate_id(known.name if known is not None else str(workflow), "workflow name")
    if known is not None:
        known.bind(args, kwargs)
    reach = EMPTY_REACH if known is None else known.reach
    encoded = engine.codec.encode_args(args, kwargs, where=name, reach=reach).decode()
    limit = engine.storage.limits.event_bytes
    # In the log of the schedule they stand as a text in a text.
    size = len(msgspec.json.encode(encoded.encode().decode()))
    if limit is not None and 2 * size + _OVERHEAD > limit:
        raise LimitExceeded(
            f"the arguments of schedule {schedule_id!r} take {size} bytes and the storage takes {limit} an "
            "event; store the values elsewhere and pass a reference"
        )
    return Plan(
        schedule_id,
        engine.ids.event_id(),
        name,
        encoded,
        times_of(spec),
        "default" if queue is None else validate_id(queue, "queue"),
        facts=facts_of(name),
        overlap=overlap_of(overlap),
    )


def _first_event(engine: Engine, plan: Plan, generation: int) -> WorkflowStarted:
    now = engine.clock.now()
    state = ScheduleChanged(created_at=now, updated_at=now, anchor=now, after=now)
    state = looked(state, first_look(plan.times, plan.schedule_id, now, now))
    definition = get_workflow(SCHEDULE)
    args = (msgspec.to_builtins(plan), msgspec.to_builtins(state))
    start = WorkflowStarted(
        SCHEDULE,
        Raw(engine.codec.encode_args(args, {}, where=SCHEDULE)),
        queue=QUEUE,
        priority=0,
        attributes=attributes_of(plan.schedule_id, generation),
        # Nobody has to look at it before that, unless it is told something.
        wake_at=state.wake_at,
        max_recoveries=definition.max_recovery_attempts,
    )
    run_id = run_id_of_schedule(plan.schedule_id, generation)
    record = evolve(None, [Event(run_id, 1, "x", encode_body(start, now))], incarnation=12 * "x")
    check_record(record, growth=GROWTH_BYTES)
    return start


def _sketch(plan: Plan) -> Plan:
    """What makes two schedules the same: all but what was drawn, and what is known of the workflow."""
    return replace(plan, token="", facts=None)
