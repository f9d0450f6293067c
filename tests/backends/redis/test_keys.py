"""Keys: buckets lie evenly in the slots of a cluster, and ids stay where they are."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyworkflow_redis.keys import SLOTS, bucket_of, bucket_tags, created_at_of, newest_first, slot_of

TIMES = st.integers(-(2**63), 2**63 - 1)


@pytest.mark.parametrize(("key", "slot"), [("foo", 12182), ("{foo}bar", 12182), ("x{}y", slot_of("x{}y"))])
def test_slots_are_those_of_redis(key: str, slot: int) -> None:
    assert slot_of(key) == slot


@pytest.mark.parametrize("count", [2, 3, 16, 48, 100])
def test_each_part_of_the_slots_has_one_bucket(count: int) -> None:
    tags = bucket_tags("orders", count)
    assert [slot_of(tag) * count // SLOTS for tag in tags] == list(range(count))
    assert len(set(tags)) == count


def test_one_bucket_has_the_namespaces_own_tag() -> None:
    assert bucket_tags("orders", 1) == ["{orders}:"]


def test_runs_spread_over_the_buckets_whatever_their_ids_are() -> None:
    counted = Counter(bucket_of(f"run_{n:026d}", 16) for n in range(16_000))
    assert min(counted.values()) > 800
    assert bucket_of("é", 16) == bucket_of("é", 16) < 16


def test_a_slot_is_told_by_the_first_braces_only() -> None:
    (tag,) = bucket_tags("a", 1)
    assert {slot_of(f"{tag}r:{run_id}") for run_id in ("x", "{y}", "}{", "*\n")} == {slot_of(tag)}


@given(TIMES, TIMES)
def test_the_later_a_time_the_earlier_its_place_in_a_listing(one: int, other: int) -> None:
    assert (newest_first(one) < newest_first(other)) == (one > other)
    assert created_at_of(newest_first(one)) == one


def test_times_beyond_64_bits_are_taken_as_the_last_there_is() -> None:
    places = [newest_first(time) for time in (2**70, 2**63 - 1, 0, -(2**63), -(2**70))]
    assert all(a <= b for a, b in pairwise(places))
