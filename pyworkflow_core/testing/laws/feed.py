"""Checks of the feed: the events of all runs in one order, for readers who follow it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable, Sequence

from ...errors import FeedPositionLost
from ...events import Event
from ...storage import Append, StorageBackend
from ..appends import created
from ..at_once import at_once
from ..broken import LawBroken, holds, raises, same
from ..child_place import ChildPlace
from ..histories import committed, grown
from ..looks import follow
from ..place import Place
from .registry import proves
from .transactions import commit_within, glance, transaction_of

GARBAGE = ("", " ", "x", "-1", "no position", "\0", "½", "\uff11\uff12", "\ud800", "'; --", "9" * 400)
"""What no backend hands out as a position."""


def events_of(appends: Iterable[Append]) -> list[Event]:
    """The events of appends, by run and sequence."""
    return in_order(event for append in appends for event in append.events)


def in_order(events: Iterable[Event]) -> list[Event]:
    """Events by run and sequence, so that feeds can be compared whose runs interleave otherwise."""
    return sorted(events, key=lambda event: (event.run_id, event.sequence))


async def read_feed(
    store: StorageBackend, after: str | None, limit: int, wanted: Iterable[Event]
) -> tuple[list[Event], str | None]:
    """What the feed has behind a position, in pages, and the position behind it; waits for what is wanted."""
    until = [(event.run_id, event.event_id) for event in wanted]
    page = await follow(store, after=after, limit=limit, until=until)
    return page.events, page.position


def without(events: Iterable[Event], found: Sequence[Event]) -> list[Event]:
    """Those of the events that are still to be found."""
    seen = {(event.run_id, event.event_id) for event in found}
    return [event for event in events if (event.run_id, event.event_id) not in seen]


async def commit_all(store: StorageBackend, appends: Sequence[Append]) -> None:
    """Commit appends, and break the law if one of them is not committed."""
    same(await store.commit(appends), committed(appends), "a commit")


# ---- what is in it ---------------------------------------------------------------------


@proves(34)
async def the_feed_has_every_event_once(place: Place) -> None:
    """Whatever the size of its pages, the feed has the committed events, and no conflicting ones."""
    one, other = await place.open_many(2)
    histories = [grown(run_id, 3, 1, 20) for run_id in ("a", "b", "é/1")]
    for store, batch in zip((one, other, one, other), zip(*histories, strict=True), strict=True):
        await commit_all(store, batch)
        await store.commit([created("a", event_id="rival"), batch[1]])  # a conflict and a resubmission
    expected = events_of(append for history in histories for append in history)
    for limit in (1, 2, 7, 1000):
        found, _ = await read_feed(one, None, limit, expected)
        same(in_order(found), expected, f"all that the feed has, in pages of {limit}")
    same((await one.feed(limit=0)).events, [], "the feed, asked for no events")


@proves(34)
async def the_feed_has_what_follows_a_deletion(place: Place) -> None:
    """A deleted run's events leave the feed; the others stay, and those of a new run of that id come."""
    store = await place.open()
    old, kept = grown("a", 2, 1), grown("b", 1, 2)
    for batch in zip(old, kept, strict=True):
        await commit_all(store, batch)
    await store.delete("a", expected=old[-1].record.head)
    found, _ = await read_feed(store, None, 2, events_of(kept))
    same(in_order(found), events_of(kept), "the feed after one of two runs was deleted")
    new = created("a", incarnation="i2", event_id="n1")
    await commit_all(store, [new])
    expected = events_of([*kept, new])
    found, _ = await read_feed(store, None, 2, expected)
    same(in_order(found), expected, "the feed after the deleted run's id was used again")


@proves(35)
async def the_feed_keeps_the_order_of_each_run(place: Place) -> None:
    """However many write at once, a run's events come in the order of their sequence."""
    stores = await place.open_many(place.profile.racers)
    histories = [grown(f"r{n}", *(1, 5, 30) * 3) for n in range(len(stores))]
    await at_once(*(write_alone(s, h) for s, h in zip(stores, histories, strict=True)))
    everything = events_of(append for history in histories for append in history)
    found, _ = await read_feed(stores[0], None, 7, everything)
    for history in histories:
        run_id = history[0].run_id
        sequences = [event.sequence for event in found if event.run_id == run_id]
        same(sequences, [*range(1, history[-1].record.head + 1)], f"sequences in the feed of run {run_id!r}")


