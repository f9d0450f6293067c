"""Laws 8, 48, 49, 50 and 59: a call that cannot be right is refused, in words, before anything is written."""

from __future__ import annotations

import msgspec

from ...codec import default_codec
from ...errors import LimitExceeded, UnserializableValueError, WorkflowError
from ...events import Event, application_payload
from ...record import RunRecord
from ...storage import Answer, Append, Committed, Refused, StorageBackend
from ..appends import after, created, noted
from ..broken import holds, raises, same
from ..looks import claimed, event_ids, fed, run_ids, settled, shown
from ..place import Place
from .registry import proves

LARGEST = 2**26
"""Limits above this many bytes are not tried."""

ODD_BODIES = (
    b"",
    b"nonsense",
    b'["laws.noted",1,0,',
    b'["laws.noted",1,0,{}]]',
    b'["laws.noted",1,0,{"a":\n1}]',
    b'["laws.noted",1,0,{"a":"\r\n"}]\n',
    b'["laws.noted",1,0,{"a":"\xff\xfe"}]',
    b'["laws.noted",1,0,{"a":"\xed\xa0\x80"}]',
    b'["laws.noted",1,0,{"a":"\x00"}]',
    b"\x00\x01\x02",
)
"""Bodies that `encode_body` never makes: no JSON, more than one line, no UTF-8."""


@proves(8)
async def an_append_without_events_is_refused(place: Place) -> None:
    """It is a ValueError for a new run and for an old one, and nothing of its commit is written."""
    store = await place.open()
    first = created("a")
    await store.commit([first])
    before = await shown(store, "a")
    for empty in (
        Append("a", "i1", 1, (), first.record),
        Append("b", "i1", 0, (), created("b").record),
        Append("b", "i1", 0, (), msgspec.structs.replace(created("b").record, head=0)),
    ):
        call = store.commit([created("c"), empty, created("d")])
        await raises(
            ValueError, call, f"an append without events to run {empty.run_id!r}, in a commit of three"
        )
        same(await run_ids(store), ["a"], "the listing after a commit with an append without events")
        same(await shown(store, "c"), ([], None), "a neighbour of an append without events")
        same(await shown(store, "a"), before, "the run after an append without events")
    same(await store.commit([]), [], "the answer to a commit without appends")
    same(await settled(store, after(first.record)), Committed("a", 2), "an append at the head after those")


@proves(59)
async def a_commit_that_names_a_run_twice_is_refused(place: Place) -> None:
    """It is a ValueError, whatever the two appends are, and nothing of the commit is written."""
    store = await place.open()
    old = created("old")
    await store.commit([old])
    before = await shown(store, "old")
    first = created("a")
    for twice in (
        [first, after(first.record)],
        [first, first],
        [first, created("b"), created("a", event_id="rival")],
        [created("b"), after(old.record), first, after(old.record, prefix="rival")],
        [after(old.record), after(after(old.record).record)],
    ):
        names = [append.run_id for append in twice]
        await raises(ValueError, store.commit(twice), f"a commit of appends to {names}")
        same(await run_ids(store), ["old"], f"the listing after a commit of appends to {names}")
        same(await shown(store, "old"), before, f"the run 'old' after a commit of appends to {names}")
    same(
        await store.commit([first, after(old.record)]),
        [Committed("a", 1), Committed("old", 2)],
        "a good commit",
    )


@proves(48)
async def an_oversized_event_refuses_its_own_append_only(place: Place) -> None:
    """Its append is answered LimitExceeded and leaves nothing; its neighbours are committed."""
    store = await place.open()
    first = created("a")
    same(await settled(store, first), Committed("a", 1), "an append of a small event")
    most = store.limits.event_bytes
    if most is None or most > LARGEST:
        return  # so large that nothing is refused here
    large = noted_of(most + 1)
    too_large = after(first.record, noted(), large, noted())
    before = await shown(store, "a")
    answers = await store.commit([created("b"), too_large, created("c")])
    hold_refused(answers, ["b", "c"], f"an event of {most + 1} bytes, where limits.event_bytes is {most}")
    same(await shown(store, "a"), before, "the run after an append with an oversized event")
    same(await run_ids(store), ["a", "b", "c"], "the listing after an append with an oversized event")
    same(await settled(store, after(first.record)), Committed("a", 2), "a smaller append in its place")


