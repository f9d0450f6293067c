"""Every benchmark and every peer can be run, and is known to the sessions."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPTS = {
    path.stem
    for path in (ROOT / "benchmarks").glob("*.py")
    if "def main() -> None" in path.read_text("utf-8")
}
# These have sessions of their own.
OTHERS = {"beside_peers", "scale"}


def _assigned(path: Path, name: str) -> object:
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return ast.literal_eval(node.value)
    raise AssertionError(f"{path.name} assigns no {name}")


def test_the_bench_session_runs_every_script() -> None:
    listed = _assigned(ROOT / "noxfile.py", "BENCHMARKS")
    assert isinstance(listed, tuple)
    assert set(listed) == SCRIPTS - OTHERS


def test_every_script_names_the_bars_that_it_is_for() -> None:
    said = {
        int(number)
        for name in SCRIPTS
        for numbers in re.findall(r"\(bars? ([\d, ]+)\)", (ROOT / f"benchmarks/{name}.py").read_text("utf-8"))
        for number in numbers.split(",")
    }
    assert said == set(range(1, 10))


def test_every_peer_has_a_script_and_pinned_requirements() -> None:
    scripts = {path.stem.removeprefix("on_") for path in (ROOT / "benchmarks/peers").glob("on_*.py")}
    pinned = {path.stem: path.read_text() for path in (ROOT / "benchmarks/peers/requirements").glob("*.txt")}
    assert set(pinned) == scripts - {"ours"}
    loose = [line for text in pinned.values() for line in text.splitlines() if "==" not in line]
    assert loose == []


def test_the_scripts_of_peers_need_nothing_of_this_project() -> None:
    ours = {"pyworkflow_core", "frame", "file_store", "sql_stores", "step"}
    for path in (ROOT / "benchmarks/peers").glob("on_*.py"):
        if path.stem == "on_ours":
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        names |= {each.name for node in ast.walk(tree) if isinstance(node, ast.Import) for each in node.names}
        assert {str(name).partition(".")[0] for name in names} & ours == set(), path.name
