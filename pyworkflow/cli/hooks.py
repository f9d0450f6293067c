"""`pyworkflow hooks`: what runs wait for, and answering it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .completion import complete_run
from .failures import UsageError
from .filters import QueueOption, WorkflowOption, filters_of
from .session import Session
from .session import run as run_async

if TYPE_CHECKING:
    from pyworkflow_core.record import RunRecord
    from pyworkflow_core.storage import RunQuery, StorageBackend


def list_hooks(
    session: Session,
    run_id: Annotated[
        str | None,
        typer.Argument(metavar="[RUN]", help="Only hooks of this run.", autocompletion=complete_run),
    ] = None,
    workflow: WorkflowOption = None,
    queue: QueueOption = None,
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="How many at most.")] = 20,
) -> int:
    """List the hooks that wait for an answer; those of the newest runs first."""
    return run_async(_list(session, run_id, filters_of(workflow=workflow, queue=queue), limit))


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


async def _list(session: Session, run_id: str | None, filters: dict[str, Any], limit: int) -> int:
    from pyworkflow_core.events import from_micros

    from ..engine.history import envelopes_of, hooks_of
    from ..filters import GOING_ON, run_query
    from .render import Column, ago, print_table
    from .run import find_run
    from .values import print_json

    found: list[dict[str, Any]] = []
    async with session.opened() as storage:
        if run_id is not None:
            await find_run(session, storage, run_id)
        async for record in _waiting(storage, run_id, run_query(status=GOING_ON, **filters)):
            if len(found) >= limit:
                break
            history = envelopes_of(await storage.read(record.run_id))
            found += [
                {
                    "run_id": record.run_id,
                    "workflow_name": record.workflow,
                    "hook_id": f"{name}#{ordinal}",
                    "expires_at": None
                    if state.created.expires_at is None
                    else from_micros(state.created.expires_at),
                }
                for (name, ordinal), state in hooks_of(history).items()
                if state.status == "open"
            ]
    del found[limit:]
    if session.as_json:
        print_json(found)
        return 0
    if not found:
        print(f"no run waits for an answer in {session.storage_name}")
        return 0
    columns = [Column("RUN:HOOK"), Column("WORKFLOW", drop=1, least=8), Column("EXPIRES", drop=2)]
    print_table(
        columns,
        [
            (
                f"{hook['run_id']}:{hook['hook_id']}",
                hook["workflow_name"],
                ago(hook["expires_at"]) if hook["expires_at"] else "-",
            )
            for hook in found
        ],
    )
    return 0


async def _waiting(storage: StorageBackend, run_id: str | None, query: RunQuery) -> AsyncIterator[RunRecord]:
    """The records of one run, or of all runs that match."""
    from ..filters import find_all

    if run_id is None:
        async for record in find_all(storage, query):
            yield record
    elif (found := await storage.get(run_id)) is not None and query.matches(found):
        yield found


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
