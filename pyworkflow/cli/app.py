"""The commands there are. What they do is imported when one of them runs."""

from __future__ import annotations

from typing import Annotated

import typer

from .. import __version__
from . import backends, conformance, demo, events, hooks, run, runs, storage, worker
from .session import DebugOption, JsonOption, StorageOption, command

app = typer.Typer(
    name="pyworkflow",
    help="Durable workflows: start them, look at them, go on with them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    # Plain help is quicker by half, and reads well at every width.
    rich_markup_mode=None,
)
runs_app = typer.Typer(help="Look at runs, and cancel them.", no_args_is_help=True, rich_markup_mode=None)
hooks_app = typer.Typer(help="Answer what runs wait for.", no_args_is_help=True, rich_markup_mode=None)

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
command(runs_app, "cancel")(runs.cancel)
command(hooks_app, "list")(hooks.list_open)
command(hooks_app, "answer")(hooks.answer)
command(storage_app, "init")(storage.init)
command(storage_app, "migrate")(storage.migrate)
command(storage_app, "check")(storage.check)
app.add_typer(runs_app, name="runs")
app.add_typer(hooks_app, name="hooks")
app.add_typer(storage_app, name="storage")
