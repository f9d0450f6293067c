"""Checks of listings: pages, what changes while they are read, and cursors."""

from __future__ import annotations

import asyncio

from ...errors import InvalidCursor
from ...record import RunRecord, RunStatus
from ...storage import Append, Page, RunQuery, StorageBackend
from ..appends import created, resumed, suspended
from ..broken import LawBroken, holds, raises, same
from ..place import Place
from .given import given
from .registry import proves


async def list_all(store: StorageBackend, query: RunQuery | None, size: int) -> list[RunRecord]:
    """Every page, one behind the other; stops where a listing does not end."""
    found: list[RunRecord] = []
    cursor: str | None = None
    while len(found) < 1000:
        page = await store.find(query, cursor=cursor, limit=size)
        holds(len(page.records) <= size, f"a page with limit {size} has {len(page.records)} runs")
        found += page.records
        if (cursor := page.cursor) is None:
            return found
        if not page.records:
            raise LawBroken(
                f"a page without runs, after {len(found)} of them, says that more follow: {cursor!r}"
            )
    return found


def in_listing_order(records: list[RunRecord]) -> list[RunRecord]:
    """Newest first, then by id."""
    return sorted(records, key=lambda record: (-record.created_at, record.run_id))


ODD_NAMES = (
    "a",
    "B",
    "b",
    "é",
    "e\N{COMBINING ACUTE ACCENT}",
    "a/b",
    "10",
    "9",
    "_",
    "\N{REPLACEMENT CHARACTER}",
)


