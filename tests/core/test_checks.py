"""Tests of the checks that are made once for every backend."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from pyworkflow_core.checks import can_match, check_appends, check_claim, check_claiming, find_over_limit
from pyworkflow_core.errors import InvalidIdError, UnserializableValueError
from pyworkflow_core.events import Event
from pyworkflow_core.storage import Append, Claim, LeaseChange, Limits, RunQuery
from pyworkflow_core.testing.appends import after, created

CLAIM = Claim("a", "me", "t", 1, created("a").record)


@pytest.mark.parametrize("field", ["run_id", "owner", "token"])
@pytest.mark.parametrize("text", ["", "\0", "\ud800", "x" * 256])
def test_a_claim_with_an_impossible_name_is_refused(field: str, text: str) -> None:
    check_claim(CLAIM)
    with pytest.raises(InvalidIdError):
        check_claim(replace(CLAIM, **{field: text}))


@pytest.mark.parametrize("change", [LeaseChange("\ud800", "x", 1), LeaseChange("t", "", None)])
def test_an_append_with_an_impossible_lease_is_refused(change: LeaseChange) -> None:
    check_appends([created("a", lease=LeaseChange("t", "x", None))])
    with pytest.raises(InvalidIdError):
        check_appends([created("a", lease=change)])


@pytest.mark.parametrize(
    "wrong", [{"lease": 0}, {"limit": -1}, {"owner": ""}, {"queues": [""]}, {"run_id": ""}]
)
def test_a_claim_for_no_time_or_by_no_name_is_refused(wrong: dict[str, Any]) -> None:
    good: dict[str, Any] = {"owner": "x", "lease": 1, "limit": 0, "queues": None, "run_id": None}
    check_claiming(**good)
    with pytest.raises(ValueError, match=r"over before it begins|negative|empty"):
        check_claiming(**{**good, **wrong})


def test_a_query_by_text_that_cannot_be_stored_matches_nothing() -> None:
    good = [RunQuery(), RunQuery(workflow=""), RunQuery(parent="é", attributes={"": "\0"}), None]
    assert [can_match(query) for query in good] == [True] * 4
    odd = [RunQuery(workflow="\ud800"), RunQuery(queue="a\udfff"), RunQuery(parent="\ud800")]
    odd += [RunQuery(attributes={"\ud800": ""}), RunQuery(attributes={"": "\ud800"})]
    assert [can_match(query) for query in odd] == [False] * 5


@pytest.mark.parametrize("body", [None, 7, "text", {"a": 1}, bytearray(b"{}"), memoryview(b"{}"), object()])
def test_a_body_that_is_not_bytes_is_refused_and_named(body: Any) -> None:
    fine = after(created("a").record)
    odd = Append("a", "i1", 1, (Event("a", 2, "e2", body),), fine.record)
    with pytest.raises(UnserializableValueError, match=f"event 2 is {type(body).__name__}, not bytes"):
        check_appends([created("b"), odd])
    check_appends([created("b"), fine])


@pytest.mark.parametrize("attributes", [{"k": "\ud800"}, {"\udfff": "v"}, {"k": object()}])
def test_a_record_that_cannot_be_encoded_is_a_typed_error(attributes: Any) -> None:
    fine = created("a")
    record = replace(fine.record, attributes=attributes)
    with pytest.raises(UnserializableValueError, match="run 'a': its record cannot be encoded"):
        find_over_limit([Append("a", "i1", 0, fine.events, record)], Limits())
