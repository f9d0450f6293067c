"""Laws 6, 7: what conflicts leaves no trace, an append is all or nothing, and neighbours are their own."""

from __future__ import annotations

import asyncio

from ...record import RunRecord
from ...storage import Committed, Conflict, LeaseChange, StorageBackend
from ..appends import after, ahead, created, noted, resumed, suspended
from ..broken import same
from ..looks import claimed, event_ids, fed, head_of, run_ids, settled, shown
from ..place import Place
from .registry import proves


@proves(6)
async def a_conflict_leaves_log_and_record_as_they_were(place: Place) -> None:
    """No event, no field of the record and no line of the feed comes from an append that conflicted."""
    store, other = await place.open_many(2)
    first = created("a", attributes={"k": "v"})
    second = after(first.record)
    await store.commit([first])
    await store.commit([second])
    before = await shown(store, "a")
    same(before[0], ["e1", "e2"], "the events of two appends")
    for loser in (
        suspended(first.record, 99, prefix="stale"),
        after(first.record, noted(), noted(), noted(), prefix="stale"),
        suspended(ahead(second.record, 2), 99, prefix="future"),
        created("a", incarnation="i2", event_id="r", workflow="other", attributes={"k": "x"}, queue="q"),
    ):
        (answer,) = await store.commit([loser])
        if isinstance(answer, Conflict):
            said = f"the run after a conflict of an append that expects {loser.expected}"
            same(await shown(store, "a"), before, said)
            same(await shown(other, "a"), before, f"{said}, on another handle")
            same((await store.find()).records, [before[1]], f"the listing of {said}")
            lost = {("a", event.event_id) for event in loser.events}
            same(lost & set(await fed(store)), set(), "events of the conflicting append in the feed")
    same(await settled(store, after(second.record)), Committed("a", 3), "an append at the head after those")


@proves(6)
async def a_conflict_makes_no_run(place: Place) -> None:
    """An append to a run that is not there leaves nothing that is listed, got or claimed."""
    store = await place.open()
    await store.commit([created("b")])
    loser = resumed(created("a").record, at=place.now, lease=LeaseChange("t", "me", place.now + place.unit))
    (answer,) = await store.commit([loser])
    if isinstance(answer, Conflict):
        same(await shown(store, "a"), ([], None), "a run after its only append conflicted")
        same(await run_ids(store), ["b"], "the listing after an append to no run conflicted")
        same(await claimed(place, store), ["b"], "what is due after an append to no run conflicted")
    same(await settled(store, created("a")), Committed("a", 1), "the append that makes the run after that")


@proves(6)
async def a_conflict_changes_no_due_time(place: Place) -> None:
    """A run that waits is not made due, and one that is due is not put to sleep, by what conflicted."""
    store = await place.open()
    for name in ("sleeper", "ready"):
        await store.commit([created(name, at=place.now)])
    made = created("sleeper", at=place.now).record
    asleep = suspended(made, None)
    awake = after(created("ready", at=place.now).record)
    await store.commit([asleep, awake])
    losers = [
        suspended(made, place.now, prefix="stale"),
        suspended(created("ready").record, None, prefix="stale"),
        resumed(ahead(asleep.record, 1), at=place.now, prefix="future"),
        suspended(ahead(awake.record, 1), place.now + 1000 * place.unit, prefix="future"),
    ]
    answers = [await settled(store, loser) for loser in losers]
    if {type(answer) for answer in answers} == {Conflict}:
        same(
            await claimed(place, store),
            ["ready"],
            "what is due after conflicting appends of another wake time",
        )
    await store.commit([suspended(asleep.record, place.now)])
    same(await claimed(place, store), ["sleeper"], "what is due after an append at the head made it so")


