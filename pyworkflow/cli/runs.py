"""`pyworkflow runs list` and `show`: look at runs."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .completion import complete_run
from .filters import (
    AttributeOption,
    CreatedBeforeOption,
    CreatedFromOption,
    ParentOption,
    QueueOption,
    StatusOption,
    WorkflowOption,
    filters_of,
)
from .session import Session
from .session import run as run_async

if TYPE_CHECKING:
    from pyworkflow_core.events import Event

    from ..runs import WorkflowRun

RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="The run.", autocompletion=complete_run)]


def list_runs(
    session: Session,
    status: StatusOption = None,
    workflow: WorkflowOption = None,
    queue: QueueOption = None,
    parent: ParentOption = None,
    created_from: CreatedFromOption = None,
    created_before: CreatedBeforeOption = None,
    attribute: AttributeOption = None,
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="How many at most.")] = 20,
) -> int:
    """List runs, the newest first."""
    filters = filters_of(status, workflow, queue, parent, created_from, created_before, attribute)
    return run_async(_list(session, filters, limit))


def show(session: Session, run_id: RunArgument) -> int:
    """Show one run: where it stands, what it returned, what it waits for."""
    return run_async(_show(session, run_id))


def run_document(run: WorkflowRun) -> dict[str, Any]:
    """The run as a JSON object."""
    import msgspec

    found = msgspec.structs.asdict(run)
    found["status"] = str(run.status)
    return found


async def _list(session: Session, filters: dict[str, Any], limit: int) -> int:
    from ..runs import list_workflow_runs
    from .values import print_json

    async with session.opened() as storage:
        runs = await list_workflow_runs(storage=storage, limit=limit, **filters)
    if session.as_json:
        print_json([run_document(run) for run in runs])
        return 0
    if not runs:
        print(f"no runs{' like that' if filters else ''} in {session.storage_name}")
        return 0
    from .render import Column, ago, print_table

    columns = [
        Column("RUN"),
        Column("WORKFLOW", drop=1, least=8),
        Column("STATUS", status=True),
        Column("CREATED", drop=2),
        Column("TOOK", drop=4, right=True),
        Column("EVENTS", drop=3, right=True),
        Column("QUEUE", drop=5, least=8),
    ]
    print_table(
        columns,
        [
            (
                r.run_id,
                r.workflow_name,
                str(r.status),
                ago(r.created_at),
                _took(r),
                str(r.event_count),
                r.queue,
            )
            for r in runs
        ],
    )
    return 0


def _took(run: WorkflowRun) -> str:
    from .render import duration

    if run.completed_at is None:
        return "-"
    return duration((run.completed_at - (run.started_at or run.created_at)).total_seconds())


async def _show(session: Session, run_id: str) -> int:
    from ..engine.history import envelopes_of
    from ..engine.hooklog import hooks_of
    from ..runs import get_workflow_chain, list_workflow_runs
    from .run import find_run
    from .values import print_json

    async with session.opened() as storage:
        run = await find_run(session, storage, run_id)
        events = await storage.read(run_id)
        children = await list_workflow_runs(parent_run_id=run_id, limit=_CHILDREN, storage=storage)
        chain = [other.run_id for other in await get_workflow_chain(run_id, storage)]
    waiting = _waiting(events) if run.status == "suspended" else []
    hooks = (
        []
        if run.status.is_terminal
        else [state.hook_id for state in hooks_of(envelopes_of(events)).values() if state.status == "open"]
    )
    if session.as_json:
        kin = {"children": [child.run_id for child in children], "chain": chain}
        print_json({**run_document(run), "waiting": waiting, "open_hooks": hooks, **kin})
        return 0
    _print_run(run, waiting, events)
    if len(chain) > 1:
        print(f"\nchain of {len(chain)} runs; this is number {chain.index(run_id) + 1}")
    if children:
        _print_children(children)
    for hook in hooks:
        print(f"\nanswer  pyworkflow hooks answer {shlex.quote(f'{run_id}:{hook}')} JSON")
    return 0


def _print_run(run: WorkflowRun, waiting: list[str], events: list[Event]) -> None:
    from .render import ago, local, one_line, status
    from .values import arguments_text, to_text

    started = events[0].data
    rows = [
        ("run", run.run_id),
        ("workflow", f"{run.workflow_name}({arguments_text(started.get('args'))})"),
        ("status", status(run.status)),
        ("result", to_text(run.result) if run.status == "completed" else ""),
        ("error", run.error or ""),
        ("waits for", ", ".join(waiting)),
        (
            "due",
            f"{local(run.wake_at)} ({ago(run.wake_at)})" if run.wake_at and run.status == "suspended" else "",
        ),
        ("created", f"{local(run.created_at)} ({ago(run.created_at)})"),
        ("ended", f"{local(run.completed_at)} (took {_took(run)})" if run.completed_at else ""),
        ("queue", f"{run.queue}, priority {run.priority}"),
        ("parent", f"{run.parent_run_id} (depth {run.nesting_depth})" if run.parent_run_id else ""),
        ("continues", run.continued_from_run_id or ""),
        ("goes on", run.continued_to_run_id or ""),
        ("key", run.idempotency_key or ""),
        ("tags", ", ".join(run.tags)),
        ("events", str(run.event_count)),
    ]
    for title, text in rows:
        if text:
            print(f"{title:<9}  {text if title == 'status' else one_line(text)}")


_CHILDREN = 50


def _print_children(children: list[WorkflowRun]) -> None:
    from .render import Column, ago, print_table

    columns = [
        Column("CHILD"),
        Column("WORKFLOW", drop=1, least=8),
        Column("STATUS", status=True),
        Column("CREATED", drop=2),
    ]
    print()
    print_table(columns, [(c.run_id, c.workflow_name, str(c.status), ago(c.created_at)) for c in children])


def _waiting(events: list[Event]) -> list[str]:
    from pyworkflow_core.payloads import WorkflowSuspended

    last = events[-1].payload
    if not isinstance(last, WorkflowSuspended):
        return []  # something came since: it is due
    return list(last.waiting) or [last.reason or "nothing; it is due"]
