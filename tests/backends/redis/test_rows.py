"""Rows: what is written is read back, whatever is in it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyworkflow_core.errors import CorruptLog
from pyworkflow_core.events import Event
from pyworkflow_core.record import RunRecord, RunStatus
from pyworkflow_redis.rows import decode_events, decode_row, encode_event, encode_row

NAMES = st.text(
    st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), min_size=1, max_size=20
)
TEXT = st.text(st.characters(blacklist_categories=["Cs"]), max_size=20)
NUMBERS = st.integers(-(2**63), 2**63 - 1)
RECORDS = st.builds(
    RunRecord,
    run_id=st.just("run"),
    incarnation=NAMES,
    head=st.integers(1, 2**63 - 1),
    status=st.sampled_from(RunStatus),
    workflow=st.one_of(st.just(""), NAMES),
    queue=NAMES,
    priority=NUMBERS,
    created_at=NUMBERS,
    updated_at=NUMBERS,
    wake_at=st.none() | NUMBERS,
    parent=st.none() | NAMES,
    attributes=st.dictionaries(TEXT, TEXT, max_size=3),
    rest=st.binary(max_size=40),
)


@given(RECORDS)
def test_a_row_holds_a_record_exactly(record: RunRecord) -> None:
    assert decode_row("run", encode_row(record)) == record


@given(st.lists(st.tuples(NAMES, st.binary(max_size=30)), max_size=4))
def test_entries_hold_events_exactly(said: list[tuple[str, bytes]]) -> None:
    events = [Event("run", 7 + n, event_id, body) for n, (event_id, body) in enumerate(said)]
    assert decode_events("run", 6, [encode_event(event) for event in events]) == events


@pytest.mark.parametrize(
    "row", [b"", b"1\0i", b"x\0i\0\0005\0q\0" + b"\0" * 8 + b"running\0\0\0{}\0000\0", b"\xff" * 50]
)
def test_a_row_that_is_none_is_named(row: bytes) -> None:
    with pytest.raises(CorruptLog, match="run 'a'"):
        decode_row("a", row)


def test_an_entry_that_is_none_is_named() -> None:
    with pytest.raises(CorruptLog, match="event 3 is damaged"):
        decode_events("a", 1, [b"e\0body", b"no end"])
