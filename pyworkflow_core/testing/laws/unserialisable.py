"""Law 49: what cannot be written is refused as a whole and beforehand, or it is written exactly."""

from __future__ import annotations

from typing import Any

import msgspec

from ...codec import default_codec
from ...errors import UnserializableValueError, WorkflowError
from ...events import Event, application_payload
from ...record import RunRecord
from ...storage import Append, Committed, StorageBackend
from ..appends import after, created, noted
from ..broken import holds, raises, same
from ..looks import bodies, event_ids, fed, outcome, run_ids
from ..place import Place
from .registry import proves

NO_JSON = (
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

NO_BYTES: tuple[Any, ...] = (
    object(),
    {"a": 1},
    ["laws.noted", 1, 0, {}],
    '["laws.noted",1,0,{}]',
    bytearray(b'["laws.noted",1,0,{}]'),
    7,
    None,
)
"""Bodies that nobody encoded."""

TYPED = (WorkflowError, ValueError, TypeError)
"""What a call raises that cannot be right."""


@proves(49)
async def a_body_that_is_no_json_is_refused_or_kept_exactly(place: Place) -> None:
    """A backend that cannot store a body says so before it writes; one that can gives it back as it was."""
    store = await place.open()
    for number, body in enumerate(NO_JSON):
        name, *neighbours = (f"{kind}{number:02}" for kind in "abc")
        first = created(name)
        await store.commit([first])
        odd = with_bodies(first.record, noted(), body, noted())
        made = await committed(store, created(neighbours[0]), odd, created(neighbours[1]))
        kept = (await bodies(store, name))[1:]
        if name in made:
            same(kept, [event.body for event in odd.events], f"bodies of a committed append with {body!r}")
        else:
            same(kept, [], f"bodies of an append with {body!r} that was not committed")
            same(await outcome(store, after(first.record)), "Committed", "a good append in its place")
        listed = [run_id for run_id in await run_ids(store) if run_id in (name, *neighbours)]
        expected = sorted({name, *made})
        same(listed, expected, f"runs that are there after a commit with {body!r}, of which {made} were made")


@proves(49)
async def a_body_that_nobody_encoded_is_refused(place: Place) -> None:
    """What is no bytes raises before any write; it is not turned into text to be stored."""
    store = await place.open()
    first = created("a")
    await store.commit([first])
    for body in NO_BYTES:
        said = f"an append with the body {body!r}"
        odd = with_bodies(first.record, noted(), body)
        await raises(TYPED, store.commit([created("b"), odd, created("c")]), said)
        same(await event_ids(store, "a"), ["e1"], f"the log after {said}")
        same(await run_ids(store), ["a"], f"the listing after {said}")
    same(await outcome(store, after(first.record)), "Committed", "a good append in its place")


@proves(49)
async def text_that_cannot_be_encoded_is_refused(place: Place) -> None:
    """A record with a lone surrogate, or with something that is no text, raises before any write."""
    store = await place.open()
    await store.commit([created("a")])
    for attributes in ({"k": "\ud800"}, {"\udfff": "v"}, {"k": object()}):
        said = f"a run with the attributes {attributes}"
        fine = created("b")
        record = msgspec.structs.replace(fine.record, attributes=attributes)
        bad = Append("b", "i1", 0, fine.events, record)
        await raises(TYPED, store.commit([created("c"), bad, created("d")]), said)
        same(await run_ids(store), ["a"], f"the listing after a commit with {said}")
        strange = {run_id for run_id, _ in await fed(store)} - {"a"}
        same(strange, set(), f"runs in the feed after a commit with {said}")
    same(await outcome(store, created("b")), "Committed", "the run with attributes that can be encoded")


@proves(49)
async def a_value_that_cannot_be_serialised_forms_no_append(place: Place) -> None:
    """The core names the way to such a value before a backend sees anything; the next append is made."""
    store = await place.open()
    first = created("a")
    await store.commit([first])
    try:
        application_payload("laws.noted", {"items": [1, {"conn": object()}]}, default_codec)
    except UnserializableValueError as error:
        holds("conn" in error.path, f"the error names {error.path!r}, not the way to the value")
    else:
        holds(False, "an object was serialised")
    same(await event_ids(store, "a"), ["e1"], "the log after a value that could not be serialised")
    same(await outcome(store, after(first.record)), "Committed", "the next append")


async def committed(store: StorageBackend, *appends: Append) -> list[str]:
    """Commit; the runs whose appends were made: none of them, if the call raised a typed error."""
    try:
        answers = await store.commit(appends)
    except TYPED:
        return []
    return [answer.run_id for answer in answers if isinstance(answer, Committed)]


def with_bodies(record: RunRecord, *bodies: Any) -> Append:
    """An append of bodies of any kind, with the record that as many noted events would give."""
    fine = after(record, *[noted()] * len(bodies))
    events = tuple(
        Event(event.run_id, event.sequence, event.event_id, body)
        for event, body in zip(fine.events, bodies, strict=True)
    )
    return Append(fine.run_id, fine.incarnation, fine.expected, events, fine.record)
