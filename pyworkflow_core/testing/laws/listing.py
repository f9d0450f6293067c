"""Checks of listings: pages, what changes while they are read, filters and cursors."""

from __future__ import annotations

import asyncio
from typing import Any

from ...errors import InvalidCursor
from ...events import Event, encode_body
from ...payloads import WorkflowCompleted, WorkflowFailed
from ...record import RunRecord, RunStatus, evolve
from ...storage import Append, Page, RunQuery, StorageBackend
from ..appends import after, created, noted, resumed, suspended
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
    runs = [created(name, at=place.now + n % 4 - 2, queue=f"q{n % 2}") for n, name in enumerate(names)]
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
    stay = [f"r{n:02}" for n in range(12)]
    gone = [f"{name}-gone" for name in stay]
    await given(store, *[created(name, at=place.now) for name in [*stay, *gone]])
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
            times = (("new", place.now + 1), (found[-1] + "~", place.now), ("old", place.now - 1))
            await given(other, *[created(f"{name}{turn}", at=at) for name, at in times])
            await given(other, created(f"a{turn}", at=place.now))
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
    runs = [created(f"r{n:02}", at=place.now + n % 3) for n in range(12)]
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


async def create_some(place: Place, store: StorageBackend, count: int) -> None:
    """Create runs of three times, one after the other."""
    for n in range(count):
        await given(store, created(f"n{n:03}", at=place.now + n % 3 - 1))


@proves(31)
async def a_listing_beside_a_writer_is_complete(place: Place) -> None:
    """Listed again and again while another handle creates runs, those that were there appear once each."""
    store, other = await place.open_many(2)
    stay = [f"m{n:02}" for n in range(15)]
    await given(store, *[created(name, at=place.now) for name in stay])
    writing = asyncio.create_task(create_some(place, other, 8 * place.profile.rounds))
    for turn in range(place.profile.rounds):
        found = [record.run_id for record in await list_all(store, None, 2 + turn % 4)]
        same([name for name in found if name in stay], stay, "runs that were there before the writer began")
        same(len(found), len(set(found)), "number of different runs in a listing that had")
    await writing


ODD_ATTRIBUTES = {
    "k": "1",
    "a.b": "1",
    "$x": "é",
    'q"uote': "x'",
    "": "",
    "[0]": "e\N{COMBINING ACUTE ACCENT}",
    "k%": "%",
    "K": "true",
    "é": "null",
}
STATUSES = (RunStatus.PENDING, RunStatus.RUNNING, RunStatus.SUSPENDED, RunStatus.COMPLETED, RunStatus.FAILED)


