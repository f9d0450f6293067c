"""`pyworkflow run` of a workflow that wants no log: what it returned is said here, or nowhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .failures import CommandFailed
from .session import Session

if TYPE_CHECKING:
    from ..definitions import WorkflowDefinition


async def run_without_a_log(
    session: Session,
    workflow: WorkflowDefinition[Any, Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    options: dict[str, Any],
    is_of_the_run: Callable[[Exception], bool],
) -> int:
    """Run it to its end; the exit code."""
    from ..engine.control import start
    from ..engine.transient import TransientRun
    from .render import status
    from .values import print_json, to_text

    try:
        run = await start(workflow, *args, **options, **kwargs)
    except Exception as error:
        if not is_of_the_run(error):
            raise
        raise CommandFailed(f"the run failed: {type(error).__name__}: {error}") from error
    assert isinstance(run, TransientRun)
    if session.as_json:
        found = {"run_id": str(run), "workflow_name": workflow.name, "status": str(run.status)}
        print_json({**found, "result": run.result, "durable": False})
    else:
        print(f"run     {run}, without a log")
        print(f"status  {status(run.status)}")
        print(f"result  {to_text(run.result)}")
    return 0
