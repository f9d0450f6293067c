"""Rules that every file of the project keeps."""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import re
import statistics
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAX_LINES = 500
MEDIAN_LINES = 200
NO_MODULE_IS_CALLED = {"utils", "util", "helpers", "helper", "common", "manager", "misc"}
SKIPPED_FOLDERS = {"build", "dist", "site", "node_modules", "__pycache__", "pyworkflow-demo"}
TEXT = {".py", ".md", ".toml", ".cfg", ".ini", ".yaml", ".yml", ".sh", ".txt", ".sql", ".lua", ".json", ""}
# Written in pieces, so that this file keeps its own rule.
FORBIDDEN = {
    "a registry host": re.compile("pypi" + r"\.org|python" + r"hosted|index-" + r"url", re.I),
    "a path of one machine": re.compile(r"(?<![\w.}/])/" + r"(?:root|work)\b"),
    "a folder beside the project": re.compile(r"\.\./" + "shared|shared/" + "(?:design|reference)"),
}
# A folder of tests stands for a folder of code, and so do the folders in it.
MIRRORS = {
    "core": "pyworkflow_core",
    "engine": "pyworkflow",
    "backends": "backends",
    "contrib": "contrib",
    "packaging": ".",
    "docs": "docs",
    "benchmarks": "benchmarks",
    "servers": "tests/servers",  # a tool of the tests, which keeps its own beside it
}


def _functions(path: Path) -> list[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [n.name for n in tree.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]


def _files() -> Iterator[Path]:
    """Every file of the project; environments and build products are none of it."""
    for folder, folders, names in os.walk(ROOT):
        here = Path(folder)
        folders[:] = [name for name in sorted(folders) if _is_ours(here / name)]
        yield from (here / name for name in sorted(names) if not name.startswith("."))


def _is_ours(folder: Path) -> bool:
    hidden = folder.name.startswith(".") and folder.name != ".ci"
    return not hidden and folder.name not in SKIPPED_FOLDERS and not (folder / "pyvenv.cfg").exists()


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


FILES = list(_files())
PYTHON = [path for path in FILES if path.suffix == ".py"]
# What is in contrib has tests of its own, which leave with it.
TESTS = [path for path in PYTHON if "tests" in path.relative_to(ROOT).parts[:3]]
LINES = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in PYTHON}


def test_no_python_file_is_over_500_lines() -> None:
    assert {_name(path): lines for path, lines in LINES.items() if lines > MAX_LINES} == {}


def test_the_median_python_file_is_under_200_lines() -> None:
    written = [lines for path, lines in LINES.items() if path not in TESTS and lines]
    assert statistics.median(written) < MEDIAN_LINES


def test_no_module_has_a_name_that_says_nothing() -> None:
    named = {_name(path) for path in PYTHON if {path.stem.strip("_"), path.parent.name} & NO_MODULE_IS_CALLED}
    assert named == set()


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_file_names_what_only_one_machine_has(what: str) -> None:
    found = []
    for path in FILES:
        if path.suffix not in TEXT or path.name == "LICENSE":
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            if FORBIDDEN[what].search(line):
                found.append(f"{_name(path)}:{number}: {line.strip()}")
    assert found == []


@pytest.mark.parametrize(
    ("what", "line"),
    [
        ("a registry host", "https://" + "pypi" + ".org/simple"),
        ("a path of one machine", "see /" + "root/.cache"),
        ("a path of one machine", "'/" + "work/tree'"),
        ("a folder beside the project", ".." + "/shared/notes"),
    ],
)
def test_the_search_for_forbidden_words_finds_them(what: str, line: str) -> None:
    assert FORBIDDEN[what].search(line)


def test_every_test_is_named_by_a_sentence() -> None:
    short = []
    for path in TESTS:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = node.name if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else ""
            if name.startswith("test_") and len(re.findall(r"[^_]+", name)) < 4:
                short.append(f"{_name(path)}: {name}")
    assert short == []


def test_every_test_stands_where_its_code_does() -> None:
    strays = []
    for path in TESTS:
        if not path.is_relative_to(ROOT / "tests"):
            continue
        folders = path.relative_to(ROOT / "tests").parts[:-1]
        if not path.name.startswith("test_") or not folders:
            continue
        code = MIRRORS.get(folders[0])
        if code is None or not (ROOT / code / Path(*folders[1:])).is_dir():
            strays.append(_name(path))
    assert strays == []


def test_no_two_tests_of_one_file_share_a_name() -> None:
    shadowed = []
    for path in TESTS:
        names = _functions(path)
        shadowed += [f"{_name(path)}: {name}" for name in set(names) if names.count(name) > 1]
    assert shadowed == []


def _modules_with_exports() -> list[str]:
    """Public modules that say what they export, found without importing any."""
    names = []
    for path in PYTHON:
        parts = path.relative_to(ROOT).with_suffix("").parts
        inside = parts[0] in ("pyworkflow_core", "pyworkflow")
        public = not any(part.startswith("_") for part in parts if part != "__init__")
        if inside and public and re.search(r"^__all__\b", path.read_text(encoding="utf-8"), re.M):
            names.append(".".join(part for part in parts if part != "__init__"))
    return names


@pytest.mark.parametrize("name", _modules_with_exports() or ["pyworkflow"])
def test_every_exported_name_exists_and_has_a_docstring(name: str) -> None:
    module = importlib.import_module(name)
    exports = list(getattr(module, "__all__", ()))
    assert len(set(exports)) == len(exports), "a name is exported twice"
    assert [export for export in exports if not hasattr(module, export)] == []
    assert [export for export in exports if not _is_documented(getattr(module, export))] == []


def _is_documented(value: object) -> bool:
    if inspect.isclass(value) or inspect.isroutine(value) or isinstance(value, types.ModuleType):
        return bool((value.__doc__ or "").strip())
    return True  # a constant has the docstring of its type, and says nothing by it


def test_every_module_says_what_it_is_for() -> None:
    code = [path for path in PYTHON if path not in TESTS or path.name.startswith(("test_", "conftest"))]
    silent = [p for p in code if p.read_text().strip() and not ast.get_docstring(ast.parse(p.read_text()))]
    assert [_name(path) for path in silent] == []


def test_the_reference_lists_exactly_what_the_front_door_exports() -> None:
    exported = set(getattr(importlib.import_module("pyworkflow"), "__all__", ()))
    pages = [ROOT / "docs/reference/api.md", *sorted((ROOT / "docs/reference").glob("api/*.md"))]
    documented = set()
    for page in pages:
        documented |= set(re.findall(r"^#{2,4} `(?:@|await )?(\w+)", page.read_text(encoding="utf-8"), re.M))
    assert documented - exported == set(), "documented, but not exported"
    assert exported - documented == set(), "exported, but not documented"
