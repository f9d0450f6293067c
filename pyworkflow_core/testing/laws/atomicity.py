"""Laws 6, 7: what conflicts leaves no trace, an append is all or nothing, and neighbours are their own."""

from __future__ import annotations

import asyncio

from ...record import RunRecord
from ...storage import Committed, Conflict, LeaseChange, StorageBackend
from ..appends import after, ahead, created, noted, resumed, suspended
from ..broken import same
from ..looks import claimed, event_ids, fed, head_of, meanwhile, outcome, run_ids, settled, shown
from ..place import Place
from .registry import proves


@proves(6)
async def a_conflict_leaves_log_and_record_as_they_were(place: Place) -> None:
    """No event, no field of the record and no line of the feed comes from an append that conflicted."""
    store = await place.open()
    first = created("a", attributes={"k": "v"})
    second = after(first.record)
    await store.commit([first])
    await store.commit([second])
    there = [(event.run_id, event.event_id) for event in (*first.events, *second.events)]
    for loser in (
        suspended(first.record, 99, prefix="stale"),
        after(first.record, noted(), noted(), noted(), prefix="stale"),
        suspended(ahead(second.record, 2), 99, prefix="future"),
        created("a", incarnation="i2", event_id="r", workflow="other", attributes={"k": "x"}, queue="q"),
    ):
        before, listed, feed = await shown(store, "a"), (await store.find()).records, await fed(store, *there)
        same(before[0][:2], ["e1", "e2"], "the events of two appends")
        answer = await settled(store, loser)
        if not isinstance(answer, Conflict):
            break  # that is for another law
        said = f"after a conflict of an append that expects {loser.expected}"
        same(await shown(store, "a"), before, f"the run {said}")
        same((await store.find()).records, listed, f"the listing {said}")
        same(await fed(store, *there), feed, f"the feed {said}")


@proves(6)
async def a_conflict_makes_no_run(place: Place) -> None:
    """An append to a run that is not there leaves nothing that is listed, claimed or in the way."""
    store = await place.open()
    await store.commit([created("b")])
    same(await run_ids(store), ["b"], "the listing of one run")
    loser = resumed(created("a").record, at=0, lease=LeaseChange("t", "me", place.now + place.unit))
    if isinstance(await settled(store, loser), Conflict):
        same(await run_ids(store), ["b"], "the listing after an append to no run conflicted")
        same(await claimed(place, store), ["b"], "what is due after an append to no run conflicted")
        same(await outcome(store, created("a")), "Committed", "the append that makes the run")
        same(await event_ids(store, "a"), ["e1"], "the log of the run that was made after a conflict")
        claims = await store.claim(owner="x", now=place.now, lease=place.unit, run_id="a")
        same([claim.run_id for claim in claims], ["a"], "a claim of the run that was made after a conflict")


@proves(6)
async def a_conflict_changes_no_due_time(place: Place) -> None:
    """A run that waits is not made due, and one that is due is not put to sleep, by what conflicted."""
    store = await place.open()
    made, ready = created("sleeper"), created("ready")
    asleep, awake = suspended(made.record, None), after(ready.record)
    await store.commit([made, ready])
    await store.commit([asleep, awake])
    losers = [
        suspended(made.record, 0, prefix="stale"),
        suspended(ready.record, None, prefix="stale"),
        resumed(ahead(asleep.record, 1), at=0, prefix="future"),
        suspended(ahead(awake.record, 1), place.now + 1000 * place.unit, prefix="future"),
    ]
    if {await outcome(store, loser) for loser in losers} == {"Conflict"}:
        due = await claimed(place, store)
        same(due, ["ready"], "what is due after conflicting appends that would have changed when it is")
    await store.commit([suspended(asleep.record, 0)])
    same("sleeper" in await claimed(place, store), True, "whether a run is due that an append made so")


