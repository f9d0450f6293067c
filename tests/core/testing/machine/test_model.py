"""The model of the random programs answers as the storage contract says."""

from __future__ import annotations

import pytest

from pyworkflow_core.storage import Append, Claim, Committed, Conflict, LeaseChange, RunQuery
from pyworkflow_core.testing.appends import after, ahead, created, noted, suspended
from pyworkflow_core.testing.machine.model import Model

FIRST = created("a")
SECOND = after(FIRST.record, noted(), noted())
THIRD = after(SECOND.record)


@pytest.fixture
def model() -> Model:
    made = Model()
    for step, append in enumerate((FIRST, SECOND)):
        made.write(append, step)
    return made


@pytest.mark.parametrize(
    ("append", "answer", "why"),
    [
        (THIRD, Committed("a", 4), "next"),
        (FIRST, Committed("a", 1), "resent"),
        (SECOND, Committed("a", 3), "resent"),
        (created("b"), Committed("b", 1), "first"),
        (after(FIRST.record, prefix="r"), Conflict("a", 3), "stale"),
        (after(ahead(SECOND.record, 2)), Conflict("a", 3), "future"),
        (after(created("b").record), Conflict("b", 0), "future"),
        (after(FIRST.record, noted('{"n": 1}')), None, "other body"),
        (after(FIRST.record, noted(), noted(), noted()), Conflict("a", 3), "overlap"),
        (created("a", incarnation="i2"), Conflict("a", 3), "stale"),
        (after(created("a", incarnation="i2").record, noted(), noted()), Conflict("a", 3), "stale"),
    ],
)
def test_an_append_is_answered_by_where_the_log_stands(
    model: Model, append: Append, answer: Committed | Conflict | None, why: str
) -> None:
    assert model.foresee(append) == (answer, why)


def test_an_append_of_a_deleted_run_conflicts_whether_the_id_is_used_again_or_not(model: Model) -> None:
    model.delete("a")
    assert model.log("a") == []
    assert model.foresee(FIRST) == (Conflict("a", 0), "deleted")
    again = created("a", incarnation="i2")
    assert model.foresee(again) == (Committed("a", 1), "reborn")
    model.write(again, 3)
    assert model.foresee(FIRST) == (Conflict("a", 1), "deleted")
    assert model.foresee(SECOND) == (Conflict("a", 1), "deleted")


def test_a_run_is_due_at_the_later_of_its_wake_time_and_the_end_of_its_lease(model: Model) -> None:
    assert model.claimable(0, None, None) == ["a"]
    model.claimed(Claim("a", "x", "t", 10, SECOND.record), 10)
    assert [model.claimable(now, None, None) for now in (9, 10)] == [[], ["a"]]
    model.write(suspended(SECOND.record, 20), 3)
    assert [model.claimable(now, None, None) for now in (19, 20)] == [[], ["a"]]
    assert model.claimable(20, ("q",), None) == model.claimable(20, None, "b") == []


def test_an_append_changes_a_lease_that_is_its_own_or_nobodys(model: Model) -> None:
    claim = Claim("a", "x", "t", 10, SECOND.record)
    model.claimed(claim, 10)
    model.write(after(SECOND.record, lease=LeaseChange("stranger", "y", 99)), 3)
    assert model.holds(claim)
    last = model.runs["a"].record
    model.write(after(last, lease=LeaseChange("t", "x", None)), 4)
    assert not model.holds(claim)


def test_claims_are_ordered_by_priority_then_due_time_then_id() -> None:
    model = Model()
    for run_id, priority, at in (("d", 5, 0), ("c", 5, 0), ("b", 5, 2), ("a", 9, 0), ("e", 0, 3)):
        model.write(created(run_id, priority=priority, at=at), 0)
    assert model.claimable(3, None, None) == ["e", "c", "d", "b", "a"]


def test_a_listing_has_what_matches_newest_first_and_then_by_id() -> None:
    model = Model()
    for run_id, queue, at in (("b", "q", 1), ("a", "q", 1), ("c", "default", 2), ("d", "q", 3)):
        model.write(created(run_id, queue=queue, at=at), 0)
    assert [r.run_id for r in model.listed(RunQuery())] == ["d", "c", "a", "b"]
    assert [r.run_id for r in model.listed(RunQuery(queue="q", created_before=3))] == ["a", "b"]
