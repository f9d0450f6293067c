"""`pyworkflow worker`: serve runs that are due, until told to stop."""

from __future__ import annotations

import contextlib
import logging
import sys
from typing import Annotated, Any

import typer

from .failures import UsageError
from .session import Session

log = logging.getLogger("pyworkflow.worker")


def worker(
    session: Session,
    module: Annotated[
        str | None,
        typer.Argument(
            metavar="MODULE", help="The module or file with the workflows. Default: PYWORKFLOW_MODULE."
        ),
    ] = None,
    queue: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Only runs of this queue; may be repeated. Default: every queue."),
    ] = None,
    concurrency: Annotated[int, typer.Option(metavar="N", min=1, help="How many runs at once.")] = 100,
    poll_interval: Annotated[
        str, typer.Option(metavar="TIME", help="How often to look for due runs, such as 500ms.")
    ] = "1s",
    once: Annotated[bool, typer.Option("--once", help="Return as soon as no run is due.")] = False,
    cache: Annotated[
        int, typer.Option(metavar="N", min=0, help="How many suspended runs stay in memory.")
    ] = 0,
    health: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|PORT", help="Show the worker's health as JSON: in this file, or on this port."
        ),
    ] = None,
) -> int:
    """Drive runs that are due.

    At SIGTERM or Ctrl-C it takes no more, and lets steps under way end. A second signal cuts
    them off.
    """
    from .modules import load_configured, workflows_of

    loaded = load_configured(module)
    if loaded is None:
        raise UsageError("a worker needs the module that defines the workflows: pyworkflow worker MODULE")
    from ..definitions import SYSTEM, list_workflows

    known = {w.name for w in workflows_of(loaded).values()} | set(list_workflows())
    names = sorted(name for name in known if not name.startswith(SYSTEM)) or sorted(known)
    if not names:
        raise UsageError(f"{loaded.__name__} defines no workflow; decorate an async function with @workflow")
    _log_to_stderr()
    options = {"concurrency": concurrency, "once": once, "cache": cache}
    serving = _make(session, health, queues=queue, poll_interval=_interval(poll_interval), **options)
    queues = f"queue {', '.join(queue)}" if queue else "every queue"
    log.info(
        "serving %s of %s, %d runs at once: %s", queues, session.storage_name, concurrency, ", ".join(names)
    )
    serving.run_until_signal()
    log.info("stopped; runs taken up: %d", serving.driven)
    if session.as_json:
        from .values import print_json

        print_json({"driven": serving.driven})
    return 0


def _make(session: Session, health: str | None, **options: Any) -> Any:
    from ..workers import Worker
    from ..workers.health import shown_health

    class ClosingWorker(Worker):
        """Lets go of the storage in the event loop that used it."""

        async def run(self) -> None:
            async with contextlib.AsyncExitStack() as stack:
                await stack.enter_async_context(session.opened())
                if health is not None:
                    await stack.enter_async_context(shown_health(health, self.health))
                await super().run()

    storage = session.storage()
    return ClosingWorker(storage, **options)


def _interval(text: str) -> float:
    from ..durations import to_duration

    try:
        seconds = float(text) if text.replace(".", "", 1).isdecimal() else text
        return to_duration(seconds, "--poll-interval") / 1e6
    except ValueError as error:
        raise UsageError(str(error)) from None


def _log_to_stderr() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("asyncio").setLevel(logging.WARNING)
