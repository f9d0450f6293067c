"""The template as a stranger has it: wheels in a fresh environment, and the tutorial to the letter.

Needs virtualenv and the package index: `nox -s template` runs it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
TEMPLATE = ROOT / "contrib/backend-template"
RUN_PAGE = ROOT / "tests/docs/run_page.py"
PAGE = ROOT / "docs/tutorial/write-a-backend.md"
LEFT_BY_TOOLS = shutil.ignore_patterns("__pycache__", ".*_cache", ".hypothesis", "dist", "build")

WORKFLOW = """
from pyworkflow import step, workflow

@step
def double(n: int) -> int:
    return 2 * n

@workflow
async def twice(n: int) -> int:
    return await double(await double(n))
"""

pytestmark = [pytest.mark.template, pytest.mark.timeout(1800)]


class Environment:
    """A fresh environment, and an empty folder to work in."""

    def __init__(self, folder: Path) -> None:
        self.work = folder / "work"
        self.work.mkdir()
        self.scripts = folder / "venv/bin"
        subprocess.run([sys.executable, "-m", "virtualenv", "--quiet", str(folder / "venv")], check=True)

    def run(self, *command: str | Path, folder: Path | None = None, code: int = 0) -> str:
        """What a command of the environment prints; it must exit with `code`."""
        name, *arguments = map(str, command)
        env = {n: v for n, v in os.environ.items() if n not in {"PYTHONPATH", "VIRTUAL_ENV", "COVERAGE_FILE"}}
        done = subprocess.run(
            [str(self.scripts / name), *arguments],
            cwd=folder or self.work,
            env=env | {"PATH": f"{self.scripts}{os.pathsep}{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=False,
            timeout=1200,
        )
        assert done.returncode == code, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def install(self, *requirements: str) -> None:
        self.run("python", "-m", "pip", "install", "--quiet", *requirements)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the template, so that nothing is written into the checkout."""
    folder = tmp_path_factory.mktemp("copy") / "pyworkflow-lmdb"
    shutil.copytree(TEMPLATE, folder, ignore=LEFT_BY_TOOLS)
    return folder


@pytest.fixture(scope="module")
def wheels(template: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The wheels of the project and of the template."""
    dist = tmp_path_factory.mktemp("dist")
    for source in (ROOT, template):
        command = ["pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(dist), str(source)]
        subprocess.run([sys.executable, "-m", *command], check=True)
    return {wheel.name.partition("-")[0]: wheel for wheel in dist.glob("*.whl")}


@pytest.fixture(scope="module")
def installed(wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment with both, what they need, and what the template's developers need."""
    environment = Environment(tmp_path_factory.mktemp("installed"))
    environment.install(f"{wheels['pyworkflow_core']}[testing]", f"{wheels['pyworkflow_lmdb']}[dev]")
    return environment


def test_the_wheel_of_the_template_has_its_package_typed_and_nothing_else(wheels: dict[str, Path]) -> None:
    names = zipfile.ZipFile(wheels["pyworkflow_lmdb"]).namelist()
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"pyworkflow_lmdb"}
    assert {"pyworkflow_lmdb/py.typed", "pyworkflow_lmdb/golden/format-1/data.mdb"} <= set(names)
    assert any(name.endswith("/licenses/LICENSE") for name in names)


def test_the_installed_backend_is_listed(installed: Environment) -> None:
    listed = [line.split()[:4] for line in installed.run("pyworkflow", "backends").splitlines()]
    assert ["lmdb", "yes", "pyworkflow-lmdb", "0.1.0"] in listed
    installed.run("python", "-m", "pip", "check")


def test_the_installed_backend_runs_a_workflow_and_keeps_its_log(installed: Environment) -> None:
    (installed.work / "numbers_.py").write_text(WORKFLOW)
    storage = ("--storage", f"lmdb://{installed.work.resolve()}/runs")
    assert "completed" in installed.run("pyworkflow", "run", "numbers_.py:twice", "5", *storage)
    listed = installed.run("pyworkflow", "runs", "list", *storage)
    assert "twice" in listed
    run_id = next(word for word in listed.split() if word.startswith("run_"))
    assert "20" in installed.run("pyworkflow", "events", run_id, *storage)


def test_the_installed_backend_obeys_the_laws(installed: Environment) -> None:
    said = installed.run("pyworkflow", "conformance", f"lmdb://{installed.work}/laws", "--profile", "quick")
    assert "pyworkflow-lmdb 0.1.0" in said
    assert "suite 1.0" in said


def test_a_namespace_in_the_url_goes_where_it_says(installed: Environment) -> None:
    url = f"lmdb://{installed.work}/by-name/{{namespace}}/store"
    assert "core 1/1" in installed.run("pyworkflow", "conformance", url, "--profile", "quick", "--law", "55")


def test_the_templates_own_tests_types_and_style_pass(installed: Environment, template: Path) -> None:
    assert " passed" in installed.run("python", "-m", "pytest", "-q", folder=template)
    installed.run("mypy", folder=template)
    installed.run("mypy", "--strict", "tests", folder=template)
    installed.run("ruff", "check", ".", folder=template)
    installed.run("ruff", "format", "--check", ".", folder=template)


def test_the_tutorial_leads_from_an_empty_folder_to_a_backend_that_obeys_the_laws(
    wheels: dict[str, Path], tmp_path: Path
) -> None:
    environment = Environment(tmp_path)
    environment.install(f"{wheels['pyworkflow_core']}[testing]")
    said = environment.run("python", RUN_PAGE, "--walk", PAGE)
    assert "suite 1.0" in said
    assert (environment.work / "pyworkflow-lmdb/pyworkflow_lmdb/backend.py").exists()
