"""`pyworkflow demo`: see a killed run go on, on files of your own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .completion import complete_storage
from .session import Session

DemoStorageOption = Annotated[
    str | None,
    typer.Option(
        "--storage",
        metavar="URL",
        help="Where the run is; a namespace of the demo's own. Default: a folder in the output.",
        autocompletion=complete_storage,
    ),
]


def demo(
    session: Session,
    folder: Annotated[
        Path | None, typer.Argument(metavar="[FOLDER]", help="The files. Default: Python's own library.")
    ] = None,
    output: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Where to write; a new folder, or an earlier demo's.")
    ] = Path("pyworkflow-demo"),
) -> int:
    """Kill a run half way, and see it go on.

    It makes a checksum manifest of a folder, one step a file, kills the process in the middle,
    takes the run up again, and counts which steps ran twice.

    With --storage the run is on the storage that you name: in the namespace pyworkflow_demo, or
    in NAME_demo if the URL has namespace=NAME. A storage whose URLs take no namespace keeps it
    among its other runs, in the queue pyworkflow-demo.
    """
    from ..demo.parent import run_demo

    return run_demo(folder, output, url=session.url, as_json=session.as_json)
