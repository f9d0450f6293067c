"""Laws 1, 3, 4, 5 and 9: where a log begins, how it is numbered, which head decides, how it is read."""

from __future__ import annotations

from ...storage import Committed, Conflict
from ..appends import after, ahead, created, noted
from ..broken import same
from ..looks import claimed, event_ids, head_of, outcome, run_ids, settled
from ..place import Place
from .registry import proves


@proves(1)
async def a_run_that_nobody_made_is_empty(place: Place) -> None:
    """Nothing is there before the first append, and that append expects head 0."""
    store = await place.open()
    same(await store.read("a"), [], "read of a run that nobody made")
    same(await store.get("a"), None, "get of a run that nobody made")
    same(await outcome(store, created("a")), "Committed", "the first append of a run, expecting 0")
    same(await event_ids(store, "a"), ["e1"], "events after the first append")
    same(await head_of(store, "a"), 1, "the head after the first append")
    same(await store.read("b"), [], "read of a run that nobody made, beside one that somebody made")
    same(await store.get("b"), None, "get of a run that nobody made, beside one that somebody made")


@proves(1)
async def looking_at_a_run_does_not_make_it(place: Place) -> None:
    """Reading, getting and claiming a run that is not there leaves no run behind."""
    store = await place.open()
    await store.read("a")
    await store.get("a")
    await store.claim(owner="x", now=place.now, lease=place.unit, run_id="a")
    same(await run_ids(store), [], "the listing after somebody looked at a run that nobody made")
    same(await claimed(place, store), [], "a claim after somebody looked at a run that nobody made")
    same(await outcome(store, created("a")), "Committed", "the first append after those looks")
    same(await run_ids(store), ["a"], "the listing after the run was made")


@proves(3)
async def sequences_are_dense_from_1(place: Place) -> None:
    """Events are numbered 1, 2, 3, … for each run, over appends of any length."""
    store = await place.open()
    lone, busy = created("lone"), created("busy")
    await store.commit([lone, busy])
    for count in (1, 3, 2, 100, 1):
        lone = after(lone.record)
        busy = after(busy.record, *[noted()] * count)
        await store.commit([lone, busy])
    numbers = [event.sequence for event in await store.read("busy")]
    same(numbers, list(range(1, 109)), "sequences of 108 events in appends of 1, 1, 3, 2, 100 and 1")
    numbers = [event.sequence for event in await store.read("lone")]
    same(numbers, [1, 2, 3, 4, 5, 6], "sequences of 6 events in appends of one")


@proves(3)
async def sequences_have_no_gap_where_an_append_conflicted(place: Place) -> None:
    """An append that was not made uses up no number."""
    store = await place.open()
    append = created("a")
    await store.commit([append])
    for _ in range(3):
        await store.commit([after(created("a").record, noted(), noted(), prefix="stale")])
        append = after(append.record, noted(), noted())
        await store.commit([append])
    numbers = [event.sequence for event in await store.read("a")]
    same(numbers, [1, 2, 3, 4, 5, 6, 7], "sequences of 7 events, between which appends conflicted")


@proves(3)
async def answers_and_records_count_as_the_log_does(place: Place) -> None:
    """The head that an append is answered, and that the record shows, is the last event's sequence."""
    store = await place.open()
    append = created("a")
    same(await settled(store, append), Committed("a", 1), "the answer to the first event")
    for count in (4, 1, 7):
        append = after(append.record, *[noted()] * count)
        head = append.expected + count
        same(await settled(store, append), Committed("a", head), f"the answer to events up to {head}")
        same(await head_of(store, "a"), head, f"the record's head after events up to {head}")


@proves(4)
async def a_stale_expected_sequence_conflicts(place: Place) -> None:
    """An append that expects a head which the log has left is answered with the head there is."""
    store = await place.open()
    same(await outcome(store, created("a")), "Committed", "the first append")
    records = [created("a").record]
    for _ in range(4):
        append = after(records[-1], noted(), noted())
        same(await outcome(store, append), "Committed", "an append at the head")
        records.append(append.record)
    for record in records[:-1]:
        for length in (1, 2, 9, 12):
            stale = after(record, *[noted()] * length, prefix="rival")
            said = f"an append of {length} events that expects {record.head} where the head is 9"
            same(await settled(store, stale), Conflict("a", 9), said)
    rival = created("a", event_id="rival")
    same(await settled(store, rival), Conflict("a", 9), "an append that expects 0 where the head is 9")


@proves(5)
async def a_future_expected_sequence_conflicts(place: Place) -> None:
    """An append that expects a head which the log has not reached conflicts."""
    store = await place.open()
    first = created("a")
    second = after(first.record, noted(), noted())
    same(await outcome(store, first), "Committed", "the first append")
    same(await outcome(store, second), "Committed", "the second append")
    for count in (1, 2, 40):
        future = after(ahead(second.record, count), noted(), noted(), prefix="future")
        said = f"an append that expects {3 + count} where the head is 3"
        same(await outcome(store, future), "Conflict", said)
    same(await outcome(store, after(second.record)), "Committed", "an append at the head after those")


@proves(5)
async def an_append_to_a_run_that_is_not_there_conflicts(place: Place) -> None:
    """Only an append that expects 0 makes a run."""
    store = await place.open()
    for count in (1, 5):
        future = after(ahead(created("a").record, count))
        same(await outcome(store, future), "Conflict", f"an append that expects {1 + count} of no run")
    same(await outcome(store, after(created("a").record)), "Conflict", "one that expects 1 of no run")
    same(await outcome(store, created("a")), "Committed", "the append that makes the run")


@proves(9)
async def reading_a_part_equals_that_slice_of_the_whole(place: Place) -> None:
    """`after` and `limit` cut the whole log as a slice does, wherever appends begin and end."""
    store = await place.open()
    append, neighbour = created("a"), created("b")
    await store.commit([append, neighbour])
    for count in (3, 1, 2, 4):
        append, neighbour = after(append.record, *[noted()] * count), after(neighbour.record)
        await store.commit([neighbour, append])
    whole = await store.read("a")
    same(len(whole), 11, "the number of events that read gives of 11")
    for start in (*range(13), 10**9):
        for limit in (None, 1, 2, 5, 11, 12, 10**9):
            part = await store.read("a", after=start, limit=limit)
            end = None if limit is None else start + limit
            same(part, whole[start:end], f"read(after={start}, limit={limit}) of 11 events")
