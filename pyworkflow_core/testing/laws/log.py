"""Checks of the log: events in, the same events out, and one head that decides."""

from __future__ import annotations

from ...storage import Committed, Conflict
from ..appends import after, ahead, created
from ..broken import same
from ..place import Place
from .registry import proves


@proves(1)
async def a_run_that_nobody_made_is_empty(place: Place) -> None:
    """Nothing is there before the first append, and that append expects head 0."""
    store = await place.open()
    same(await store.read("a"), [], "read of a run that nobody made")
    same(await store.get("a"), None, "get of a run that nobody made")
    first = created("a")
    same(await store.commit([first]), [Committed("a", 1)], "the first append, expecting 0")
    same(await store.read("a"), list(first.events), "read after the first append")
    same(await store.get("a"), first.record, "get after the first append")


@proves(4)
async def a_stale_expected_sequence_conflicts(place: Place) -> None:
    """An append that expects a head which the log has left is answered with the head there is."""
    store = await place.open()
    first = created("a")
    second = after(first.record)
    same(await store.commit([first]), [Committed("a", 1)], "the first append")
    same(await store.commit([second]), [Committed("a", 2)], "the second append")
    stale = after(first.record, prefix="rival")
    same(await store.commit([stale]), [Conflict("a", 2)], "an append that expects 1 where the head is 2")
    same(await store.commit([created("a", event_id="r")]), [Conflict("a", 2)], "a second creation")


@proves(5)
async def a_future_expected_sequence_conflicts(place: Place) -> None:
    """An append that expects a head which the log has not reached is answered with the head there is."""
    store = await place.open()
    first = created("a")
    same(await store.commit([first]), [Committed("a", 1)], "the first append")
    future = after(ahead(first.record, 2))
    same(await store.commit([future]), [Conflict("a", 1)], "an append that expects 3 where the head is 1")
    same(await store.commit([after(created("b").record)]), [Conflict("b", 0)], "an append to no run")
