"""`pyworkflow schedules`: list and show them, create, pause, resume, trigger, backfill, delete them."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .failures import UsageError
from .session import Session
from .session import run as run_async

if TYPE_CHECKING:
    from pyworkflow_core.storage import StorageBackend

    from ..schedules.reading import Schedule
    from ..schedules.spec import ScheduleSpec


def complete_schedule(context: typer.Context, incomplete: str) -> list[str]:
    """Ids of schedules in the storage that the line names so far."""

    async def known() -> list[str]:
        from ..config import get_storage
        from ..schedules.reading import list_schedules

        storage = get_storage(context.params.get("storage") or context.find_root().params.get("url"))
        try:
            return [schedule.schedule_id for schedule in await list_schedules(storage=storage)]
        finally:
            await storage.close()

    try:
        return [word for word in asyncio.run(known()) if word.startswith(incomplete)]
    except Exception:
        return []


ScheduleArgument = Annotated[
    str, typer.Argument(metavar="SCHEDULE", help="The schedule.", autocompletion=complete_schedule)
]


def list_all(
    session: Session,
    workflow: Annotated[str | None, typer.Option(metavar="NAME", help="Only of this workflow.")] = None,
    status: Annotated[
        str | None, typer.Option(metavar="STATUS", help="Only 'active' ones, or 'paused' ones.")
    ] = None,
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="How many at most.")] = 100,
) -> int:
    """List schedules."""
    if status not in {None, "active", "paused"}:
        raise UsageError(f"there is no status {status!r} to list; there are active, paused")
    return run_async(_list(session, {"workflow_name": workflow, "status": status, "limit": limit}))


def show(session: Session, schedule: ScheduleArgument) -> int:
    """Show one schedule: when it is due, what it started, what became of that."""
    return run_async(_show(session, schedule))


def create(
    session: Session,
    target: Annotated[
        str,
        typer.Argument(
            metavar="WORKFLOW",
            help="The workflow's name, or MODULE:WORKFLOW to have the arguments checked.",
        ),
    ],
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[ARGS]...",
            help="Arguments of each run: JSON, or otherwise text. NAME=VALUE gives one by keyword.",
        ),
    ] = None,
    cron: Annotated[
        str | None, typer.Option(metavar="FIELDS", help="When: five fields of cron, or @daily and the like.")
    ] = None,
    interval: Annotated[str | None, typer.Option(metavar="LENGTH", help="When: every 15m, 2h, 1d.")] = None,
    timezone: Annotated[str, typer.Option(metavar="ZONE", help="Whose clocks cron means.")] = "UTC",
    start_at: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="Not before, such as 2026-03-01T08:00.")
    ] = None,
    end_at: Annotated[str | None, typer.Option("--until", metavar="TIME", help="Not after.")] = None,
    jitter: Annotated[
        str | None, typer.Option(metavar="LENGTH", help="Fire late by up to this much.")
    ] = None,
    catch_up: Annotated[
        str | None, typer.Option(metavar="LENGTH", help="After an outage, make up for this long a time.")
    ] = None,
    overlap: Annotated[
        str,
        typer.Option(
            metavar="POLICY",
            help="While a run is under way: skip, buffer_one, buffer_all, cancel_other or allow_all.",
        ),
    ] = "skip",
    schedule_id: Annotated[str | None, typer.Option("--id", metavar="ID", help="What it is called.")] = None,
    queue: Annotated[str | None, typer.Option(metavar="NAME", help="Whose workers run the workflow.")] = None,
) -> int:
    """Create a schedule. Any worker drives it."""
    from ..schedules.spec import ScheduleSpec
    from .values import parse_arguments

    spec = ScheduleSpec(
        cron=cron,
        interval=interval,
        timezone=timezone,
        start_at=_moment(start_at, "--from"),
        end_at=_moment(end_at, "--until"),
        jitter=jitter,
        catch_up=catch_up,
    )
    args, kwargs = parse_arguments(arguments or ())
    options = {"overlap_policy": overlap, "schedule_id": schedule_id, "queue": queue}
    return run_async(_create(session, _workflow(target), spec, args, kwargs, options))


def pause(session: Session, schedule: ScheduleArgument) -> int:
    """Let nothing be due until it is resumed. Runs under way go on."""
    from ..schedules.changing import pause_schedule

    return run_async(_change(session, pause_schedule, schedule))


def resume(session: Session, schedule: ScheduleArgument) -> int:
    """Go on with a paused schedule."""
    from ..schedules.changing import resume_schedule

    return run_async(_change(session, resume_schedule, schedule))


def trigger(session: Session, schedule: ScheduleArgument) -> int:
    """Start a run now; it begins when a worker drives the schedule."""
    from ..schedules.changing import trigger_schedule

    async def work(storage: StorageBackend) -> list[str]:
        return [await trigger_schedule(schedule, storage=storage)]

    return run_async(_start(session, work))


def backfill(
    session: Session,
    schedule: ScheduleArgument,
    start: Annotated[str, typer.Argument(metavar="START", help="Such as 2026-03-01 or 2026-03-01T08:00.")],
    end: Annotated[str, typer.Argument(metavar="END", help="Likewise; due times until then, included.")],
) -> int:
    """Start a run for every due time of a stretch, now and at once."""
    first, last = _moment(start, "START"), _moment(end, "END")
    assert first is not None
    assert last is not None

    async def work(storage: StorageBackend) -> list[str]:
        from ..schedules.changing import backfill_schedule

        return await backfill_schedule(schedule, first, last, storage=storage)

    return run_async(_start(session, work))


def delete(session: Session, schedule: ScheduleArgument) -> int:
    """End a schedule. Runs under way go on."""
    return run_async(_delete(session, schedule))


def schedule_document(schedule: Schedule) -> dict[str, Any]:
    """The schedule as a JSON object."""
    import dataclasses

    import msgspec

    found = msgspec.structs.asdict(schedule)
    spec = dataclasses.asdict(schedule.spec)
    found["spec"] = {name: value for name, value in spec.items() if value is not None}
    found["recent_runs"] = [msgspec.structs.asdict(run) for run in schedule.recent_runs]
    return found


def times_text(spec: ScheduleSpec) -> str:
    """When a schedule is due, in a few words."""
    from .render import duration

    zone = f" {spec.timezone}" if spec.timezone != "UTC" else ""
    if spec.cron is not None:
        return f"{spec.cron}{zone}"
    if isinstance(spec.interval, (int, float)):
        return f"every {duration(spec.interval)}"
    return f"calendar{zone}"


async def _list(session: Session, filters: dict[str, Any]) -> int:
    from ..schedules.reading import list_schedules
    from .render import Column, ago, print_table
    from .values import print_json

    async with session.opened() as storage:
        schedules = await list_schedules(storage=storage, **filters)
    if session.as_json:
        print_json([schedule_document(schedule) for schedule in schedules])
        return 0
    if not schedules:
        print(f"no schedules in {session.storage_name}")
        return 0
    columns = [
        Column("SCHEDULE"),
        Column("WORKFLOW", drop=2, least=8),
        Column("WHEN", drop=1, least=8),
        Column("STATUS", status=True),
        Column("NEXT", drop=3),
        Column("RUNS", drop=4, right=True),
        Column("FAILED", drop=5, right=True),
    ]
    rows = [
        (
            s.schedule_id,
            s.workflow_name,
            times_text(s.spec),
            str(s.status),
            ago(s.next_run_time) if s.next_run_time else "-",
            str(s.total_runs),
            str(s.failed_runs),
        )
        for s in schedules
    ]
    print_table(columns, rows)
    return 0


async def _show(session: Session, schedule_id: str) -> int:
    from ..engine.engine import engine_for
    from ..schedules.reading import get_schedule, not_found
    from .render import ago, local, one_line, status
    from .values import arguments_text, print_json

    async with session.opened() as storage:
        schedule = await get_schedule(schedule_id, storage)
        if schedule is None:
            raise not_found(engine_for(storage), schedule_id)
    if session.as_json:
        print_json(schedule_document(schedule))
        return 0
    s = schedule
    counts = {
        "completed": s.successful_runs,
        "failed": s.failed_runs,
        "cancelled": s.cancelled_runs,
        "under way": s.running_count,
    }
    left_out = {"skipped": s.skipped_runs, "missed": s.missed_runs, "waiting": s.buffered_count}
    rows = [
        ("schedule", s.schedule_id),
        ("workflow", f"{s.workflow_name}({arguments_text((s.args, s.kwargs))})"),
        ("when", times_text(s.spec)),
        ("overlap", str(s.overlap_policy)),
        ("status", status(s.status)),
        ("next", f"{local(s.next_run_time)} ({ago(s.next_run_time)})" if s.next_run_time else ""),
        ("last", f"{local(s.last_run_at)} ({ago(s.last_run_at)})" if s.last_run_at else ""),
        ("runs", f"{s.total_runs}" + _in_words(counts)),
        ("left out", _in_words(left_out).strip(" :")),
        ("created", f"{local(s.created_at)} ({ago(s.created_at)})"),
        ("queue", s.queue),
    ]
    for title, text in rows:
        if text:
            print(f"{title:<9}  {text if title == 'status' else one_line(text)}")
    for run in s.recent_runs:
        print(f"\nrun {run.run_id}  {status(run.status)}  for {local(run.scheduled_for)}", end="")
    print(end="\n" if s.recent_runs else "")
    return 0


def _in_words(counts: dict[str, int]) -> str:
    words = [f"{count} {what}" for what, count in counts.items() if count]
    return f": {', '.join(words)}" if words else ""


async def _create(
    session: Session,
    workflow: Any,
    spec: ScheduleSpec,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    options: dict[str, Any],
) -> int:
    from ..schedules.creating import create_schedule
    from .render import ago, local
    from .values import print_json

    taken = set(kwargs) & {"overlap_policy", "schedule_id", "queue", "storage", "workflow_name", "spec"}
    if taken:
        raise UsageError(f"the argument {sorted(taken)[0]!r} cannot be given by keyword; give it by position")
    async with session.opened() as storage:
        try:
            schedule = await create_schedule(workflow, spec, *args, storage=storage, **options, **kwargs)
        except TypeError as error:
            raise UsageError(str(error)) from None
    if session.as_json:
        print_json(schedule_document(schedule))
        return 0
    next_time = schedule.next_run_time
    first = f"due next {ago(next_time)}, at {local(next_time)}" if next_time else "never due"
    print(f"created schedule {schedule.schedule_id} of {schedule.workflow_name}; {first}")
    return 0


async def _change(session: Session, verb: Any, schedule_id: str) -> int:
    from .values import print_json

    async with session.opened() as storage:
        schedule = await verb(schedule_id, storage=storage)
    if session.as_json:
        print_json(schedule_document(schedule))
    else:
        print(f"schedule {schedule_id} is {schedule.status}")
    return 0


async def _start(session: Session, work: Any) -> int:
    from .values import print_json

    async with session.opened() as storage:
        run_ids = await work(storage)
    if session.as_json:
        print_json({"run_ids": run_ids})
    else:
        for run_id in run_ids:
            print(run_id)
        if not run_ids:
            print("nothing was due then")
    return 0


async def _delete(session: Session, schedule_id: str) -> int:
    from ..schedules.changing import delete_schedule
    from .values import print_json

    async with session.opened() as storage:
        await delete_schedule(schedule_id, storage=storage)
    if session.as_json:
        print_json({"schedule_id": schedule_id, "status": "deleted"})
    else:
        print(f"schedule {schedule_id} is deleted")
    return 0


def _workflow(target: str) -> Any:
    from .modules import find_workflow, load_configured

    if ":" in target:
        return find_workflow(target)
    load_configured(None)
    return target


def _moment(text: str | None, what: str) -> datetime | None:
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{what} is a time such as 2026-03-01T08:00, not {text!r}") from None
