"""The page of the laws has a section for each, in the words of the table, and each says three things."""

from __future__ import annotations

import re
from pathlib import Path

from pyworkflow_core.testing.laws.table import LAWS

PAGE = (Path(__file__).parents[2] / "docs/reference/laws.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^### Law (\d+: .*)\n\n((?:(?!^#).*\n)*)", PAGE, re.M))


def test_every_law_has_a_section_titled_by_its_sentence() -> None:
    assert sorted(SECTIONS) == sorted(f"{law.number}: {law.sentence}" for law in LAWS.values())


def test_every_section_says_what_a_law_means_why_it_matters_and_what_breaks_it() -> None:
    for title, text in SECTIONS.items():
        meaning, why, broken = text.strip().split("\n\n")
        assert len(meaning) > 40, title
        assert why.startswith("*Why:* "), title
        assert broken.startswith("*Typically broken by:* "), title


def test_the_page_names_the_number_of_laws_there_are() -> None:
    assert f"There are {len(LAWS)} laws" in PAGE
    assert sorted(LAWS) == list(range(1, len(LAWS) + 1))
