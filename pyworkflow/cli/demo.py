"""`pyworkflow demo`: see a killed run go on, on files of your own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .session import Session


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
    """
    from ..demo.parent import run_demo

    return run_demo(folder, output, storage=session.url, as_json=session.as_json)
