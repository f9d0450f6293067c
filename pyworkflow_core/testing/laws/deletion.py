"""Checks of deletion: nothing of a deleted run is left, and nothing made for it ever comes back."""

from __future__ import annotations

from ...storage import Conflict, LeaseChange, RunQuery, StorageBackend
from ..appends import after, created, suspended
from ..broken import holds, raises, same
from ..looks import follow
from ..place import Place
from .given import due_run, given, ids, take, take_one
from .registry import proves


async def is_gone(place: Place, store: StorageBackend, run_id: str) -> None:
    """Show that no method knows the run."""
    same(await store.read(run_id), [], f"read of {run_id!r}, which was deleted")
    same(await store.get(run_id), None, f"get of {run_id!r}, which was deleted")
    listed = [record.run_id for record in (await store.find(RunQuery(queue="q"))).records]
    holds(run_id not in listed, f"find lists {run_id!r}, which was deleted")
    same(ids(await take(place, store, run_id=run_id)), [], f"claim of {run_id!r}, which was deleted")


@proves(56)
async def a_deleted_run_is_gone(place: Place) -> None:
    """Log, record, listing and due entry go, on every handle; the neighbours stay as they are."""
    store, other = await place.open_many(2)
    runs = [due_run(place, name, queue="q", attributes={"k": "v"}) for name in ("a", "ab", "A")]
    await given(store, *runs)
    last = after(runs[0].record)
    await given(store, last)
    await other.delete("a", expected=2)
    for handle in (store, other):
        await is_gone(place, handle, "a")
        same(await handle.read("ab"), list(runs[1].events), "read of another run after a delete")
    same(
        sorted(ids(await take(place, store, queues=["q"]))),
        ["A", "ab"],
        "claim of every due run after a delete",
    )
    store = await place.reopen(store)
    await is_gone(place, store, "a")
    same(await store.get("A"), runs[2].record, "get of another run after a delete and a new handle")


@proves(56)
async def a_delete_that_expects_another_head_removes_nothing(place: Place) -> None:
    """It is a ValueError, and the run is there; to delete what is not there is no error."""
    store, other = await place.open_many(2)
    first = due_run(place, "a", queue="q")
    last = after(first.record)
    await given(store, first)
    await given(other, last)
    for wrong in (0, 1, 3):
        said = f"delete expecting head {wrong} where it is 2"
        await raises(ValueError, store.delete("a", expected=wrong), said)
        same(await other.read("a"), [*first.events, *last.events], f"read after a {said}")
        same(await other.get("a"), last.record, f"get after a {said}")
        same((await other.find(RunQuery(queue="q"))).records, [last.record], f"find after a {said}")
    same((await take_one(place, other, "a")).record, last.record, "claim after deletes that failed")
    for name in ("a", "a", "nobody"):
        await store.delete(name, expected=2)  # there; no longer there; never there
    await is_gone(place, other, "a")


@proves(56)
async def late_appends_to_a_deleted_run_conflict(place: Place) -> None:
    """Nobody revives a deleted run by an append that was made for it: its first, its last or its next."""
    store, other = await place.open_many(2)
    first = due_run(place, "a")
    last = after(first.record)
    await given(store, first)
    await given(store, last)
    await store.delete("a", expected=2)
    late = {
        "its first, resubmitted": first,
        "its last, resubmitted": last,
        "the next one": after(last.record),
        "another first of the same incarnation": due_run(place, "a", event_id="other"),
    }
    for handle in (store, other, await place.open()):
        for name, append in late.items():
            answers = await handle.commit([append])
            same(answers, [Conflict("a", 0)], f"an append to a deleted run, {name}")
    await is_gone(place, other, "a")


@proves(56)
async def a_new_run_may_have_the_id_of_a_deleted_one(place: Place) -> None:
    """It begins at 1 with events of its own, and appends that were made for the old run conflict with it."""
    store, other = await place.open_many(2)
    first = due_run(place, "a")
    last = after(first.record)
    await given(store, first)
    await given(store, last)
    await store.delete("a", expected=2)
    new = due_run(place, "a", incarnation="i2", workflow="new")
    await given(other, new)
    for append in (first, last, due_run(place, "a", event_id="other")):
        answers = await store.commit([append])
        same(answers, [Conflict("a", 1)], f"an append expecting {append.expected}, made for the deleted run")
    stale = after(first.record, prefix="stale")
    same(await store.commit([stale]), [Conflict("a", 1)], "the old run's append at the new run's head")
    then = after(new.record)
    await given(store, then)
    same(await other.read("a"), [*new.events, *then.events], "read of the new run")
    same((await other.find()).records, [then.record], "find after the id was used again")
    same((await take_one(place, other, "a")).record, then.record, "claim of the new run")


@proves(56)
async def the_lease_of_a_deleted_run_is_gone(place: Place) -> None:
    """A deleted run's lease keeps nobody from the new run, and its holder has no say in that one."""
    store, other = await place.open_many(2)
    lease = LeaseChange("t", "driver", place.now + 900 * place.unit)
    await given(store, due_run(place, "a"), due_run(place, "b", lease=lease))
    claim = await take_one(place, store, "a")
    for name in ("a", "b"):
        await other.delete(name, expected=1)
    same(await store.extend(claim, place.now + 950 * place.unit), False, "extend after the run was deleted")
    same(await store.release(claim), False, "release after the run was deleted")
    runs = [due_run(place, name, incarnation="i2") for name in ("a", "b")]
    await given(other, *runs)
    same(await store.extend(claim, place.now + 950 * place.unit), False, "extend by the old run's holder")
    claimed = sorted(ids(await take(place, other, owner="new worker")))
    same(claimed, ["a", "b"], "claim of new runs whose old ones were leased")
    same(await store.release(claim), False, "release by the old run's holder")
    same(ids(await take(place, store)), [], "claim after that release")


@proves(56)
async def a_deleted_sleeper_does_not_wake(place: Place) -> None:
    """No due entry of a deleted run is left to come due, for itself or for a new run that only waits."""
    store = await place.open()
    runs = [created(name, at=place.now, wake_at=place.now + place.unit) for name in ("a", "b", "c")]
    await given(store, *runs)
    for name in ("a", "b"):
        await store.delete(name, expected=1)
    new = created("b", at=place.now, incarnation="i2")
    await given(store, new)
    await given(store, suspended(new.record, None))
    await place.pass_time(2 * place.unit)
    same(ids(await take(place, store)), ["c"], "claim when deleted runs would have been due")


@proves(56, needs=("feed",))
async def the_feed_goes_on_after_a_delete(place: Place) -> None:
    """Around a delete the feed gives every event of the other runs, and those of the id's new run from 1."""
    store, other = await place.open_many(2)
    old, kept = due_run(place, "a"), due_run(place, "b")
    await given(store, old, kept)
    await given(store, after(old.record))
    start = (await store.feed(limit=1)).position
    await other.delete("a", expected=2)
    new = due_run(place, "a", incarnation="i2", event_id="new-1")
    last = after(new.record, prefix="new-")
    await given(store, new)
    await given(store, last, after(kept.record))
    ends = [("a", last.events[-1].event_id), ("b", after(kept.record).events[-1].event_id)]
    for position in (None, start):
        events = (await follow(other, after=position, limit=2, until=ends)).events
        found = [event for event in events if event.event_id.startswith("new-")]
        same(found, [*new.events, *last.events], f"the new run's events in the feed after {position!r}")
        holds(after(kept.record).events[0] in events, "an event of another run is missing in the feed")