@proves(48)
async def an_append_of_too_many_events_is_refused_alone(place: Place) -> None:
    """So is one with more events than the backend declares; one with just as many is committed."""
    store = await place.open()
    first = created("a")
    same(await settled(store, first), Committed("a", 1), "an append of one small event")
    most = store.limits.append_events
    if most is None or most > 10_000:
        return  # so large that nothing is refused here
    answers = await store.commit([created("b"), after(first.record, *[noted()] * (most + 1)), created("c")])
    hold_refused(answers, ["b", "c"], f"an append of {most + 1} events, where limits.append_events is {most}")
    same(await event_ids(store, "a"), ["e1"], "the log after an append of too many events")
    same(
        await settled(store, after(first.record, *[noted()] * most)),
        Committed("a", 1 + most),
        "one just as long",
    )
    same(len(await event_ids(store, "a")), 1 + most, "the number of events after that")


@proves(48)
async def an_append_of_too_many_bytes_is_refused_alone(place: Place) -> None:
    """So is one whose events are each small enough, and together too large."""
    store = await place.open()
    first = created("a")
    same(await settled(store, first), Committed("a", 1), "an append of one small event")
    most = store.limits.append_bytes
    if most is None or most > LARGEST:
        return  # so large that nothing is refused here
    part = noted_of(min(most, store.limits.event_bytes or most) // 2)
    answers = await store.commit([created("b"), after(first.record, *[part] * (most // len(part) + 1))])
    hold_refused(answers, ["b"], f"an append of over {most} bytes, where limits.append_bytes is {most}")
    same(await event_ids(store, "a"), ["e1"], "the log after an append of too many bytes")
    same(await event_ids(store, "b"), ["e1"], "the log of its neighbour")


@proves(48)
async def an_event_as_large_as_declared_is_stored(place: Place) -> None:
    """What a backend declares as its largest event, it can store."""
    store = await place.open()
    first = created("a")
    same(await settled(store, first), Committed("a", 1), "an append of a small event")
    declared = [store.limits.event_bytes, store.limits.append_bytes, store.limits.commit_bytes]
    most = min((limit for limit in declared if limit is not None), default=None)
    if most is None or most > LARGEST:
        return  # so large that nothing is refused here
    first = created("a")
    await store.commit([first])
    same(
        await settled(store, after(first.record, noted_of(most))),
        Committed("a", 2),
        f"an event of {most} bytes",
    )
    sizes = [len(event.body) for event in await store.read("a", after=1)]
    same(sizes, [most], "the size of the largest event when it is read")


@proves(48)
async def an_oversized_record_refuses_its_own_append_only(place: Place) -> None:
    """Attributes over 512 bytes, or a record over 2 kB, refuse the creation of their run alone."""
    store = await place.open()
    for number, large in enumerate(
        (created("a", attributes={"k": "x" * 600}), created("a", tags=("x" * 3000,)))
    ):
        answers = await store.commit([created(f"b{number}"), large, created(f"c{number}")])
        hold_refused(answers, [f"b{number}", f"c{number}"], "a run with too large a record")
        same(await shown(store, "a"), ([], None), "a run with too large a record")
        same(await event_ids(store, f"c{number}"), ["e1"], "the log of its neighbour")
    same(await settled(store, created("a")), Committed("a", 1), "the run with a smaller record")


@proves(49)
async def a_body_that_is_no_json_is_refused_or_kept_exactly(place: Place) -> None:
    """A backend that cannot store a body says so before it writes; one that can gives it back as it was."""
    store = await place.open()
    for number, body in enumerate(ODD_BODIES):
        name = f"r{number}"
        first = created(name)
        await store.commit([first])
        odd = with_body(first.record, noted(), body, noted())
        made = await committed(store, created(f"{name}.b"), odd, created(f"{name}.c"))
        kept = [event.body for event in await store.read(name, after=1)]
        if name in made:
            same(kept, [event.body for event in odd.events], f"bodies of a committed append with {body!r}")
        else:
            same(kept, [], f"bodies of an append with {body!r} that was not committed")
            same(await settled(store, after(first.record)), Committed(name, 2), "a good append in its place")
        expected = sorted({name, *made})
        listed = [run_id for run_id in await run_ids(store) if run_id.partition(".")[0] == name]
        same(listed, expected, f"runs that are there after a commit with {body!r}, of which {made} were made")


@proves(49)
async def text_that_cannot_be_encoded_is_refused(place: Place) -> None:
    """A record with a lone surrogate, or with something that is no text, raises before any write."""
    store = await place.open()
    await store.commit([created("a")])
    for attributes in ({"k": "\ud800"}, {"\udfff": "v"}, {"k": object()}):
        fine = created("b")
        record = msgspec.structs.replace(fine.record, attributes=attributes)
        bad = Append("b", "i1", 0, fine.events, record)
        call = store.commit([created("c"), bad, created("d")])
        await raises((WorkflowError, ValueError, TypeError), call, f"a run with the attributes {attributes}")
        same(await run_ids(store), ["a"], f"the listing after a commit with the attributes {attributes}")
        same({run_id for run_id, _ in await fed(store)} - {"a"}, set(), "runs in the feed after that commit")
    same(await settled(store, created("b")), Committed("b", 1), "the run with attributes that can be encoded")


@proves(49)
async def a_value_that_cannot_be_serialised_forms_no_append(place: Place) -> None:
    """The core names the way to such a value before a backend sees anything; the next append is made."""
    store = await place.open()
    first = created("a")
    await store.commit([first])
    data = {"items": [1, {"conn": object()}]}
    try:
        application_payload("laws.noted", data, default_codec)
    except UnserializableValueError as error:
        holds("conn" in error.path, f"the error names {error.path!r}, not the way to the value")
    else:
        holds(False, "an object was serialised")
    same(await event_ids(store, "a"), ["e1"], "the log after a value that could not be serialised")
    same(await settled(store, after(first.record)), Committed("a", 2), "the next append")


@proves(50)
async def negative_sequences_and_limits_are_errors(place: Place) -> None:
    """No negative number is taken for a place from the end, or for no limit."""
    store = await place.open()
    first = created("a", at=place.now)
    await store.commit([first])
    before = await shown(store, "a")
    same(before[0], ["e1"], "the log of one append")
    now, lease = place.now, place.unit
    for said, call in {
        "read(after=-1)": store.read("a", after=-1),
        "read(limit=-1)": store.read("a", limit=-1),
        "read(after=-1) of no run": store.read("b", after=-1),
        "find(limit=-1)": store.find(limit=-1),
        "claim(limit=-1)": store.claim(owner="x", now=now, lease=lease, limit=-1),
        "claim(lease=-1)": store.claim(owner="x", now=now, lease=-1),
        "claim(lease=0)": store.claim(owner="x", now=now, lease=0),
        "delete(expected=-1)": store.delete("a", expected=-1),
        "feed(limit=-1)": store.feed(limit=-1),
    }.items():
        await raises(ValueError, call, said)
    negative = Append("b", "i1", -1, (Event("b", 0, "e0", noted()),), ahead_of_nothing("b"))
    await raises(ValueError, store.commit([created("c"), negative]), "an append that expects -1")
    same(await run_ids(store), ["a"], "the listing after an append that expects -1")
    same(await shown(store, "a"), before, "the run after calls with negative numbers")
    same(await claimed(place, store), ["a"], "what is due after calls with negative numbers")


@proves(50)
async def a_limit_of_0_is_empty(place: Place) -> None:
    """It is not taken for no limit, and claims nothing."""
    store = await place.open()
    await store.commit([created("a", at=place.now), created("b", at=place.now)])
    same(len(await store.read("a", limit=1)), 1, "the number of events of read(limit=1)")
    same(await store.read("a", limit=0), [], "read(limit=0)")
    same((await store.find(limit=0)).records, [], "the records of find(limit=0)")
    same(await store.claim(owner="x", now=place.now, lease=place.unit, limit=0), [], "claim(limit=0)")
    same(await claimed(place, store), ["a", "b"], "what is due after a claim of none")
    if store.capabilities.feed:
        page = await store.feed(limit=0)
        same(page.events, [], "the events of feed(limit=0)")
        same(len((await store.feed(after=page.position)).events), 2, "the events behind feed(limit=0)")


async def committed(store: StorageBackend, *appends: Append) -> list[str]:
    """Commit; the runs whose appends were made: none of them, if the call raised a typed error."""
    try:
        answers = await store.commit(appends)
    except (WorkflowError, ValueError, TypeError):
        return []
    return [answer.run_id for answer in answers if isinstance(answer, Committed)]


def hold_refused(answers: list[Answer], good: list[str], said: str) -> None:
    """Break the law unless `good` were committed and all others refused as too large."""
    made = [answer.run_id for answer in answers if isinstance(answer, Committed)]
    same(made, good, f"neighbours that are committed beside {said}")
    errors = [type(answer.error).__name__ for answer in answers if isinstance(answer, Refused)]
    same(errors, [LimitExceeded.__name__], f"errors of the refused answers to {said}")


def noted_of(size: int) -> bytes:
    """A body of exactly so many bytes."""
    return noted(f'{{"x":"{"x" * (size - len(noted(chr(123) + chr(125))) - 6)}"}}')


def with_body(record: RunRecord, *bodies: bytes) -> Append:
    """An append of bodies of any kind, with the record that as many noted events would give."""
    fine = after(record, *[noted()] * len(bodies))
    events = tuple(
        Event(event.run_id, event.sequence, event.event_id, body)
        for event, body in zip(fine.events, bodies, strict=True)
    )
    return Append(fine.run_id, fine.incarnation, fine.expected, events, fine.record)


def ahead_of_nothing(run_id: str) -> RunRecord:
    """A record at head 0, which no run has."""
    return msgspec.structs.replace(created(run_id).record, head=0)
