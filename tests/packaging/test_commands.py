"""What the pages tell people to run is there, and continuous integration runs the same."""

from __future__ import annotations

import ast
import os
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
CI = ROOT / ".ci/run"
NOXFILE = ROOT / "noxfile.py"


def _sessions() -> dict[str, str]:
    """Each session of the noxfile with its docstring."""
    tree = ast.parse(NOXFILE.read_text(encoding="utf-8"))
    found = {}
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef):
            continue
        for decorator in node.decorator_list:
            if "session" in ast.unparse(decorator):
                options = decorator.keywords if isinstance(decorator, ast.Call) else []
                named = [ast.literal_eval(option.value) for option in options if option.arg == "name"]
                found[named[0] if named else node.name] = ast.get_docstring(node) or ""
    return found


def test_every_nox_session_says_what_it_does_on_one_line() -> None:
    assert {name: text for name, text in _sessions().items() if not text or "\n" in text} == {}


def test_every_nox_session_that_a_page_names_exists() -> None:
    pages = [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        CI,
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("*/README.md"),
    ]
    named = set()
    for page in pages:
        for command in re.findall(r"nox [^\n`]*?-s ((?:[\w.-]+ ?)+)", page.read_text(encoding="utf-8")):
            named |= {word for word in command.partition("-- ")[0].split() if not word.startswith("-")}
    assert {"tests", "lint", "packaging"} <= named
    assert named - set(_sessions()) == set()


def test_continuous_integration_runs_the_test_command_of_the_readme() -> None:
    (command,) = re.findall(r"^\$ (.*nox -s tests)$", (ROOT / "README.md").read_text(), re.M)
    lines = CI.read_text().splitlines()
    parts = command.split(" && ")
    first = lines.index(parts[0])
    assert lines[first : first + len(parts)] == parts


def test_the_script_of_continuous_integration_can_be_executed() -> None:
    assert os.access(CI, os.X_OK)
    assert CI.read_text().startswith("#!/usr/bin/env bash\n")
    assert "set -euo pipefail" in CI.read_text()
