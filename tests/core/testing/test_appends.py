"""The appends that checks are written with."""

from __future__ import annotations

import pytest

from pyworkflow_core.checks import check_appends
from pyworkflow_core.record import evolve
from pyworkflow_core.testing.appends import after, ahead, created_with, noted, noted_of


@pytest.mark.parametrize("size", [40, 41, 1000, 70_000])
def test_a_body_of_a_given_size_has_that_size(size: int) -> None:
    assert len(noted_of(size)) == size


def test_appends_carry_the_fold_of_their_events() -> None:
    made = created_with("a", noted('{"n":2}'), noted('{"n":3}'), queue="q", at=7)
    more = after(made.record, noted(at=9), prefix="x")
    check_appends([made])
    check_appends([more])
    assert [event.event_id for event in (*made.events, *more.events)] == ["e1", "e2", "e3", "x4"]
    assert made.record == evolve(None, made.events, incarnation="i1")
    assert more.record == evolve(None, made.events + more.events, incarnation="i1")
    assert (made.record.queue, more.record.updated_at) == ("q", 9)
    assert ahead(more.record, 3).head == 7
