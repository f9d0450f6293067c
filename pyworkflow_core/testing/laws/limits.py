"""Law 48: what is larger than a backend declares is refused alone, and leaves nothing."""

from __future__ import annotations

from collections.abc import Sequence

from ...errors import LimitExceeded
from ...storage import Answer, Committed, Refused
from ..appends import after, created, noted, noted_of
from ..broken import same
from ..looks import event_ids, outcome, run_ids, shown
from ..place import Place
from .registry import proves

LARGEST = 2**26
"""Limits above this many bytes are not tried."""

MOST = 10_000
"""Limits above this many events are not tried."""


@proves(48)
async def an_oversized_event_refuses_its_own_append_only(place: Place) -> None:
    """Its append is answered LimitExceeded and leaves nothing; its neighbours are committed."""
    store = await place.open()
    first = created("a")
    same(await outcome(store, first), "Committed", "an append of a small event")
    most = store.limits.event_bytes
    if most is None or most > LARGEST:
        return  # nothing that is tried here is too large
    before = await shown(store, "a")
    too_large = after(first.record, noted(), noted_of(most + 1), noted())
    said = f"an event of {most + 1} bytes, where limits.event_bytes is {most}"
    hold_refused(await store.commit([created("b"), too_large, created("c")]), ["b", "c"], said)
    same(await shown(store, "a"), before, f"the run after an append with {said}")
    same(await run_ids(store), ["a", "b", "c"], f"the listing after an append with {said}")
    same(await outcome(store, after(first.record)), "Committed", "a smaller append in its place")


@proves(48)
async def an_append_of_too_many_events_is_refused_alone(place: Place) -> None:
    """So is one with more events than the backend declares; one with just as many is committed."""
    store = await place.open()
    first = created("a")
    same(await outcome(store, first), "Committed", "an append of one event")
    most = store.limits.append_events
    if most is None or most > MOST:
        return  # nothing that is tried here is too much
    too_long = after(first.record, *[noted()] * (most + 1))
    said = f"an append of {most + 1} events, where limits.append_events is {most}"
    hold_refused(await store.commit([created("b"), too_long, created("c")]), ["b", "c"], said)
    same(await event_ids(store, "a"), ["e1"], f"the log after {said}")
    longest = after(first.record, *[noted()] * most)
    same(await outcome(store, longest), "Committed", f"an append of {most} events")
    same(len(await event_ids(store, "a")), 1 + most, "the number of events after that")


@proves(48)
async def an_append_of_too_many_bytes_is_refused_alone(place: Place) -> None:
    """So is one whose events are each small enough, and together too large."""
    store = await place.open()
    first = created("a")
    same(await outcome(store, first), "Committed", "an append of one small event")
    most = store.limits.append_bytes
    if most is None or most > LARGEST:
        return  # nothing that is tried here is too large
    part = noted_of(min(most, store.limits.event_bytes or most) // 2)
    too_large = after(first.record, *[part] * (most // len(part) + 1))
    said = f"an append of more than {most} bytes, where limits.append_bytes is {most}"
    hold_refused(await store.commit([created("b"), too_large]), ["b"], said)
    same(await event_ids(store, "a"), ["e1"], f"the log after {said}")
    same(await event_ids(store, "b"), ["e1"], "the log of its neighbour")


@proves(48)
async def an_oversized_record_refuses_its_own_append_only(place: Place) -> None:
    """Attributes over 512 bytes, or a record over 2 kB, refuse the creation of their run alone."""
    store = await place.open()
    large = created("a", attributes={"k": "x" * 600}), created("a", tags=("x" * 3000,))
    for number, too_large in enumerate(large):
        good = [f"b{number}", f"c{number}"]
        answers = await store.commit([created(good[0]), too_large, created(good[1])])
        hold_refused(answers, good, "a run with too large attributes, or too large tags")
        same("a" in await run_ids(store), False, "whether a run with too large a record is listed")
        same(await event_ids(store, good[1]), ["e1"], "the log of its neighbour")
    same(await outcome(store, created("a")), "Committed", "the run with a smaller record")
    same(await event_ids(store, "a"), ["e1"], "the log of the run with a smaller record")


def hold_refused(answers: Sequence[Answer], good: list[str], said: str) -> None:
    """Break the law unless `good` were committed and one more was refused as too large."""
    made = [answer.run_id for answer in answers if isinstance(answer, Committed)]
    same(made, good, f"neighbours that are committed beside {said}")
    errors = [type(answer.error).__name__ for answer in answers if isinstance(answer, Refused)]
    same(errors, [LimitExceeded.__name__], f"errors of the refused answers to {said}")
