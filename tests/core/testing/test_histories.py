"""Logs that checks write, and what is said of those that a store has."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from pyworkflow_core.record import evolve
from pyworkflow_core.storage import Append, Committed
from pyworkflow_core.testing import LawBroken
from pyworkflow_core.testing.histories import committed, count_stored, grown
from pyworkflow_core.testing.hosts.ram import RamStore


def count(history: list[Append], stored: list[Append], spoil: Any = None) -> int:
    async def main() -> int:
        async with RamStore("histories") as store:
            try:
                for append in stored:
                    assert await store.commit([append]) == committed([append])
                if spoil is not None:
                    spoil(store._state.runs["a"])
                return await count_stored(store, history, "afterwards")
            finally:
                store.forget("histories")

    return asyncio.run(main())


def test_a_history_creates_a_run_and_grows_it_without_a_gap() -> None:
    history = grown("a", 2, 1)
    assert [(append.expected, append.record.head) for append in history] == [(0, 1), (1, 3), (3, 4)]
    events = [event for append in history for event in append.events]
    assert history[-1].record == evolve(None, events, incarnation="i1")
    assert len({event.body for event in events}) == len(events)
    assert committed(history) == [Committed("a", 1), Committed("a", 3), Committed("a", 4)]


@pytest.mark.parametrize("number", [0, 1, 2, 3])
def test_whole_appends_are_counted(number: int) -> None:
    history = grown("a", 2, 1)
    assert count(history, history[:number]) == number


def test_a_part_of_an_append_breaks_the_law() -> None:
    history = grown("a", 2, 1)

    def lose_an_event(run: Any) -> None:
        run.events.pop()
        run.record = evolve(None, run.events, incarnation="i1")

    with pytest.raises(LawBroken, match=r"afterwards, run 'a' has 2 events, a part of an append"):
        count(history, history[:2], lose_an_event)


def test_other_events_break_the_law() -> None:
    history = grown("a", 2)
    other = replace(history[1], events=grown("a", 1, 1)[1].events + history[1].events[1:])
    with pytest.raises(LawBroken, match="afterwards, read of run 'a'"):
        count([history[0], other], grown("a", 3))


def test_a_record_of_another_moment_breaks_the_law() -> None:
    history = grown("a", 2)

    def forget_to_write_the_record(run: Any) -> None:
        run.record = history[0].record

    with pytest.raises(LawBroken, match=r"record of run 'a', whose log has 3 events"):
        count(history, history, forget_to_write_the_record)
