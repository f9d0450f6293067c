"""The suite in pytest: one import, one subclass, and every law is a test."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pyworkflow_core.testing import BackendConformance
from pyworkflow_core.testing.laws.registry import all_checks

HEAD = """
from contextlib import asynccontextmanager
from planted import Careless, Gone, RamStore
from pyworkflow_core.testing import BackendConformance, known_failure


class TestStore(BackendConformance):
    store = {store}
    known_failures = ({known})

    @asynccontextmanager
    async def open(self, namespace, clock):
        async with self.store(namespace) as store:
            yield store
"""


def run_pytest(
    folder: Path, store: str, select: str, known: str = "", **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run some of the laws on a store, as an author does."""
    (folder / "test_store.py").write_text(HEAD.format(store=store, known=known))
    env = {k: v for k, v in os.environ.items() if k not in ("CI", "PYTEST_ADDOPTS")}
    env |= {"PYTHONPATH": str(Path(__file__).parent), **environment}
    command = [sys.executable, "-m", "pytest", "-q", "-rsx", "-p", "no:cacheprovider", "-k", select]
    return subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=100
    )


def test_every_check_is_a_test_named_by_its_law() -> None:
    names = {f"test_law_{check.law:02}_{check.name}" for check in all_checks()}
    assert names <= set(vars(BackendConformance))
    assert BackendConformance.__name__[:4] != "Test", "pytest would collect it where it is imported"


def test_overriding_a_law_is_refused_when_the_class_is_made() -> None:
    name = next(name for name in vars(BackendConformance) if name.startswith("test_law_04"))
    with pytest.raises(TypeError, match="a law cannot be overridden"):
        type("TestMine", (BackendConformance,), {name: lambda self: None})
    with pytest.raises(TypeError, match="known_failure"):
        type("TestMine", (BackendConformance,), {"test_random_programs": None})


def test_a_correct_store_passes_and_what_it_does_not_declare_is_skipped(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, "RamStore", "law_01 or law_04 or law_46")
    assert done.returncode == 0, done.stdout
    assert "not declared" in done.stdout


def test_a_failure_is_the_law_its_words_and_the_program(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, "Careless", "law_04")
    assert done.returncode == 1, done.stdout
    assert "LAW 4 (log): an append of 1 events that expects 1 where the head is" in done.stdout
    program = tmp_path / "again.py"
    text = done.stdout[done.stdout.index('"""LAW 4') :]
    program.write_text(text[: text.index("seed=0)") + len("seed=0)\n")])
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    again = subprocess.run(
        [sys.executable, program], env=env, capture_output=True, text=True, check=False, timeout=60
    )
    assert again.returncode == 1
    assert "LAW 4 (log): an append of 1 events that expects 1" in again.stderr


def test_a_known_failure_is_expected_and_strict(tmp_path: Path) -> None:
    known = 'known_failure(4, "stale appends pass", "bug 7"),'
    done = run_pytest(tmp_path, "Careless", "law_04", known)
    assert done.returncode == 0, done.stdout
    assert "stale appends pass (bug 7)" in done.stdout
    done = run_pytest(tmp_path, "RamStore", "law_04", known)
    assert done.returncode == 1
    assert "law 4 is a known failure, but it holds" in done.stdout


def test_a_storage_out_of_reach_skips_here_and_fails_in_continuous_integration(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, "Gone", "law_04")
    assert done.returncode == 0, done.stdout
    assert "no server at nowhere:1" in done.stdout
    assert run_pytest(tmp_path, "Gone", "law_04", CI="true").returncode == 1
