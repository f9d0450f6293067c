"""`pyworkflow runs retry`: what an operator does to runs that have ended."""

from __future__ import annotations

from typing import Annotated

import typer

from .completion import complete_run
from .session import Session
from .session import run as run_async


def retry(
    session: Session,
    run_id: Annotated[str, typer.Argument(metavar="RUN", help="The run.", autocompletion=complete_run)],
    reason: Annotated[str | None, typer.Option(metavar="TEXT", help="Why; the log keeps it.")] = None,
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