@proves(6)
async def a_conflict_changes_no_lease(place: Place) -> None:
    """A lease is neither taken nor released by an append that conflicted."""
    store = await place.open()
    long = place.now + 1000 * place.unit
    held, free = created("held"), created("free")
    await store.commit([held])
    claims = await store.claim(owner="x", now=place.now, lease=1000 * place.unit)
    same([claim.run_id for claim in claims], ["held"], "a claim of the only run")
    token = claims[0].token
    await store.commit([free])
    moved = [after(held.record), after(free.record)]
    await store.commit(moved)
    losers = [
        after(held.record, prefix="stale", lease=LeaseChange(token, "x", None)),
        after(free.record, prefix="stale", lease=LeaseChange("t", "y", long)),
        after(ahead(moved[0].record, 1), lease=LeaseChange(token, "x", None)),
        after(ahead(moved[1].record, 1), lease=LeaseChange("t", "y", long)),
    ]
    if {await outcome(store, loser) for loser in losers} == {"Conflict"}:
        said = "what can be claimed after conflicting appends would have taken one lease and released another"
        same(await claimed(place, store), ["free"], said)


@proves(7)
async def neighbours_in_a_commit_are_their_own(place: Place) -> None:
    """Of one commit some are written, some conflict and some are refused; none of them minds the others."""
    store = await place.open()
    for n in range(2 * place.profile.rounds):
        old, moved, taken = created(f"old{n}"), created(f"moved{n}"), created(f"taken{n}")
        await store.commit([old, moved, taken])
        await store.commit([after(moved.record)])
        good = [created(f"new{n}.{i}") for i in range(3)] + [after(old.record, noted(), noted(), noted())]
        bad = [
            after(moved.record, noted(), noted(), prefix="stale"),
            after(created(f"gone{n}").record),
            created(f"taken{n}", workflow="other"),
        ]
        mixed = [*good, *bad]
        place.random.shuffle(mixed)
        answers = await store.commit(mixed)
        names = [append.run_id for append in mixed]
        same([answer.run_id for answer in answers], names, "the runs that are answered, in order")
        made = {answer.run_id for answer in answers if isinstance(answer, Committed)}
        lost = [append.run_id for append in good if append.run_id not in made]
        same(lost, [], f"runs whose good appends are not committed, in a commit of {names}")
        for append in good:
            ids = (await event_ids(store, append.run_id))[append.expected :]
            expected = [event.event_id for event in append.events]
            same(ids, expected, f"events of {append.run_id!r} after a commit of {names}")
        same(await event_ids(store, f"taken{n}"), ["e1"], "events of a run whose event id was used again")


@proves(7)
async def an_append_that_overlaps_the_log_writes_nothing(place: Place) -> None:
    """Where the log has some of an append's events, the others are not added to it."""
    store = await place.open()
    first = created("a")
    second = after(first.record, noted('{"n":2}'), noted('{"n":3}'))
    await store.commit([first])
    await store.commit([second])
    before = await shown(store, "a")
    same(before[0], ["e1", "e2", "e3"], "the events of two appends")
    longer = after(first.record, noted('{"n":2}'), noted('{"n":3}'), noted(), noted())
    other_body = after(first.record, noted('{"n":2}'), noted('{"n":4}'), noted())
    for append in (longer, other_body):
        await store.commit([append])
        same(await shown(store, "a"), before, "the run after an append of which it has only some events")


@proves(7)
async def readers_see_whole_appends_only(place: Place) -> None:
    """However often a reader on another handle looks, the log ends where an append ends."""
    writer, reader = await place.open_many(2)
    first = created("a")
    await writer.commit([first])
    appends = 10 * place.profile.rounds
    sizes = set()
    async with meanwhile(write_fives(writer, first.record, appends)) as writing:
        while not writing.done():
            sizes.add(len(await reader.read("a")))
            sizes.add(await head_of(reader, "a"))
            await asyncio.sleep(0)
    torn = sorted(size for size in sizes if size % 5 != 1)
    same(torn, [], "heads that a reader saw of one event and appends of five, other than 1, 6, 11, …")
    same(len(await writer.read("a")), 1 + 5 * appends, "the number of events in the end")


async def write_fives(store: StorageBackend, record: RunRecord, count: int) -> None:
    """Append five events at a time behind `record`."""
    for _ in range(count):
        append = after(record, *[noted()] * 5)
        await store.commit([append])
        record = append.record
        await asyncio.sleep(0)
