"""`pyworkflow run` and `pyworkflow resume`: drive a run here, and say what became of it."""

from __future__ import annotations

import inspect
import os
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .completion import complete_run
from .failures import SUSPENDED, CommandFailed, UsageError
from .session import Session
from .session import run as run_async

if TYPE_CHECKING:
    from pyworkflow_core.storage import StorageBackend

    from ..definitions import WorkflowDefinition
    from ..runs import WorkflowRun

_NOTE = "pyworkflow run: "


def run(
    session: Session,
    target: Annotated[
        str, typer.Argument(metavar="MODULE:WORKFLOW", help="The workflow; FILE.py:WORKFLOW works too.")
    ],
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[ARGS]...",
            help="Arguments: JSON where it is JSON, otherwise text. NAME=VALUE gives one by keyword.",
        ),
    ] = None,
    idempotency_key: Annotated[
        str | None, typer.Option(metavar="KEY", help="Start nothing if a run has this key already.")
    ] = None,
    queue: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only enqueue the run, for the workers of this queue.")
    ] = None,
    priority: Annotated[
        int | None, typer.Option(metavar="N", help="0 is taken first; 5 unless given.")
    ] = None,
    delay: Annotated[
        str | None, typer.Option(metavar="TIME", help="Begin so much later, such as 10m.")
    ] = None,
    concurrency_key: Annotated[
        str | None, typer.Option(metavar="KEY", help="What the queue's limits count the run under.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until the run has ended.")] = False,
) -> int:
    """Start a run of a workflow.

    It is driven here until it ends or suspends.

    Exit code: 0 completed, 3 suspended, 1 failed.
    """
    from .modules import find_workflow
    from .values import parse_arguments

    workflow = find_workflow(target)
    args, kwargs = _bound(workflow, *parse_arguments(arguments or ()))
    options = {
        "idempotency_key": idempotency_key,
        "queue": queue,
        "priority": priority,
        "delay": delay,
        "concurrency_key": concurrency_key,
        "wait": wait,
    }
    return run_async(_start(session, workflow, args, kwargs, options))


def resume(
    session: Session,
    run_id: Annotated[str, typer.Argument(metavar="RUN", help="The run.", autocompletion=complete_run)],
    module: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE", help="The module or file with its workflow. Default: PYWORKFLOW_MODULE."
        ),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until the run has ended.")] = False,
) -> int:
    """Take up a run where it stopped.

    The run was suspended, or its process died. It is driven here until it ends or suspends.

    Exit code: 0 completed, 3 suspended, 1 failed.
    """
    from .modules import load_configured

    load_configured(module)
    return run_async(_resume(session, run_id, wait))


