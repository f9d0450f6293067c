"""The pages that follow from the code say what the code says."""

from __future__ import annotations

import importlib.util
import re
import types
from pathlib import Path

import pytest

from pyworkflow_core import errors
from pyworkflow_core.payloads import EventType

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def generate() -> types.ModuleType:
    """The script, which is no part of a package."""
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs/generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_generated_page_is_current(generate: types.ModuleType) -> None:
    assert generate.stale_pages() == [], "run: python docs/generate.py"


def test_the_events_page_has_every_type_once_and_no_other(generate: types.ModuleType) -> None:
    titles = re.findall(r"^## `(\w+)`$", generate.events_page(), re.M)
    assert titles == [kind.value for kind in EventType]


def test_the_errors_page_has_every_class_of_the_tree(generate: types.ModuleType) -> None:
    page = generate.errors_page()
    classes = {n for n, v in vars(errors).items() if isinstance(v, type) and v.__module__ == errors.__name__}
    assert set(re.findall(r"^## `(\w+)`$", page, re.M)) == classes
    drawn = re.findall(r"^[│├└─ ]*(\w+Error|[A-Z]\w+)\b", page.split("```")[1], re.M)
    assert set(drawn) - {"CancelledError"} == classes, "the tree in the docstring is not the tree in the code"


def test_a_stale_page_is_found(
    generate: types.ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generate, "REFERENCE", tmp_path)
    assert generate.main(["--check"]) == 1
    assert generate.main([]) == 0
    assert generate.main(["--check"]) == 0
    (tmp_path / "events.md").write_text("old")
    assert generate.stale_pages() == ["events.md"]


def test_a_docstring_with_sections_becomes_lists_and_fences(generate: types.ModuleType) -> None:
    text = "Do it.\n\nExample::\n\n    do(1)\n\nThen rest.\n\nArgs:\n    what: the ``thing``.\n"
    assert generate._reformat(text) == (
        "Do it.\n\nExample:\n\n```text\n\ndo(1)\n\n```\n\nThen rest.\n\n**Args**\n\n- `what`: the `thing`.\n"
    )
