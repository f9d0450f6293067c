"""`pyworkflow runs cancel`, `retry`, `delete` and `prune`: what an operator does to runs."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from .completion import complete_run
from .failures import UsageError
from .filters import (
    AttributeOption,
    CreatedBeforeOption,
    CreatedFromOption,
    ParentOption,
    QueueOption,
    StatusOption,
    WorkflowOption,
    filters_of,
    status_of,
)
from .runs import RunArgument
from .session import Session
from .session import run as run_async

ReasonOption = Annotated[str | None, typer.Option(metavar="TEXT", help="Why; the log keeps it.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only count.")]


def cancel(
    session: Session,
    run_id: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="The run.", autocompletion=complete_run)
    ] = None,
    reason: ReasonOption = None,
    status: StatusOption = None,
    workflow: WorkflowOption = None,
    queue: QueueOption = None,
    parent: ParentOption = None,
    created_from: CreatedFromOption = None,
    created_before: CreatedBeforeOption = None,
    attribute: AttributeOption = None,
    everything: Annotated[bool, typer.Option("--all", help="Every run that has not ended.")] = False,
    dry_run: DryRunOption = False,
) -> int:
    """Ask a run to stop, or every run that matches. Its code may still clean up."""
    filters = filters_of(status, workflow, queue, parent, created_from, created_before, attribute)
    if run_id is not None:
        if filters or everything or dry_run:
            raise UsageError("name a run, or say which runs by options; not both")
        return run_async(_cancel(session, run_id, reason))
    if not filters and not everything:
        raise UsageError("name a run, or say which runs by options; --all is every run that has not ended")
    return run_async(_cancel_many(session, filters, reason, dry_run))


def retry(
    session: Session,
    run_id: RunArgument,
    reason: ReasonOption = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="Also if steps completed after the failure; they are forgotten."),
    ] = False,
) -> int:
    """Let a run that failed, was cancelled or interrupted go on from there.

    The failed step begins a new attempt; completed steps keep their results. The run is due then;
    a worker or 'pyworkflow resume' drives it.
    """
    return run_async(_retry(session, run_id, reason, force))


def delete(
    session: Session,
    run_id: RunArgument,
    family: Annotated[
        bool,
        typer.Option("--family", help="With its whole chain, and with all children of these."),
    ] = False,
    force: Annotated[
        bool,
        typer.Option("--force", help="Also if it has not ended: it is cancelled first, without clean-up."),
    ] = False,
) -> int:
    """Delete a run that has ended: its log, and everything else of it."""
    return run_async(_delete(session, run_id, family, force))


def prune(
    session: Session,
    older_than: Annotated[
        str | None, typer.Option(metavar="DURATION", help="How long ago they have to have ended: 30d.")
    ] = None,
    status: StatusOption = None,
    workflow: WorkflowOption = None,
    by_retention: Annotated[
        bool,
        typer.Option("--by-retention", help="What each @workflow(retention=…) says; needs the module."),
    ] = False,
    module: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE", help="The module or file with the workflows. Default: PYWORKFLOW_MODULE."
        ),
    ] = None,
    dry_run: DryRunOption = False,
) -> int:
    """Delete runs that ended long ago, each with its family.

    A run goes with its chain and its children, and only when all of them ended long enough ago.
    Status and workflow are those of the head of the family. It may be stopped and called again.
    """
    if (older_than is None) == (not by_retention):
        raise UsageError("say how long ago: --older-than 30d, or --by-retention")
    if by_retention:
        from ..pruning import retentions
        from .modules import load_configured

        load_configured(module)
        if not retentions(workflow):
            raise UsageError(
                "no workflow says how long its runs are kept; give the module or file with --module, and the "
                "workflow @workflow(retention='30d')"
            )
    options = {"status": status_of(status), "workflow_name": workflow, "by_retention": by_retention}
    return run_async(_prune(session, older_than, options, dry_run))


async def _cancel(session: Session, run_id: str, reason: str | None) -> int:
    from ..engine.external import cancel_workflow
    from .run import find_end
    from .values import print_json

    async with session.opened() as storage:
        asked = await cancel_workflow(run_id, reason, storage=storage)
        run = await find_end(session, storage, run_id)
    if session.as_json:
        print_json({"run_id": run_id, "requested": asked, "status": str(run.status)})
    elif not asked:
        print(f"run {run_id} had ended already: {run.status}")
    elif run.status.is_terminal:
        print(f"run {run_id} is cancelled")
    else:
        print(f"run {run_id} was asked to stop; it stops when a worker or 'pyworkflow resume' drives it")
    return 0


async def _cancel_many(session: Session, filters: dict[str, Any], reason: str | None, dry_run: bool) -> int:
    from ..bulk import cancel_workflow_runs
    from .values import print_json

    async with session.opened() as storage:
        count = await cancel_workflow_runs(**filters, reason=reason, dry_run=dry_run, storage=storage)
    if session.as_json:
        print_json({"requested": count, "dry_run": dry_run})
    else:
        print(f"{count} runs {'would be' if dry_run else 'were'} asked to stop")
    return 0


async def _retry(session: Session, run_id: str, reason: str | None, force: bool) -> int:
    import msgspec

    from ..engine.retrying import retry_workflow
    from .run import find_run
    from .values import print_json

    async with session.opened() as storage:
        await find_run(session, storage, run_id)
        retried = await retry_workflow(run_id, reason=reason, force=force, storage=storage)
    if session.as_json:
        print_json(msgspec.structs.asdict(retried))
        return 0
    what = ", ".join(retried.retried) or "the workflow's own code"
    print(f"run {retried.run_id} goes on from where it ended: {what}")
    if retried.forgotten:
        print(f"forgotten: {', '.join(retried.forgotten)}")
    print(f"drive it with a worker, or: pyworkflow resume {retried.run_id}")
    return 0


async def _delete(session: Session, run_id: str, family: bool, force: bool) -> int:
    from ..engine.deleting import delete_workflow_run
    from .run import find_run
    from .values import print_json

    async with session.opened() as storage:
        await find_run(session, storage, run_id)
        count = await delete_workflow_run(run_id, family=family, force=force, storage=storage)
    if session.as_json:
        print_json({"deleted": count})
    else:
        print(f"run {run_id} is deleted" + (f", and {count - 1} of its family" if count > 1 else ""))
    return 0


async def _prune(session: Session, older_than: str | None, options: dict[str, Any], dry_run: bool) -> int:
    import msgspec

    from ..engine.engine import engine_for
    from ..pruning import PrunedRuns, pruned
    from .values import print_json

    families = runs = kept = 0
    ended = False
    try:
        async with session.opened() as storage:
            try:
                async for count in pruned(engine_for(storage), older_than, dry_run=dry_run, **options):
                    families, runs, kept = families + (count > 0), runs + count, kept + (not count)
            except ValueError as error:
                raise UsageError(str(error)) from None
        ended = True
    finally:
        if not ended and runs:
            print(f"{runs} runs were deleted so far; the same command goes on with the rest", file=sys.stderr)
    if session.as_json:
        print_json({**msgspec.structs.asdict(PrunedRuns(families, runs, kept)), "dry_run": dry_run})
        return 0
    print(f"{runs} runs of {families} families {'would be' if dry_run else 'were'} deleted")
    if kept:
        print(f"{kept} families were kept: not all of them ended so long ago, or not like that")
    return 0
