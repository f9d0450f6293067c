"""The slots of a queue, without a log around them: who gets one, and when the next may begin."""

from __future__ import annotations

from pyworkflow.engine.slots import Slots, Wanted
from pyworkflow.queues import QueueLimits
from pyworkflow_core.payloads import QueueOpened, SlotsChanged

LIMITS = QueueLimits(concurrency=3, per_key_concurrency=2, beginnings=4, period=100)


def opened() -> Slots:
    return Slots(QueueOpened("q"))


def wanted(*names: str, key: str = "", begins: bool = True) -> list[Wanted]:
    return [Wanted(name, key, begins) for name in names]


def given(change: SlotsChanged) -> list[str]:
    return [slot.run_id for slot in change.given]


def test_no_more_get_a_slot_than_the_queue_the_key_and_the_caller_allow() -> None:
    slots = opened()
    assert given(slots.give(wanted(*"abcde"), LIMITS, 0, most=9)) == ["a", "b", "c"]
    assert given(slots.give(wanted(*"abcde"), LIMITS, 0, most=2)) == ["a", "b"]
    some = wanted("a", "b", "c", key="k") + wanted("d")
    assert given(slots.give(some, LIMITS, 0, most=9)) == ["a", "b", "d"]


def test_a_slot_that_is_returned_is_free_in_the_same_event() -> None:
    slots = opened()
    slots.apply(0, slots.give(wanted(*"abc"), LIMITS, 0, most=9))
    assert given(slots.give(wanted("d"), LIMITS, 0, most=9)) == []
    assert slots.room(LIMITS, 0) == 0
    assert slots.room(LIMITS, 0, [2]) == 1
    change = slots.give(wanted("d"), LIMITS, 0, most=9, returned=[2])
    assert change.returned == (2,)
    slots.apply(0, change)
    assert sorted(slots.holders) == ["a", "c", "d"]


def test_a_run_that_has_a_slot_gets_a_new_number_and_its_old_one_frees_nothing() -> None:
    slots = opened()
    slots.apply(0, slots.give(wanted("a"), LIMITS, 0, most=9))
    old = slots.holders["a"].number
    slots.apply(5, slots.give(wanted("a"), LIMITS, 5, most=9))
    assert slots.holders["a"].number != old
    slots.apply(6, SlotsChanged(returned=(old,)))
    assert list(slots.holders) == ["a"]
    assert slots.begun_within(100, 6) == 1


def test_so_many_begin_within_any_period_and_those_that_go_on_do_not_count() -> None:
    slots = opened()
    free = QueueLimits(beginnings=4, period=100)
    slots.apply(10, slots.give(wanted("a"), free, 10, most=9))
    slots.apply(60, slots.give(wanted("b", "c", "d", "e"), free, 60, most=9))
    assert list(slots.holders) == ["a", "b", "c", "d"]
    assert slots.next_token(free, 60) == 110
    assert slots.room(free, 109) == 0
    assert given(slots.give(wanted("e") + wanted("f", begins=False), free, 109, most=9)) == ["f"]
    assert slots.room(free, 110) == 1
    assert given(slots.give(wanted("e", "g"), free, 110, most=9)) == ["e"]
    assert slots.next_token(free, 160) is None


def test_the_next_part_of_the_log_begins_with_what_still_counts() -> None:
    slots = opened()
    slots.apply(10, slots.give(wanted("a", key="k"), LIMITS, 10, most=9))
    slots.apply(60, slots.give(wanted("b"), LIMITS, 60, most=9))
    snapshot = slots.snapshot("q", 2, LIMITS, 120)
    assert snapshot.begun == ((60, 1),)
    again = Slots(snapshot)
    assert again.holders == slots.holders
    assert again.count == 2
    assert again.by_key() == {"k": 1}