def filtered_runs() -> tuple[list[list[Append]], list[RunRecord]]:
    """Runs that differ in everything that a filter asks for: the commits that make them, and their records."""
    first: list[Append] = []
    then: list[Append] = []
    for n in range(36):
        odd = dict([list(ODD_ATTRIBUTES.items())[n % len(ODD_ATTRIBUTES)]])
        run = created(
            f"r{n:02}",
            at=n // 4 - 3,
            workflow=("w", "W", "w.x", "wé")[n % 4],
            queue=("q", "Q", "q%")[n % 3],
            parent=(None, "p", "P", "p/1")[n // 2 % 4],
            attributes={} if n % 7 == 0 else {**odd, "n": str(n % 3), "k": f"0{n % 2}"[n % 4 // 2 :]},
        )
        first.append(run)
        match STATUSES[n % 5]:
            case RunStatus.RUNNING:
                then.append(resumed(run.record, at=20))
            case RunStatus.SUSPENDED:
                then.append(suspended(run.record, 30))
            case RunStatus.COMPLETED:
                then.append(after(run.record, encode_body(WorkflowCompleted(), 40)))
            case RunStatus.FAILED:
                then.append(after(run.record, encode_body(WorkflowFailed(), 50)))
    bare = Event("bare", 1, "e1", noted(at=2))
    record = evolve(None, [bare], incarnation="i1")  # a log that is not a workflow's
    first.append(Append("bare", "i1", 0, (bare,), record))
    records = {append.run_id: append.record for append in [*first, *then]}
    return [first, then], in_listing_order(list(records.values()))


def selects(query: RunQuery, record: RunRecord) -> bool:
    """The model of every filter."""
    exact = ((query.workflow, record.workflow), (query.queue, record.queue), (query.parent, record.parent))
    if any(wanted is not None and wanted != actual for wanted, actual in exact):
        return False
    if query.status is not None and record.status not in query.status:
        return False
    if query.created_from is not None and not query.created_from <= record.created_at:
        return False
    if query.created_before is not None and not record.created_at < query.created_before:
        return False
    return set(query.attributes.items()) <= set(record.attributes.items())


async def compare_listing(store: StorageBackend, records: list[RunRecord], parts: dict[str, Any]) -> None:
    """Compare a listing with the model."""
    query = RunQuery(**parts)
    expected = [record.run_id for record in records if selects(query, record)]
    found = [record.run_id for record in await list_all(store, query, 50)]
    same(found, expected, f"runs with {parts}")


@proves(32)
async def each_filter_selects_exactly_what_it_says(place: Place) -> None:
    """Every filter alone: values are compared exactly, and those that nothing has select nothing."""
    store = await place.open()
    commits, records = filtered_runs()
    for commit in commits:
        await given(store, *commit)
    await compare_listing(store, records, {})
    for part, values in (
        ("workflow", ("w", "W", "w.x", "w%", "", "we\N{COMBINING ACUTE ACCENT}", "wé")),
        ("queue", ("q", "Q", "q%", "q_", "default", "")),
        ("parent", ("p", "P", "p/1", "p/", "p%", "none")),
        ("status", tuple(frozenset({status}) for status in RunStatus)),
        ("created_from", (-99, -3, 0, 2, 5, 6, 99)),
        ("created_before", (-99, -3, -2, 0, 2, 5, 6, 99)),
    ):
        for value in values:
            await compare_listing(store, records, {part: value})


@proves(32)
async def odd_attributes_select_exactly(place: Place) -> None:
    """Attributes are compared by key and value, exactly, and every one that is given must be there."""
    store = await place.open()
    commits, records = filtered_runs()
    for commit in commits:
        await given(store, *commit)
    for key, value in ODD_ATTRIBUTES.items():
        await compare_listing(store, records, {"attributes": {key: value}})
        await compare_listing(store, records, {"attributes": {key: value + " "}})
        await compare_listing(store, records, {"attributes": {key: value, "n": "1"}})
    for odd in ({"k": "01"}, {"k": "1.0"}, {"k": "0"}, {"n": "%"}, {"n": ""}, {"absent": ""}, {"N": "1"}):
        await compare_listing(store, records, {"attributes": odd})


@proves(32)
async def filters_go_together(place: Place) -> None:
    """A combination selects the runs that every part of it selects."""
    store = await place.open()
    commits, records = filtered_runs()
    for commit in commits:
        await given(store, *commit)
    choice = place.random
    await compare_listing(store, records, {"status": frozenset()})
    await compare_listing(store, records, {"created_from": 2, "created_before": 2})
    for _ in range(20 * place.profile.rounds):
        like = choice.choice(records)  # so that most combinations select something
        parts = {
            "workflow": like.workflow,
            "queue": like.queue,
            "parent": like.parent,
            "status": frozenset(choice.sample(list(RunStatus), 2)) | {like.status},
            "created_from": like.created_at - choice.randrange(2),
            "created_before": like.created_at + choice.randrange(3),
            "attributes": dict(list(like.attributes.items())[: choice.randrange(3)]),
        }
        names = choice.sample(sorted(parts), choice.randrange(2, 5))
        await compare_listing(store, records, {name: parts[name] for name in names})


GARBAGE = (
    "",
    "x",
    "%%%",
    "WyJhIiwxXQ",
    "é",
    "0",
    "-1",
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
    runs = [created(name, at=place.now) for name in ("a", "b", "c")]
    await given(store, *runs)
    for cursor in GARBAGE:
        await raises(InvalidCursor, store.find(cursor=cursor), f"find with the cursor {cursor!r}")
    if store.capabilities.feed:
        position = (await store.feed(limit=2)).position
        await raises(InvalidCursor, store.find(cursor=position), f"find with the feed position {position!r}")
    first = await store.find(limit=2)
    holds(first.cursor is not None, "a page of 2 of 3 runs has no cursor")
    rest = await store.find(limit=2, cursor=first.cursor)
    same(rest.records, [runs[2].record], "the page behind a cursor that find returned")