async def write_alone(store: StorageBackend, history: Sequence[Append]) -> None:
    """Make appends one after the other, giving way to others in between."""
    for append in history:
        await commit_all(store, [append])
        await asyncio.sleep(0)


# ---- following it ----------------------------------------------------------------------


@proves(36, seconds=300)
async def a_follower_misses_nothing_of_many_writers(place: Place) -> None:
    """While several handles commit large and small batches, a reader of small pages gets every event."""
    follower, *stores = await place.open_many(1 + place.profile.racers)
    position: str | None = None
    for number in range(place.profile.rounds):
        batches = [grown_batch(f"r{number}-{n}", place.random.choice((1, 3, 40))) for n in range(len(stores))]
        ended = asyncio.Event()
        writers = at_once(*(write_batches(s, b) for s, b in zip(stores, batches, strict=True)))
        limit = place.random.choice((1, 3, 1000))
        _, (found, position) = await at_once(
            end_after(writers, ended), follow_while(follower, position, limit, ended)
        )
        expected = events_of(append for batch in batches for commit in batch for append in commit)
        rest, position = await read_feed(follower, position, limit, without(expected, found))
        check_missed([*found, *rest], expected)


@proves(36, needs=("multi_process",), seconds=120)
async def a_follower_misses_nothing_of_another_process(place: Place) -> None:
    """While another process commits, a reader here gets every event of it."""
    store, writer = await place.open_many(2)
    child = await place.spawn(write_when_told, run_id="far")
    same(await child.told(), "ready", "another process opened the store")
    near = [grown_batch(f"near{n}", 3) for n in range(3)]
    ended = asyncio.Event()
    await child.say("go")
    writers = at_once(child.told(), *(write_batches(writer, batch) for batch in near))
    _, (found, position) = await at_once(end_after(writers, ended), follow_while(store, None, 3, ended))
    expected = events_of(a for batch in (*near, grown_batch("far", 3)) for commit in batch for a in commit)
    rest, _ = await read_feed(store, position, 3, without(expected, found))
    check_missed([*found, *rest], expected)


@proves(36, needs=("transactions",), seconds=120)
async def a_follower_misses_nothing_of_a_transaction_that_ends_late(place: Place) -> None:
    """What was written first and committed last lies behind every position that was handed out before."""
    store, other, follower = await place.open_many(3)
    late, early = [created("late")], [created("early")]
    async with transaction_of(place, store) as within:
        await commit_within(store, late, within)
        await glance(other.commit(early))  # it may have to wait
        found, position = await read_feed(follower, None, 10, ())
    await commit_all(other, early)
    expected = events_of([*late, *early])
    rest, _ = await read_feed(follower, position, 10, without(expected, found))
    check_missed([*found, *rest], expected)


def grown_batch(prefix: str, runs: int) -> list[tuple[Append, ...]]:
    """Commits in which so many runs grow together."""
    return [*zip(*(grown(f"{prefix}-{n}", 2, 1, 4) for n in range(runs)), strict=True)]


async def write_batches(store: StorageBackend, batches: Sequence[Sequence[Append]]) -> None:
    """Make commits one after the other, giving way to others in between."""
    for batch in batches:
        await commit_all(store, batch)
        await asyncio.sleep(0)


async def write_when_told(place: ChildPlace, run_id: str) -> None:
    """Commit batches when the parent says so."""
    store = await place.open()
    place.tell("ready")
    await place.hear()
    await write_batches(store, grown_batch(run_id, 3))
    place.tell("done")


async def end_after(writers: Awaitable[object], ended: asyncio.Event) -> None:
    """Say so when all writers have ended."""
    await writers
    ended.set()


async def follow_while(
    store: StorageBackend, position: str | None, limit: int, ended: asyncio.Event
) -> tuple[list[Event], str | None]:
    """Read page after page as quickly as possible, until the writers have ended."""
    found: list[Event] = []
    while not ended.is_set():
        page = await store.feed(after=position, limit=limit)
        found += page.events
        position = page.position
        await asyncio.sleep(0)
    return found, position


def check_missed(found: Sequence[Event], expected: Sequence[Event]) -> None:
    """Break the law unless what was expected was found."""
    missed = without(expected, found)
    names = ", ".join(f"{event.sequence} of {event.run_id}" for event in missed[:5])
    holds(not missed, f"a follower never got {len(missed)} of {len(expected)} events, such as {names}")


