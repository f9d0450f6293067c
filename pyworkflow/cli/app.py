"""The commands there are. What they do is imported when one of them runs."""

from __future__ import annotations

from typing import Annotated

import typer

from .. import __version__
from . import (
    backends,
    conformance,
    demo,
    events,
    hooks,
    run,
    runs,
    schedules,
    storage,
    streams,
    verbs,
    worker,
)
from .session import DebugOption, JsonOption, StorageOption, command

app = typer.Typer(
    name="pyworkflow",
    help="Durable workflows: start them, look at them, go on with them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    # Plain help is quicker by half, and reads well at every width.
    rich_markup_mode=None,
)
runs_app = typer.Typer(
    help="Look at runs, cancel, retry and delete them.", no_args_is_help=True, rich_markup_mode=None
)
hooks_app = typer.Typer(
    help="Look at what runs wait for, and answer.", no_args_is_help=True, rich_markup_mode=None
)

schedules_app = typer.Typer(
    help="Create schedules, look at them, change them.", no_args_is_help=True, rich_markup_mode=None
)
streams_app = typer.Typer(
    help="Look at streams, tell them something, end them.", no_args_is_help=True, rich_markup_mode=None
)
storage_app = typer.Typer(
    help="Make a storage, bring it up to date, say what it is.", no_args_is_help=True, rich_markup_mode=None
)


def _version(asked: bool) -> None:
    if asked:
        print(f"pyworkflow-core {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    url: StorageOption = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    context.obj = {"storage": url, "as_json": as_json}


command(app, "demo", storage=demo.DemoStorageOption)(demo.demo)
command(app, "run")(run.run)
command(app, "resume")(run.resume)
command(app, "events")(events.events)
command(app, "worker")(worker.worker)
command(app, "backends", storage=None)(backends.backends)
command(app, "conformance", storage=None, json=False)(conformance.conformance)
command(runs_app, "list")(runs.list_runs)
command(runs_app, "show")(runs.show)
command(runs_app, "cancel")(verbs.cancel)
command(runs_app, "retry")(verbs.retry)
command(runs_app, "delete")(verbs.delete)
command(runs_app, "prune")(verbs.prune)
command(hooks_app, "list")(hooks.list_open)
command(hooks_app, "answer")(hooks.answer)
command(schedules_app, "list")(schedules.list_all)
command(schedules_app, "show")(schedules.show)
command(schedules_app, "create")(schedules.create)
command(schedules_app, "pause")(schedules.pause)
command(schedules_app, "resume")(schedules.resume)
command(schedules_app, "trigger")(schedules.trigger)
command(schedules_app, "backfill")(schedules.backfill)
command(schedules_app, "delete")(schedules.delete)
command(streams_app, "list")(streams.list_streams)
command(streams_app, "show")(streams.show)
command(streams_app, "emit")(streams.emit_signal)
command(streams_app, "terminate")(streams.terminate_stream)
command(storage_app, "init")(storage.init)
command(storage_app, "migrate")(storage.migrate)
command(storage_app, "check")(storage.check)
app.add_typer(runs_app, name="runs")
app.add_typer(hooks_app, name="hooks")
app.add_typer(schedules_app, name="schedules")
app.add_typer(streams_app, name="streams")
app.add_typer(storage_app, name="storage")
