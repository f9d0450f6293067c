"""What may name a run, and how ids are drawn and derived."""

from __future__ import annotations

import random
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyworkflow_core.errors import InvalidIdError
from pyworkflow_core.ids import MAX_ID_BYTES, IdSource, derive_run_id, validate_id


@pytest.mark.parametrize("text", ["", "a\0b", "\0", "x" * 256, "é" * 128, "\ud800", 7, None, b"run"])
def test_what_no_backend_can_store_exactly_is_refused(text: object) -> None:
    with pytest.raises(InvalidIdError):
        validate_id(text)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text", ["a", "A/b", "../x", "run\n", "*", "{tag}", "é", "e\u0301", "x" * 255, "é" * 127]
)
def test_every_other_text_is_taken_as_it_is(text: str) -> None:
    assert validate_id(text) is text


@given(st.text(min_size=1))
def test_the_length_counts_in_bytes(text: str) -> None:
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        size = MAX_ID_BYTES + 1
    if "\0" in text or size > MAX_ID_BYTES:
        with pytest.raises(InvalidIdError):
            validate_id(text)
    else:
        assert validate_id(text) == text


def test_a_derived_id_depends_on_the_parts_and_on_nothing_else() -> None:
    here = derive_run_id("key", "order-7")
    script = "from pyworkflow_core.ids import derive_run_id; print(derive_run_id('key', 'order-7'))"
    there = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert there.stdout.strip() == here
    assert len(here) == 30
    assert derive_run_id("keyo", "rder-7") != here
    assert derive_run_id("key", "order-7", "") != here


def test_a_seeded_source_draws_the_same_ids_again() -> None:
    def draw() -> list[str]:
        ids = IdSource(random.Random(7))
        return [ids.run_id(), ids.event_id(), ids.incarnation(), ids.token()]

    assert draw() == draw()
    assert [len(text) for text in draw()] == [24, 16, 12, 32]


def test_unseeded_sources_draw_different_ids() -> None:
    assert IdSource().run_id() != IdSource().run_id()