# ---- positions -------------------------------------------------------------------------


@proves(37)
async def every_handle_goes_on_from_a_position(place: Place) -> None:
    """A position is a text that another handle goes on from, however old it is."""
    one, other = await place.open_many(2)
    history = grown("a", 2, 3, 1)
    await commit_all(one, history[:1])
    await commit_all(one, history[1:2])
    begun = await one.feed(limit=2)
    same(type(begun.position), str, "type of a position")
    await commit_all(one, history[2:3])
    await commit_all(other, history[3:])
    for store in (other, one, other):
        found, _ = await read_feed(store, begun.position, 2, without(events_of(history), begun.events))
        whole = in_order([*begun.events, *found])
        same(whole, events_of(history), "the feed before and behind a position that was handed out before")


@proves(37, needs=("persists",))
async def the_feed_goes_on_after_reopening(place: Place) -> None:
    """A position that was stored before the last handle was closed goes on at the same place."""
    store = await place.open()
    history = grown("a", 2, 3, 1)
    for append in history[:3]:
        await commit_all(store, [append])
    begun = await store.feed(limit=4)
    store = await place.reopen(store)
    await commit_all(store, history[3:])
    found, _ = await read_feed(store, begun.position, 2, without(events_of(history), begun.events))
    same(in_order([*begun.events, *found]), events_of(history), "the feed before and after another opening")


@proves(37)
async def a_position_that_was_never_handed_out_is_lost(place: Place) -> None:
    """What is no position of this feed is `FeedPositionLost`, not an empty page or a driver's error."""
    store = await place.open()
    await commit_all(store, [created("a")])
    for position in GARBAGE:
        said = f"the feed after {position[:20]!r}, which is no position"
        await raises(FeedPositionLost, store.feed(after=position, limit=10), said)
    found, _ = await read_feed(store, None, 10, created("a").events)
    same(found, list(created("a").events), "the feed from its beginning, after positions that are none")


@proves(37)
async def a_position_of_elsewhere_hides_nothing(place: Place) -> None:
    """Another namespace's position is refused, or whatever is committed from now on lies behind it."""
    store, other = await place.open(), await place.open(place.another_namespace())
    first, *rest = grown("a", 1, 2)
    long = grown("b", *[3] * 8)
    for append in long:
        await commit_all(other, [append])
    _, position = await read_feed(other, None, 100, events_of(long))
    await commit_all(store, [first])
    try:
        await store.feed(after=position, limit=10)
    except FeedPositionLost:
        return
    for append in rest:
        await commit_all(store, [append])
    found, _ = await read_feed(store, position, 10, events_of(rest))
    missed = [event for event in events_of(rest) if event not in found]
    same(missed, [], "events committed after another namespace's position was taken, and not found behind it")


@proves(37)
async def a_position_before_a_deletion_is_good_or_lost(place: Place) -> None:
    """After runs were deleted, an old position goes on at its place, or is `FeedPositionLost`."""
    store = await place.open()
    kept, gone = grown("a", 1, 1), grown("b", 30, 30)
    for batch in zip(kept, gone, strict=True):
        await commit_all(store, batch)
    begun = await store.feed(limit=3)
    await store.delete("b", expected=gone[-1].record.head)
    further = grown("c", 1)
    for append in further:
        await commit_all(store, [append])
    expected = [event for event in events_of([*kept, *further]) if event not in begun.events]
    try:
        found, _ = await read_feed(store, begun.position, 2, expected)
    except FeedPositionLost:
        found, _ = await read_feed(store, None, 2, expected)
        found = [event for event in found if event not in begun.events]
    found = in_order(e for e in found if e.run_id != "b")
    same(found, in_order(expected), "the feed behind a position before a deletion")


# ---- where it is not declared ------------------------------------------------------------


@proves(34, absent=True)
async def a_feed_that_is_not_declared_is_not_there(place: Place) -> None:
    """A backend that does not declare a feed has none."""
    store = await place.open()
    await commit_all(store, [created("a")])
    try:
        events = (await store._feed(None, 10)).events
    except Exception:
        return
    if events == list(created("a").events):
        raise LawBroken("the feed works, and is not declared: say feed=True in the capabilities")
