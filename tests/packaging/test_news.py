"""News fragments: every one has a type that exists, and says something."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "newsfragments"
CONFIG = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["towncrier"]
TYPES = [kind["directory"] for kind in CONFIG["type"]]
NOT_FRAGMENTS = {"README.md", "template.md"}
FRAGMENT = re.compile(r"\+[a-z0-9][a-z0-9-]*\.(?:" + "|".join(TYPES) + r")\.md")


def problem_of(name: str, text: str) -> str:
    """Why a fragment cannot be taken; empty if it can."""
    if not FRAGMENT.fullmatch(name):
        return f"{name}: the name is +a-few-words.TYPE.md, with TYPE one of {', '.join(TYPES)}"
    if not text.strip():
        return f"{name}: the text is empty"
    if not text.strip().endswith((".", "`", ")", "!")):
        return f"{name}: the text is a full sentence"
    return ""


def test_every_news_fragment_has_a_known_type_and_a_text() -> None:
    found = [path for path in FOLDER.iterdir() if path.name not in NOT_FRAGMENTS and path.name[0] != "."]
    problems = [problem_of(path.name, path.read_text(encoding="utf-8")) for path in sorted(found)]
    assert [problem for problem in problems if problem] == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("+sleep.novelty.md", "Sleeps can be named."),
        ("+sleep.feature.txt", "Sleeps can be named."),
        ("sleep.md", "Sleeps can be named."),
        ("+sleep.feature.md", " \n"),
        ("+sleep.feature.md", "named sleeps"),
    ],
)
def test_a_wrong_news_fragment_is_found(name: str, text: str) -> None:
    assert problem_of(name, text)


def test_every_news_type_is_explained_to_contributors() -> None:
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+)` \|", readme, re.M) == TYPES


def test_the_changelog_has_the_place_where_a_release_is_inserted() -> None:
    assert CONFIG["start_string"] in (ROOT / CONFIG["filename"]).read_text(encoding="utf-8")
