"""Laws 10 and 11: what is stored belongs to nobody else: not to a caller's variable, not to a run alike."""

from __future__ import annotations

from ...storage import Append
from ..appends import after, created, created_with, noted
from ..broken import same
from ..looks import bodies, event_ids, follow, outcome, run_ids
from ..place import Place
from .registry import proves

ALIKE = (
    ("a", "A", "\u00e1", "a\u0301", "\uff41", "\U0001d41a", "\u0430", "\u00aa"),
    ("run", "run1", "run10", "run01", "run/1", "run:1", "run.1", "run-1", "ru", "runs", "run 1"),
    ("b/c", "b", "c", "b/c/d", "b\\c", "b|c", "b,c"),
    ("\u00df", "ss", "SS", "\u1e9e", "\u017fs"),
    ("I", "\u0131", "i", "\u0130", "i\u0307"),
    ("\U0001f600", "\U0001f601", "\ufffd"),
    ("1", "01", "1.0", "1e0", "+1", "\u0661", "true", "null", "None"),
    ("\u00c5", "\u212b", "A\u030a", "K", "\u212a"),
)
"""Ids that something might take for one another: case, accents, width, prefixes, numbers."""


@proves(10)
async def changing_what_went_in_changes_nothing_stored(place: Place) -> None:
    """An append's attributes and the list of appends are the caller's own again after a commit."""
    store = await place.open()
    attributes = {"k": "v"}
    first = created("a", attributes=attributes)
    appends = [first, created("b")]
    await store.commit(appends)
    first.record.attributes["k"] = "changed"
    first.record.attributes["more"] = "x"
    attributes.clear()
    appends.clear()
    record = await store.get("a")
    same(record and record.attributes, {"k": "v"}, "attributes after the ones passed in were changed")
    same(await run_ids(store), ["a", "b"], "the listing after the list of appends was cleared")
    second = after(created("a", attributes={"k": "v"}).record)
    await store.commit([second])
    second.record.attributes.clear()
    record = await store.get("a")
    same(record and record.attributes, {"k": "v"}, "attributes after those of a later append were changed")


@proves(10)
async def changing_what_came_out_changes_nothing_stored(place: Place) -> None:
    """A record's attributes and a list of events are the caller's own, wherever they came from."""
    store = await place.open()
    first = created("a", attributes={"k": "v"})
    await store.commit([first])
    got, listed = await store.get("a"), (await store.find()).records
    claims = await store.claim(owner="x", now=place.now, lease=place.unit)
    records = [record for record in (got, *listed, *(claim.record for claim in claims)) if record is not None]
    same(len(records), 3, "the number of records that get, find and claim gave of one run")
    for record in records:
        record.attributes["k"] = "changed"
    listed.clear()
    (await store.read("a")).append(first.events[0])
    (await store.read("a", limit=1)).clear()
    got = await store.get("a")
    same(got and got.attributes, {"k": "v"}, "attributes after those handed out were changed")
    same(
        [r.attributes for r in (await store.find()).records],
        [{"k": "v"}],
        "attributes in a listing after that",
    )
    same(await event_ids(store, "a"), ["e1"], "events after the lists handed out were changed")
    if store.capabilities.feed:
        await follow(store, until=[("a", "e1")])
        (await store.feed()).events.clear()
        same(len((await store.feed()).events), 1, "events in the feed after a page of it was cleared")


@proves(11)
async def runs_of_like_ids_have_logs_of_their_own(place: Place) -> None:
    """Runs whose ids differ in case, accents, width or a prefix share no event and no record."""
    store = await place.open()
    for group in ALIKE:
        appends = [marked(name) for name in group]
        for append in appends:
            same(
                await outcome(store, append),
                "Committed",
                f"the creation of {append.run_id!r}, one of {group}",
            )
        await store.commit([after(append.record) for append in appends[::2]])
        for index, append in enumerate(appends):
            name, body = append.run_id, append.events[1].body
            same((await bodies(store, name))[1:2], [body], f"the second event of {name!r}, one of {group}")
            got = await store.get(name)
            expected = (name, 3 - index % 2)
            same(got and (got.run_id, got.head), expected, f"run id and head of {name!r}, one of {group}")


@proves(11)
async def runs_of_like_ids_are_deleted_apart(place: Place) -> None:
    """Deleting a run takes nothing from another one whose id is alike."""
    store = await place.open()
    for group in ALIKE:
        names = list(group)
        await store.commit([marked(name) for name in names])
        while names:
            gone = names.pop(0)
            await store.delete(gone, expected=2)
            same(await run_ids(store), sorted(names), f"the runs that are left when {gone!r} is deleted")
            kept = [name for name in names if await event_ids(store, name) != ["e1", "e2"]]
            same(kept, [], f"runs that lost events when {gone!r} was deleted")


@proves(11)
async def runs_of_like_ids_are_claimed_apart(place: Place) -> None:
    """A lease on one run is none on another whose id is alike."""
    store = await place.open()
    lease = 1000 * place.unit
    for group in ALIKE:
        await store.commit([created(name) for name in group])
        first, *others = group
        mine = await store.claim(owner="x", now=place.now, lease=lease, run_id=first)
        same([claim.run_id for claim in mine], [first], f"a claim of {first!r} alone, one of {group}")
        theirs = await store.claim(owner="y", now=place.now, lease=lease, limit=100)
        same(sorted(claim.run_id for claim in theirs), sorted(others), f"a claim after that of {first!r}")
        for claim in theirs:
            await store.release(claim)
        theirs = await store.claim(owner="z", now=place.now, lease=lease, limit=100)
        said = f"a claim after all of {group} but {first!r} were released"
        same(sorted(claim.run_id for claim in theirs), sorted(others), said)


def marked(name: str) -> Append:
    """The append that creates a run, with a second event that has the run's id in it."""
    return created_with(name, noted(f'{{"of":"{name.encode().hex()}"}}'))
