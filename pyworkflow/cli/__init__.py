"""The command line: `main` runs one command and turns whatever happens into an exit code."""

from __future__ import annotations

import contextlib
import os
import sys

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """Run the command that `arguments` name, those of the process unless given.

    Returns:
        The exit code; the reference lists them.
    """
    # Names of files need not be text, and a terminal need not know every character.
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output has gone. What is left of it goes nowhere, and so does a complaint.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 128 + 13
    except KeyboardInterrupt:
        return 130
    return code


def _run(arguments: list[str] | None) -> int:
    from .app import app

    try:
        return int(app(arguments, prog_name="pyworkflow", standalone_mode=False) or 0)
    except (KeyboardInterrupt, BrokenPipeError):
        raise
    except BaseException as error:
        if isinstance(error.__context__, BrokenPipeError):  # typer made an exit of it
            raise BrokenPipeError from None
        from .failures import report

        return report(error, arguments)