async def _start(
    session: Session,
    workflow: WorkflowDefinition[Any, Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    options: dict[str, Any],
) -> int:
    from pyworkflow_core.ids import IdSource, derive_run_id

    from ..engine.control import start
    from ..engine.engine import Engine, use_engine
    from ..engine.transient import is_transient
    from .transient import run_without_a_log

    if is_transient(workflow, None):
        return await run_without_a_log(session, workflow, args, kwargs, options, _is_of_the_run)
    key = options["idempotency_key"]
    run_id = IdSource().run_id() if key is None else derive_run_id("key", key)

    class KnownRun(IdSource):
        """Draws the id of the run that is begun here before it begins."""

        def run_id(self) -> str:
            return run_id

    async with session.opened() as storage:
        use_engine(Engine(storage, ids=KnownRun()))
        _say_that_it_runs(session, run_id, workflow.name)
        cause: Exception | None = None
        try:
            await start(workflow, *args, storage=storage, **options, **kwargs)
        except Exception as error:
            if not _is_of_the_run(error):
                raise
            cause = error
        except BaseException:
            _say_how_to_go_on(run_id, workflow.name)
            raise
        return await _report(session, storage, run_id, cause, enqueued=options["queue"] is not None)


async def _resume(session: Session, run_id: str, wait: bool) -> int:
    from ..engine.control import resume as resume_run
    from ..engine.engine import engine_for
    from ..engine.results import wait_until_ended
    from ..errors import WorkflowNotRegisteredError

    async with session.opened() as storage:
        before = await find_run(session, storage, run_id)
        cause: Exception | None = None
        if not before.status.is_terminal:
            _say_that_it_runs(session, run_id, before.workflow_name)
            try:
                await resume_run(run_id, storage=storage)
                if wait:
                    await wait_until_ended(engine_for(storage), run_id, here=True)
            except WorkflowNotRegisteredError:
                raise UsageError(
                    f"run {run_id!r} needs workflow {before.workflow_name!r}; say which module or file "
                    "defines it: --module MODULE"
                ) from None
            except Exception as error:
                if not _is_of_the_run(error):
                    raise
                cause = error
            except BaseException:
                _say_how_to_go_on(run_id, before.workflow_name)
                raise
        return await _report(session, storage, run_id, cause)


async def find_run(session: Session, storage: StorageBackend, run_id: str) -> WorkflowRun:
    """The run, or `WorkflowNotFoundError`."""
    from ..errors import WorkflowNotFoundError
    from ..runs import get_workflow_run

    found = await get_workflow_run(run_id, storage)
    if found is None:
        raise WorkflowNotFoundError(f"there is no run {run_id!r} in {session.storage_name}")
    return found


async def find_end(session: Session, storage: StorageBackend, run_id: str) -> WorkflowRun:
    """The run that goes on for this one, itself if it did not continue as new; or `WorkflowNotFoundError`."""
    from ..runs import get_workflow_chain

    await find_run(session, storage, run_id)
    return (await get_workflow_chain(run_id, storage))[-1]


async def _report(
    session: Session,
    storage: StorageBackend,
    run_id: str,
    cause: Exception | None,
    *,
    enqueued: bool = False,
) -> int:
    from .values import print_json, to_text

    run = await find_end(session, storage, run_id)
    if session.as_json:
        from .runs import run_document

        print_json(run_document(run))
    else:
        from .render import local, status

        print(f"run     {run.run_id}")
        print(f"status  {status(run.status)}")
        if run.status == "completed":
            print(f"result  {to_text(run.result)}")
        elif run.wake_at is not None and run.status == "suspended":
            print(f"due     {local(run.wake_at)}")
        elif run.status == "suspended":
            print(f"waits   see 'pyworkflow runs show {run.run_id}'")
    if run.status.is_terminal and run.status != "completed":
        raise CommandFailed(f"run {run.run_id} {_ended(run)}") from cause
    return SUSPENDED if run.status == "suspended" and not enqueued else 0


def _ended(run: WorkflowRun) -> str:
    if run.status == "interrupted":
        return f"was {run.error}"
    return f"failed: {run.error}" if run.status == "failed" else f"was {run.status}"


def _is_of_the_run(error: Exception) -> bool:
    """Whether the workflow raised it: then the run's record says so, and it is reported from there."""
    return any(str(note).startswith(_NOTE) for note in getattr(error, "__notes__", ()))


def _bound(
    workflow: WorkflowDefinition[Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments, checked against the workflow's signature."""
    from ..engine.control import start

    try:
        workflow.bind(args, kwargs)
    except TypeError as error:
        raise UsageError(str(error)) from None
    if kwargs.keys() & inspect.signature(start).parameters.keys():
        # A parameter with the name of an option of `start` has to go in by its place.
        bound = inspect.signature(workflow.func).bind(*args, **kwargs)
        args, kwargs = bound.args, bound.kwargs
        taken = kwargs.keys() & inspect.signature(start).parameters.keys()
        if taken:
            raise UsageError(
                f"workflow {workflow.name!r}: start it from Python; {min(taken)!r} is a word of start()"
            )
    return args, kwargs


def _say_that_it_runs(session: Session, run_id: str, workflow: str) -> None:
    if sys.stderr.isatty() and not session.as_json:
        print(f"run {run_id} of {workflow} …", file=sys.stderr)


def _say_how_to_go_on(run_id: str, workflow: str) -> None:
    """Say it so that the line can be copied: with the module or file that defines the workflow."""
    from ..definitions import list_workflows

    found = list_workflows().get(workflow)
    where = ""
    if found is not None:
        name = found.func.__module__
        where = f" --module {name if '.' in name else os.path.relpath(inspect.getfile(found.func))}"
    print(f"run {run_id} can go on: pyworkflow resume {run_id}{where}", file=sys.stderr)
