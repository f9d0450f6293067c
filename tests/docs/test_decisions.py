"""Decision pages are numbered, listed and complete, and the one on dependencies is true."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs/decisions"
PAGES = sorted(FOLDER.glob("[0-9]*.md"))


def test_decision_pages_are_numbered_without_a_gap() -> None:
    assert [page.name[:5] for page in PAGES] == [f"{number:04}-" for number in range(1, len(PAGES) + 1)]


def test_the_index_lists_every_decision_in_order() -> None:
    listed = re.findall(r"^- \[(\d{4}: .+)\]\((.+)\)$", (FOLDER / "index.md").read_text(), re.M)
    titles = [page.read_text().splitlines()[0].removeprefix("# ") for page in PAGES]
    assert listed == list(zip(titles, [page.name for page in PAGES], strict=True))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_decision_has_context_decision_and_consequences(page: Path) -> None:
    text = page.read_text()
    assert text.startswith(f"# {page.name[:4]}: ")
    assert re.findall(r"^## (.+)$", text, re.M) == ["Context", "Decision", "Consequences"]
    assert re.search(r"^\*\*Status:\*\* \w+", text, re.M)


def _names(requirements: list[Any]) -> set[str]:
    return {re.split(r"[\[<>=~! ]", r)[0].lower() for r in requirements if isinstance(r, str)}


def test_every_dependency_has_a_reason_and_every_reason_a_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = _names(project["project"]["dependencies"])
    for group in project["dependency-groups"].values():
        wanted |= _names(group)
    rows = re.findall(r"^\| ([\w-]+) \| (.+) \|$", (FOLDER / "0002-dependencies.md").read_text(), re.M)
    assert {name for name, _ in rows} - {"library", "tool"} == wanted