@proves(6)
async def a_conflict_changes_no_lease(place: Place) -> None:
    """A lease is neither taken nor released by an append that conflicted."""
    store = await place.open()
    held, free = created("held", at=place.now), created("free", at=place.now)
    await store.commit([held])
    (claim,) = await store.claim(owner="x", now=place.now, lease=1000 * place.unit)
    await store.commit([free])
    moved = [after(held.record), after(free.record)]
    await store.commit(moved)
    losers = [
        after(held.record, prefix="stale", lease=LeaseChange(claim.token, "x", None)),
        after(free.record, prefix="stale", lease=LeaseChange("t", "y", place.now + 1000 * place.unit)),
        after(ahead(moved[0].record, 1), lease=LeaseChange(claim.token, "x", None)),
        after(ahead(moved[1].record, 1), lease=LeaseChange("t", "y", place.now + 1000 * place.unit)),
    ]
    answers = [await settled(store, loser) for loser in losers]
    if {type(answer) for answer in answers} == {Conflict}:
        said = "what can be claimed after conflicting appends took one lease and released another"
        same(await claimed(place, store), ["free"], said)


@proves(7)
async def neighbours_in_a_commit_are_their_own(place: Place) -> None:
    """Of one commit some are written, some conflict and some are refused; none of them minds the others."""
    store, other = await place.open_many(2)
    for n in range(place.profile.rounds):
        old = created(f"old{n}")
        moved = created(f"moved{n}")
        await store.commit([old, moved, created(f"taken{n}")])
        await store.commit([after(moved.record)])
        good = [created(f"new{n}.{i}") for i in range(3)] + [after(old.record, noted(), noted(), noted())]
        bad = [
            after(moved.record, noted(), noted(), prefix="stale"),
            after(created(f"gone{n}").record),
            created(f"taken{n}", workflow="other"),
            created(f"big{n}", tags=("x" * 3000,)),
        ]
        mixed = [*good, *bad]
        place.random.shuffle(mixed)
        answers = await store.commit(mixed)
        same([a.run_id for a in answers], [a.run_id for a in mixed], "the runs that are answered, in order")
        made = {a.run_id for a in answers if isinstance(a, Committed)}
        same(
            made, {a.run_id for a in good}, "the runs whose appends are committed beside others that are not"
        )
        for append in good:
            ids = await event_ids(other, append.run_id)
            same(ids[append.expected :], [e.event_id for e in append.events], "a good neighbour's events")
        same(await event_ids(other, f"moved{n}"), ["e1", "e2"], "the log of a run whose append was not made")


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
    rival = after(first.record, noted(), noted(), noted(), noted(), prefix="rival")
    for append in (longer, other_body, rival):
        await store.commit([append])
        same(await shown(store, "a"), before, "the run after an append of which it has only some events")


@proves(7)
async def a_refused_append_writes_none_of_its_events(place: Place) -> None:
    """One event that is refused keeps all of its append out of the log, the record and the listing."""
    store = await place.open()
    first = created("a")
    await store.commit([first])
    before = await shown(store, "a")
    same(before[0], ["e1"], "the events of one append")
    most = store.limits.event_bytes
    if most is not None and most <= 2**25:
        large = noted(f'{{"x":"{"x" * most}"}}')
        await store.commit([after(first.record, noted(), large, noted()), created("b")])
        same(await shown(store, "a"), before, "the run after an append with one event that is too large")
        same(await event_ids(store, "b"), ["e1"], "the events of that append's neighbour")
    await store.commit([created("c", tags=("x" * 3000,)), created("d")])
    same(await shown(store, "c"), ([], None), "a run whose record is too large")
    same(await event_ids(store, "d"), ["e1"], "the events of that run's neighbour")


@proves(7)
async def readers_see_whole_appends_only(place: Place) -> None:
    """However often a reader on another handle looks, the log ends where an append ends."""
    writer, reader = await place.open_many(2)
    first = created("a")
    await writer.commit([first])
    appends = 10 * place.profile.rounds
    writing = asyncio.ensure_future(write_fives(writer, first.record, appends))
    sizes = set()
    while not writing.done():
        sizes.add(len(await reader.read("a")))
        sizes.add(await head_of(reader, "a"))
        await asyncio.sleep(0)
    await writing
    torn = sorted(size for size in sizes if size % 5 != 1)
    same(torn, [], "heads that a reader saw of one event and appends of five, other than 1, 6, 11, …")
    same(len(await reader.read("a")), 1 + 5 * appends, "the number of events in the end")


async def write_fives(store: StorageBackend, record: RunRecord, count: int) -> None:
    """Append five events at a time behind `record`."""
    for _ in range(count):
        append = after(record, *[noted()] * 5)
        await store.commit([append])
        record = append.record
        await asyncio.sleep(0)
