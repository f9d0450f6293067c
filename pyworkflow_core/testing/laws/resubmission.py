"""Laws 12 and 13: an append that is submitted again is known by its event ids, and by nothing else."""

from __future__ import annotations

import asyncio

from ...errors import EventIdReused
from ...storage import Append, Committed, LeaseChange, Refused, StorageBackend
from ..appends import after, created, noted, suspended
from ..broken import holds, same
from ..looks import claimed, event_ids, outcome, settled
from ..place import Place
from .registry import proves


@proves(12)
async def resubmitting_is_answered_as_the_first_time(place: Place) -> None:
    """An append that is there already is committed, with its own head, and is there once."""
    store, other = await place.open_many(2)
    first = created("a")
    second = after(first.record, noted('{"n":2}'), noted('{"n":3}'), noted('{"n":4}'))
    for append in (first, second):
        answer = await settled(store, append)
        holds(isinstance(answer, Committed), f"the first submission of an append was answered {answer}")
        for handle in (store, other, store):
            said = f"an append of events up to {append.record.head}, submitted again"
            same(await settled(handle, append), answer, said)
    same(await event_ids(store, "a"), ["e1", "e2", "e3", "e4"], "events that were each submitted four times")


@proves(12)
async def resubmitting_works_after_later_appends(place: Place) -> None:
    """However far the log went on, the answer is what it was, and nothing is added."""
    store, other = await place.open_many(2)
    appends = [created("a")]
    for count in (2, 1, 20, 3):
        appends.append(after(appends[-1].record, *[noted()] * count))
    answers = [await settled(store, append) for append in appends]
    same({type(answer) for answer in answers}, {Committed}, "kinds of answers to five appends")
    before = await event_ids(store, "a")
    same(len(before), 27, "the number of events of five appends")
    for handle in (store, other, await place.open()):
        for append, answer in zip(appends, answers, strict=True):
            said = f"an append of events up to {append.record.head} again, at head 27"
            same(await settled(handle, append), answer, said)
    same(await event_ids(store, "a"), before, "the log after all that was submitted again")


@proves(12)
async def resubmitting_works_among_others(place: Place) -> None:
    """In one commit with appends of other runs, each has its own answer."""
    store = await place.open()
    first, second = created("b"), created("d")
    await store.commit([first, second])
    await store.commit([after(second.record)])
    answers = await store.commit([created("a"), first, created("c"), second, created("e")])
    kinds = {answer.run_id: type(answer).__name__ for answer in answers}
    same(
        kinds,
        dict.fromkeys("abcde", "Committed"),
        "answers to three new appends and two that are submitted again",
    )
    logs = [await event_ids(store, run_id) for run_id in "abcde"]
    same(logs, [["e1"], ["e1"], ["e1"], ["e1", "e2"], ["e1"]], "the logs after that")


@proves(12)
async def resubmitting_changes_neither_lease_nor_due_time(place: Place) -> None:
    """What an append did to the lease and the wake time is done once, when it was made."""
    store = await place.open()
    first = created("a")
    taking = after(first.record, lease=LeaseChange("t", "me", place.now + 1000 * place.unit))
    releasing = suspended(taking.record, 0, lease=LeaseChange("t", "me", None))
    for append in (first, taking, releasing):
        await store.commit([append])
    await settled(store, taking)
    same(
        await claimed(place, store), ["a"], "what is due when an append that took a lease is submitted again"
    )
    asleep = suspended(releasing.record, None)
    await store.commit([asleep])
    await place.pass_time(2 * place.unit)
    await settled(store, releasing)
    same(await claimed(place, store), [], "what is due when an append is submitted again that was due then")


@proves(12)
async def an_append_and_itself_at_once_are_one(place: Place) -> None:
    """The same append, submitted by several handles at one moment, is committed for each and there once."""
    stores = await place.open_many(place.profile.racers)
    append = created("a")
    for n in range(place.profile.rounds):
        answers = await asyncio.gather(*(settled(store, append) for store in stores))
        head = append.record.head
        kinds = {type(answer).__name__ for answer in answers}
        same(
            kinds,
            {"Committed"},
            f"answers to an append of events up to {head}, submitted {len(stores)} times at once",
        )
        same(len(await event_ids(stores[0], "a")), head, "the number of events after that")
        append = after(append.record, *[noted()] * (n + 1))


@proves(12)
async def a_longer_or_shifted_append_is_no_resubmission(place: Place) -> None:
    """Only the very same ids at the very same positions are the append that was made."""
    store = await place.open()
    first = created("a")
    second = after(first.record, noted('{"n":2}'), noted('{"n":3}'))
    await store.commit([first])
    same(await outcome(store, second), "Committed", "an append of two events")
    same(await outcome(store, second), "Committed", "that append again")
    longer = after(first.record, noted('{"n":2}'), noted('{"n":3}'), noted('{"n":4}'))
    same(await outcome(store, longer), "Conflict", "an append of which the log has all but the last event")
    shifted = renamed(after(first.record, noted('{"n":3}'), noted('{"n":2}')), "e3", "e2")
    same(await outcome(store, shifted), "Conflict", "an append of ids that the log has at other positions")
    partly = renamed(after(first.record, noted('{"n":2}'), noted('{"n":3}')), "e2", "rival")
    same(await outcome(store, partly), "Conflict", "an append of which the log has the first event only")
    partly = renamed(after(first.record, noted('{"n":2}'), noted('{"n":3}')), "rival", "e3")
    same(await outcome(store, partly), "Conflict", "an append of which the log has the last event only")


