"""`pyworkflow hooks`: answer what a run waits for."""

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
