"""The layers hold, and the contracts that keep them notice when they do not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[2]
CONFIG = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = {
    Path(path).name: path for path in CONFIG["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
}
CORE_MAY_IMPORT = {"msgspec", "pluggy"}

# Python's own, with what came after the version that runs this.
STANDARD = {*sys.stdlib_module_names, "annotationlib"}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the import packages, beside each other, with the contracts."""
    for name, path in PACKAGES.items():
        shutil.copytree(ROOT / path, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        (tmp_path / name / "__init__.py").touch()
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def check(tree: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter on the copy, which stands before the installed packages."""
    return subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()", "--no-cache"],
        cwd=tree,
        env=os.environ | {"PYTHONPATH": str(tree)},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )


def test_the_code_keeps_its_layers(tree: Path) -> None:
    done = check(tree)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("module", "statement"),
    [
        ("pyworkflow_core/wrong.py", "import pyworkflow"),
        ("pyworkflow_core/wrong.py", "import pyworkflow_file"),
        ("pyworkflow_core/wrong.py", "def late():\n    import pyworkflow"),
        ("pyworkflow_core/wrong.py", "import typer"),
        ("pyworkflow_core/wrong.py", "from rich import print"),
        ("pyworkflow_core/wrong.py", "import hypothesis"),
        ("pyworkflow_file/wrong.py", "import pyworkflow"),
        ("pyworkflow_file/wrong.py", "import pyworkflow_memory"),
        ("pyworkflow_memory/wrong.py", "from pyworkflow import _ownership"),
    ],
)
def test_an_import_against_the_layers_is_refused(tree: Path, module: str, statement: str) -> None:
    (tree / module).write_text(statement + "\n")
    done = check(tree)
    assert done.returncode != 0
    assert Path(module).with_suffix("").as_posix().replace("/", ".") in done.stdout, done.stdout


def test_the_front_door_may_import_everything_below_it(tree: Path) -> None:
    (tree / "pyworkflow/right.py").write_text("import pyworkflow_core\nimport pyworkflow_file\nimport rich\n")
    done = check(tree)
    assert done.returncode == 0, done.stdout


def test_every_import_package_is_under_the_contracts() -> None:
    contracts = CONFIG["tool"]["importlinter"]
    assert set(contracts["root_packages"]) == set(PACKAGES)
    layered = " | ".join(contracts["contracts"][0]["layers"]).split(" | ")
    assert set(layered) == set(PACKAGES)
    assert set(CONFIG["tool"]["mypy"]["packages"]) == set(PACKAGES)
    assert set(CONFIG["tool"]["coverage"]["run"]["source_pkgs"]) == set(PACKAGES)


def _foreign_imports(tree: Path, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    monkeypatch.syspath_prepend(str(tree))
    graph = grimp.build_graph("pyworkflow_core", include_external_packages=True, cache_dir=None)
    inside = {m for m in graph.modules if m.split(".")[0] == "pyworkflow_core"}
    shipped_tests = {m for m in inside if m.startswith("pyworkflow_core.testing")}
    found = {name for m in inside - shipped_tests for name in graph.find_modules_directly_imported_by(m)}
    return {name.split(".")[0] for name in found} - {"pyworkflow_core"} - STANDARD


def test_the_core_imports_msgspec_and_pluggy_and_nothing_else(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _foreign_imports(tree, monkeypatch) <= CORE_MAY_IMPORT


def test_nothing_in_the_core_imports_the_shipped_tests() -> None:
    graph = grimp.build_graph("pyworkflow_core", cache_dir=None)
    testing = {m for m in graph.modules if m.startswith("pyworkflow_core.testing")}
    users = {u for m in testing for u in graph.find_modules_that_directly_import(m)}
    assert users - testing == set()