@proves(12, needs=("persists",))
async def what_was_resubmitted_outlives_the_handle(place: Place) -> None:
    """An append that was answered twice is there, and known, when the store is opened again."""
    store = await place.open()
    first = created("a")
    second = after(first.record, noted(), noted())
    for append in (first, second):
        await settled(store, append)
        same(await outcome(store, append), "Committed", "an append again")
    store = await place.reopen(store)
    same(await event_ids(store, "a"), ["e1", "e2", "e3"], "the log when the store is opened again")
    same(await outcome(store, first), "Committed", "the first append again, on another handle")
    same(await outcome(store, second), "Committed", "the second append again, on another handle")


@proves(13)
async def an_event_id_at_its_place_with_another_body_is_refused(place: Place) -> None:
    """What has the id of the log's last event, at its position, and says something else is refused."""
    store = await place.open()
    first = created("a")
    await store.commit([first])
    await hold_reused(store, created("a", workflow="other"))
    await store.commit([after(first.record, noted('{"n":2}'))])
    await hold_reused(store, after(first.record, noted('{"n":0}')))
    same(await event_ids(store, "a"), ["e1", "e2"], "the log after events with known ids and other bodies")


@proves(13)
async def one_other_body_anywhere_refuses_an_append(place: Place) -> None:
    """So it is deep in the log, on another handle, and for each event of an append of several."""
    store, other = await place.open_many(2)
    first = created("a")
    second = after(first.record, noted('{"n":2}'), noted('{"n":3}'), noted('{"n":4}'))
    for append in (first, second, after(second.record)):
        await store.commit([append])
    for handle in (store, other):
        await hold_reused(handle, created("a", workflow="other"))
        await hold_reused(handle, after(first.record, noted('{"n":0}'), noted('{"n":3}'), noted('{"n":4}')))
        await hold_reused(handle, after(first.record, noted('{"n":2}'), noted('{"n":0}'), noted('{"n":4}')))
        await hold_reused(handle, after(first.record, noted('{"n":2}'), noted('{"n":3}'), noted('{"n":0}')))
    ids = await event_ids(store, "a")
    same(ids, ["e1", "e2", "e3", "e4", "e5"], "the log after events with known ids and other bodies")


@proves(13)
async def bodies_that_mean_the_same_are_not_the_same(place: Place) -> None:
    """Bodies are compared byte for byte: other spelling is another body."""
    store = await place.open()
    record = created("a").record
    await store.commit([created("a")])
    for one, another in (
        ('{"n":1}', '{"n":1.0}'),
        ('{"n":1}', '{"n": 1}'),
        ('{"a":1,"b":2}', '{"b":2,"a":1}'),
        ('{"s":"\u00e9"}', '{"s":"e\u0301"}'),
        ('{"s":"\u00e9"}', '{"s":"\\u00e9"}'),
    ):
        append = after(record, noted(one))
        same(await outcome(store, append), "Committed", f"an append of {one}")
        await hold_reused(store, after(record, noted(another)))
        record = append.record


@proves(13)
async def the_neighbours_of_a_reused_id_are_written(place: Place) -> None:
    """Only the append with the reused id is refused."""
    store = await place.open()
    await store.commit([created("b")])
    answers = await store.commit([created("a"), created("b", workflow="other"), created("c")])
    kinds = {answer.run_id: type(answer).__name__ for answer in answers}
    expected = {"a": "Committed", "b": "Refused", "c": "Committed"}
    same(kinds, expected, "answers to a reused event id between two good appends")
    same(await event_ids(store, "c"), ["e1"], "events of the neighbour behind it")


async def hold_reused(store: StorageBackend, append: Append) -> None:
    """Break the law unless the append is refused because an event id in it is taken."""
    answer = await settled(store, append)
    texts = [event.body.decode() for event in append.events]
    said = (
        f"an append behind {append.expected} of known ids with another body, {texts}, was answered {answer}"
    )
    holds(isinstance(answer, Refused), f"{said}; expected Refused")
    holds(
        isinstance(answer, Refused) and isinstance(answer.error, EventIdReused),
        f"{said}; expected EventIdReused",
    )


def renamed(append: Append, *ids: str) -> Append:
    """The append with these event ids."""
    events = tuple(
        type(event)(event.run_id, event.sequence, event_id, event.body)
        for event, event_id in zip(append.events, ids, strict=True)
    )
    return Append(append.run_id, append.incarnation, append.expected, events, append.record, append.lease)