def many_runs(place: Place, count: int) -> list[Append]:
    """Runs of a few creation times, with ids that sort oddly, in no order."""
    names = [ODD_NAMES[n % 10] + (str(n // 10) if n > 9 else "") for n in range(count)]
    names[-1] = "\N{GRINNING FACE}"
    now = place.now
    runs = [created(name, at=now + n % 4 - 2, queue=f"q{n % 2}") for n, name in enumerate(names)]
    place.random.shuffle(runs)
    return runs


@proves(30)
async def pages_of_any_size_cover_every_run_once(place: Place) -> None:
    """All pages together are all runs, newest first, then by id, however large a page is."""
    store, other = await place.open_many(2)
    runs = many_runs(place, 24)
    await given(store, *runs)
    expected = in_listing_order([run.record for run in runs])
    for size in (1, 2, 7, 12, 23, 24, 25, 500):
        same(await list_all(other, None, size), expected, f"24 runs in pages of {size}")


@proves(30)
async def pages_cover_what_a_filter_selects(place: Place) -> None:
    """A filter and a limit go together: the limit counts runs that match."""
    store = await place.open()
    runs = many_runs(place, 24)
    await given(store, *runs)
    expected = in_listing_order([run.record for run in runs if run.record.queue == "q1"])
    for size in (1, 5, 12, 500):
        found = await list_all(store, RunQuery(queue="q1"), size)
        same(found, expected, f"the 12 runs of queue q1, of 24, in pages of {size}")
    same(await list_all(store, RunQuery(queue="q3"), 5), [], "the runs of a queue that has none")


@proves(30)
async def a_page_is_as_full_as_it_can_be(place: Place) -> None:
    """A page has as many runs as its limit says while there are so many; None says that no more follow."""
    store = await place.open()
    runs = many_runs(place, 12)
    await given(store, *runs)
    expected = in_listing_order([run.record for run in runs])
    page = await store.find(limit=5)
    same(page.records, expected[:5], "the first page of 5 of 12 runs")
    page = await store.find(limit=5, cursor=page.cursor)
    same(page.records, expected[5:10], "the second page of 5 of 12 runs")
    page = await store.find(limit=5, cursor=page.cursor)
    same(page, Page(expected[10:], None), "the last page of 5 of 12 runs")
    same(await store.list_runs(limit=3), expected[:3], "list_runs of 3 of 12 runs")
    same([await store.get(record.run_id) for record in expected], expected, "each run by its id")


@proves(31)
async def runs_that_come_and_go_move_no_other(place: Place) -> None:
    """While runs are created before, at and behind the cursor, and others deleted, the rest appears once."""
    store, other = await place.open_many(2)
    now, stay = place.now, [f"r{n:02}" for n in range(12)]
    gone = [f"{name}-gone" for name in stay]
    await given(store, *[created(name, at=now) for name in [*stay, *gone]])
    found: list[str] = []
    cursor: str | None = None
    for turn in range(60):
        page = await store.find(cursor=cursor, limit=3)
        found += [record.run_id for record in page.records]
        if (cursor := page.cursor) is None:
            break
        for name in {*gone[:1], *(r.run_id for r in page.records[-1:] if r.run_id in gone)}:
            gone.remove(name)
            await other.delete(name, expected=1)
        if turn < 8:
            times = (("new", now + 1), (found[-1] + "~", now), ("old", now - 1))
            await given(other, *[created(f"{name}{turn}", at=at) for name, at in times])
            await given(other, created(f"a{turn}", at=now))
    same(
        [name for name in found if name in stay],
        stay,
        "runs that were there all the time, as they were listed",
    )
    same(len(found), len(set(found)), "number of different runs in a listing that had")


@proves(31)
async def a_run_that_changes_and_still_matches_appears_once(place: Place) -> None:
    """A run that is appended to during a listing keeps its place in it, as long as it matches."""
    store, other = await place.open_many(2)
    now = place.now
    runs = [created(f"r{n:02}", at=now + n % 3) for n in range(12)]
    await given(store, *runs)
    query = RunQuery(status=frozenset({RunStatus.PENDING, RunStatus.RUNNING, RunStatus.SUSPENDED}))
    expected = [record.run_id for record in in_listing_order([run.record for run in runs])]
    last = {run.run_id: run for run in runs}
    found: list[str] = []
    cursor: str | None = None
    for turn in range(8):
        page = await store.find(query, cursor=cursor, limit=2)
        found += [record.run_id for record in page.records]
        if (cursor := page.cursor) is None:
            break
        for name in expected[turn % 2 :: 2]:
            old = last[name].record
            at = old.updated_at + 1000
            last[name] = resumed(old, at=at) if turn % 3 else suspended(old, None, at=at)
        await given(other, *[last[name] for name in expected[turn % 2 :: 2]])
    same(found, expected, "runs that matched all the time while appends changed their status")


async def create_some(store: StorageBackend, now: int, count: int) -> None:
    """Create runs of three times, one after the other."""
    for n in range(count):
        await given(store, created(f"n{n:03}", at=now + n % 3 - 1))


async def list_again_and_again(store: StorageBackend, stay: list[str], count: int) -> None:
    """List in small pages; the runs that stay must be there once, in their order, and no other twice."""
    for turn in range(count):
        found = [record.run_id for record in await list_all(store, None, 2 + turn % 4)]
        same([name for name in found if name in stay], stay, "runs that were there before the writer began")
        same(len(found), len(set(found)), "number of different runs in a listing that had")


@proves(31)
async def a_listing_beside_a_writer_is_complete(place: Place) -> None:
    """Listed again and again while another handle creates runs, those that were there appear once each."""
    store, other = await place.open_many(2)
    now, stay = place.now, [f"m{n:02}" for n in range(15)]
    await given(store, *[created(name, at=now) for name in stay])
    rounds = place.profile.rounds
    await asyncio.gather(create_some(other, now, 8 * rounds), list_again_and_again(store, stay, rounds))


GARBAGE = (
    "",
    "x",
    "%%%",
    "WyJhIiwxXQ",
    "é",
    "null",
    "a" * 3000,
    "'; --",
    "\n",
    "e30",
    "W10",
    "WzEsMl0",
)


@proves(33)
async def a_cursor_that_is_none_is_a_typed_error(place: Place) -> None:
    """What `find` did not return is `InvalidCursor`, and what it returned goes on where it stopped."""
    store = await place.open()
    await given(store, *[created(name, at=n) for n, name in enumerate(("a", "b", "c"))])
    for cursor in GARBAGE:
        await raises(InvalidCursor, store.find(cursor=cursor), f"find with the cursor {cursor!r}")
    if store.capabilities.feed:
        position = (await store.feed(limit=2)).position
        await raises(InvalidCursor, store.find(cursor=position), f"find with the feed position {position!r}")
    first = await store.find(limit=2)
    holds(first.cursor is not None, "a page of 2 of 3 runs has no cursor")
    rest = await store.find(limit=2, cursor=first.cursor)
    listed = sorted(record.run_id for record in [*first.records, *rest.records])
    same(listed, ["a", "b", "c"], "a page of 2 and what is behind its cursor, of 3 runs")
