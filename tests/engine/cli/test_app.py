"""The commands as a whole: help, version, completion, and that the reference has every option."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from pyworkflow import __version__
from pyworkflow.cli.app import app

COMMANDS = [
    ["demo"],
    ["run"],
    ["resume"],
    ["events"],
    ["worker"],
    ["backends"],
    ["conformance"],
    ["runs", "list"],
    ["runs", "show"],
    ["runs", "cancel"],
    ["runs", "retry"],
    ["runs", "delete"],
    ["runs", "prune"],
    ["hooks", "list"],
    ["hooks", "answer"],
    ["schedules", "list"],
    ["schedules", "show"],
    ["schedules", "create"],
    ["schedules", "pause"],
    ["schedules", "resume"],
    ["schedules", "trigger"],
    ["schedules", "backfill"],
    ["schedules", "delete"],
    ["streams", "list"],
    ["streams", "show"],
    ["streams", "emit"],
    ["streams", "terminate"],
    ["storage", "init"],
    ["storage", "migrate"],
    ["storage", "check"],
]


GROUPS = [["runs"], ["hooks"], ["schedules"], ["streams"], ["storage"]]


@pytest.mark.parametrize("words", [[], *GROUPS, *COMMANDS], ids=" ".join)
@pytest.mark.parametrize("columns", ["60", "80"])
def test_help_explains_every_command_and_fits(words: list[str], columns: str) -> None:
    done = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": columns, "TERMINAL_WIDTH": columns})
    assert done.exit_code == 0
    assert done.output.startswith("Usage: ")
    assert max(map(len, done.output.splitlines())) <= 80


def test_the_list_of_this_file_has_every_command() -> None:
    found = []
    root = typer.main.get_command(app)
    for name, command in root.commands.items():  # type: ignore[attr-defined]
        inner = getattr(command, "commands", None)
        found += [[name, one] for one in inner] if inner else [[name]]
    assert sorted(found) == sorted(COMMANDS)


def test_the_version_is_that_of_the_package(cli: Any) -> None:
    assert cli("--version").stdout == f"pyworkflow-core {__version__}\n"


def test_help_imports_neither_the_engine_nor_a_backend() -> None:
    code = (
        "import sys; from pyworkflow.cli import main; main(['--help']); "
        "heavy = ('pyworkflow.engine', 'pyworkflow_file', 'rich.', 'msgspec'); "
        "print([m for m in sys.modules if m.startswith(heavy)])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def complete(cli: Any, line: str) -> list[str]:
    """What bash would offer at the end of the line."""
    words = line.split(" ")
    environment = {
        "_PYWORKFLOW_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
    }
    return sorted(cli(code=None, **environment).stdout.split())


def test_the_shell_completes_commands_ids_statuses_and_backends(cli: Any, suspended: str) -> None:
    assert complete(cli, "pyworkflow ru") == ["run", "runs"]
    assert complete(cli, "pyworkflow events run_") == [suspended]
    assert complete(cli, "pyworkflow events --storage file:other run_") == []
    assert complete(cli, "pyworkflow runs list --status co") == ["completed", "continued_as_new"]
    assert complete(cli, "pyworkflow runs list --storage f") == ["file:"]


def test_completion_stays_silent_where_it_cannot_work(cli: Any) -> None:
    (Path(cli.folder) / ".pyworkflow").write_text("no folder")
    assert complete(cli, "pyworkflow events run_") == []
