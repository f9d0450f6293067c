"""`pyworkflow hooks`: see what runs wait for, and answer it."""

from __future__ import annotations

from typing import Annotated

import typer

from .failures import UsageError
from .session import Session
from .session import run as run_async


def answer(
    session: Session,
    token: Annotated[
        str, typer.Argument(metavar="TOKEN", help="The hook's token, or RUN:HOOK as 'runs show' prints it.")
    ],
    payload: Annotated[
        str, typer.Argument(metavar="JSON", help="The answer: JSON where it is JSON, otherwise text.")
    ],
    module: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE", help="The module that defines the hook's type, to check the answer first."
        ),
    ] = None,
) -> int:
    """Answer a hook. The run is due then; a worker or 'pyworkflow resume' drives it."""
    from .modules import load_configured

    load_configured(module)
    return run_async(_answer(session, token, payload))


def list_open(
    session: Session,
    run_id: Annotated[
        str | None, typer.Argument(metavar="RUN", help="Only hooks of this run. Default: all runs.")
    ] = None,
    workflow: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only hooks of runs of this workflow.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 100,
) -> int:
    """List the hooks that wait for an answer."""
    return run_async(_list(session, run_id, workflow, limit))


async def _list(session: Session, run_id: str | None, workflow: str | None, limit: int) -> int:
    import msgspec

    from ..open_hooks import list_hooks
    from .values import print_json

    async with session.opened() as storage:
        hooks = await list_hooks(run_id, workflow_name=workflow, limit=limit, storage=storage)
    if session.as_json:
        print_json([msgspec.structs.asdict(hook) for hook in hooks])
        return 0
    if not hooks:
        print(f"no hook waits for an answer in {session.storage_name}")
        return 0
    from .render import Column, ago, local, print_table

    columns = [
        Column("HOOK"),
        Column("WORKFLOW", drop=1, least=8),
        Column("CREATED", drop=2),
        Column("EXPIRES", drop=3),
        Column("TYPE", drop=4, least=8),
    ]
    rows = [
        (
            f"{hook.run_id}:{hook.hook_id}",
            hook.workflow_name,
            ago(hook.created_at),
            "never" if hook.expires_at is None else local(hook.expires_at),
            hook.schema.rpartition(".")[2] or "any",
        )
        for hook in hooks
    ]
    print_table(columns, rows)
    return 0


async def _answer(session: Session, token: str, payload: str) -> int:
    from pyworkflow_core.errors import WorkflowError

    from ..engine.external import resume_hook
    from .values import parse_value, print_json

    async with session.opened() as storage:
        try:
            result = await resume_hook(token, parse_value(payload), storage=storage)
        except WorkflowError:
            raise
        except ValueError as error:  # the answer does not fit the hook's type
            raise UsageError(str(error)) from None
    if session.as_json:
        print_json({"run_id": result.run_id, "hook_id": result.hook_id, "status": result.status})
    else:
        print(f"answered {result.hook_id} of run {result.run_id}; it is due now")
    return 0
