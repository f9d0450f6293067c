"""Laws 8, 50 and 59: a call that cannot be right is refused, in words, before anything is written."""

from __future__ import annotations

import msgspec

from ...events import Event
from ...storage import Append
from ..appends import after, created, noted
from ..broken import raises, same
from ..looks import claimed, event_ids, follow, outcome, run_ids, shown
from ..place import Place
from .registry import proves


@proves(8)
async def an_append_without_events_is_refused(place: Place) -> None:
    """It is a ValueError for a new run and for an old one, and nothing of its commit is written."""
    store = await place.open()
    first = created("a")
    await store.commit([first])
    before = await shown(store, "a")
    same(before[0], ["e1"], "the log of one append")
    for empty in (
        Append("a", "i1", 1, (), first.record),
        Append("b", "i1", 0, (), created("b").record),
        Append("b", "i1", 0, (), msgspec.structs.replace(created("b").record, head=0)),
    ):
        said = f"an append without events to run {empty.run_id!r}"
        await raises(ValueError, store.commit([empty]), said)
        await raises(ValueError, store.commit([created("c"), empty, created("d")]), f"{said}, among others")
        same(await run_ids(store), ["a"], f"the listing after a commit with {said}")
        same(await shown(store, "a"), before, f"the run after {said}")
    same(await store.commit([]), [], "the answer to a commit without appends")
    same(await outcome(store, after(first.record)), "Committed", "an append at the head after those")


@proves(59)
async def a_commit_that_names_a_run_twice_is_refused(place: Place) -> None:
    """It is a ValueError, whatever the two appends are, and nothing of the commit is written."""
    store = await place.open()
    old, first = created("old"), created("a")
    await store.commit([old])
    before = await shown(store, "old")
    same(before[0], ["e1"], "the log of one append")
    for twice in (
        [first, after(first.record)],
        [first, first],
        [first, created("b"), created("a", event_id="rival")],
        [created("b"), after(old.record), first, after(old.record, prefix="rival")],
        [after(old.record), after(after(old.record).record)],
    ):
        said = f"a commit of appends to {[append.run_id for append in twice]}"
        await raises(ValueError, store.commit(twice), said)
        same(await run_ids(store), ["old"], f"the listing after {said}")
        same(await shown(store, "old"), before, f"the run 'old' after {said}")
    kinds = [type(answer).__name__ for answer in await store.commit([first, after(old.record)])]
    same(kinds, ["Committed", "Committed"], "answers to a commit that names each run once")


@proves(50)
async def a_negative_sequence_is_an_error(place: Place) -> None:
    """It is not taken for a place from the end of the log, nor for its beginning."""
    store = await place.open()
    await store.commit([created("a")])
    before = await shown(store, "a")
    same(before[0], ["e1"], "the log of one append")
    await raises(ValueError, store.read("a", after=-1), "read(after=-1)")
    await raises(ValueError, store.read("b", after=-1), "read(after=-1) of no run")
    await raises(ValueError, store.delete("a", expected=-1), "delete(expected=-1)")
    record = msgspec.structs.replace(created("b").record, head=0)
    negative = Append("b", "i1", -1, (Event("b", 0, "e0", noted()),), record)
    await raises(ValueError, store.commit([created("c"), negative]), "an append that expects -1")
    same(await run_ids(store), ["a"], "the listing after calls with negative sequences")
    same(await shown(store, "a"), before, "the run after calls with negative sequences")


@proves(50)
async def a_negative_limit_or_lease_is_an_error(place: Place) -> None:
    """It is not taken for no limit, and nothing is claimed."""
    store = await place.open()
    await store.commit([created("a")])
    now, lease = place.now, place.unit
    await raises(ValueError, store.read("a", limit=-1), "read(limit=-1)")
    await raises(ValueError, store.find(limit=-1), "find(limit=-1)")
    await raises(ValueError, store.claim(owner="x", now=now, lease=lease, limit=-1), "claim(limit=-1)")
    await raises(ValueError, store.claim(owner="x", now=now, lease=-1), "claim(lease=-1)")
    await raises(ValueError, store.claim(owner="x", now=now, lease=0), "claim(lease=0)")
    if store.capabilities.feed:
        await raises(ValueError, store.feed(limit=-1), "feed(limit=-1)")
    same(await event_ids(store, "a"), ["e1"], "the log after calls with negative limits")
    same(await claimed(place, store), ["a"], "what is due after calls with negative limits")


@proves(50)
async def a_limit_of_0_is_empty(place: Place) -> None:
    """It is not taken for no limit, and claims nothing."""
    store = await place.open()
    await store.commit([created("a"), created("b")])
    same(len(await store.read("a", limit=1)), 1, "the number of events of read(limit=1)")
    same(await store.read("a", limit=0), [], "read(limit=0)")
    same((await store.find(limit=0)).records, [], "the records of find(limit=0)")
    same(await store.claim(owner="x", now=place.now, lease=place.unit, limit=0), [], "claim(limit=0)")
    same(await claimed(place, store), ["a", "b"], "what is due after a claim of none")
    if store.capabilities.feed:
        page = await store.feed(limit=0)
        same(page.events, [], "the events of feed(limit=0)")
        rest = await follow(store, after=page.position, until=[("a", "e1"), ("b", "e1")])
        same(len(rest.events), 2, "the events behind feed(limit=0)")
