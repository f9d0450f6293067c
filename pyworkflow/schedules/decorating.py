"""``@scheduled_workflow``: a workflow that says when it runs."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime
from typing import Any, NamedTuple

from pyworkflow_core.errors import ConfigurationError, MissingDriverError
from pyworkflow_core.storage import StorageBackend

from ..config import get_storage
from ..definitions import WorkflowDefinition, workflow
from ..durations import Duration
from ..engine.engine import engine_for
from ..errors import ScheduleExistsError
from .changing import update_schedule
from .creating import create_schedule, overlap_of
from .reading import find_schedule, plan_of
from .spec import CalendarSpec, OverlapPolicy, ScheduleSpec, times_of


class _Scheduled(NamedTuple):
    definition: WorkflowDefinition[Any, Any]
    spec: ScheduleSpec
    overlap: OverlapPolicy
    queue: str | None


_scheduled: dict[str, _Scheduled] = {}


def scheduled_workflow(
    *,
    cron: str | None = None,
    interval: Duration | None = None,
    calendar: CalendarSpec | Iterable[CalendarSpec] | None = None,
    timezone: str = "UTC",
    start_at: datetime | None = None,
    end_at: datetime | None = None,
    jitter: Duration | None = None,
    catch_up: Duration | None = None,
    overlap_policy: OverlapPolicy | str = OverlapPolicy.SKIP,
    schedule_queue: str | None = None,
    **options: Any,
) -> Callable[[Callable[..., Awaitable[Any]]], WorkflowDefinition[Any, Any]]:
    """Make an async function a workflow that runs by a schedule.

    `activate_scheduled_workflows` creates that. It must be possible to call the function without arguments.

    Args:
        cron: as in `ScheduleSpec`, and so are the other times.
        interval: see there.
        calendar: see there.
        timezone: see there.
        start_at: see there.
        end_at: see there.
        jitter: see there.
        catch_up: see there.
        overlap_policy: what happens at a due time while a run is under way.
        schedule_queue: the queue of the runs.
        **options: of ``@workflow``.

    Raises:
        ConfigurationError: an option is wrong, or the function needs arguments.
    """
    spec = ScheduleSpec(cron, interval, calendar, timezone, start_at, end_at, jitter, catch_up)
    overlap = overlap_of(overlap_policy)
    # A process that only runs the workflow need not have what reads cron expressions.
    with contextlib.suppress(MissingDriverError):
        times_of(spec)

    def decorate(func: Callable[..., Awaitable[Any]]) -> WorkflowDefinition[Any, Any]:
        definition: WorkflowDefinition[Any, Any] = workflow(**options)(func)  # type: ignore[arg-type]
        try:
            definition.bind((), {})
        except TypeError:
            raise ConfigurationError(
                f"workflow {definition.name!r} needs arguments, and its schedule has none: give them "
                "defaults, or use create_schedule(…) with arguments"
            ) from None
        _scheduled[definition.name] = _Scheduled(definition, spec, overlap, schedule_queue)
        return definition

    return decorate


async def activate_scheduled_workflows(storage: StorageBackend | str | None = None) -> list[str]:
    """Create a schedule for every ``@scheduled_workflow`` of this process; its id is the workflow's name.

    Safe to call at every start of every process: a schedule that exists goes on, and one whose
    decorator says something else now is changed.

    Returns:
        The ids of the schedules.
    """
    backend = get_storage(storage)
    for name, (definition, spec, overlap, queue) in _scheduled.items():
        try:
            await create_schedule(
                definition, spec, overlap_policy=overlap, schedule_id=name, queue=queue, storage=backend
            )
        except ScheduleExistsError:
            engine = engine_for(backend)
            record = await find_schedule(engine, name)
            assert record is not None
            plan, _ = await plan_of(engine, record)
            if plan.workflow != name or plan.queue != (queue or "default"):
                raise
            await update_schedule(name, spec, overlap, storage=backend)
    return list(_scheduled)
