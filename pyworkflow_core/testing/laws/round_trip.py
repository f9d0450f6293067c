"""Laws 2 and 51: what is read is what was written, byte for byte, whether or not anybody knows its type."""

from __future__ import annotations

from ...events import encode_body
from ...payloads import (
    WorkflowCancelled,
    WorkflowCompleted,
    WorkflowFailed,
    WorkflowInterrupted,
    WorkflowResumed,
    WorkflowSuspended,
)
from ..appends import after, created, noted, noted_of
from ..broken import same
from ..looks import bodies, claimed, outcome
from ..place import Place
from .registry import proves

DATA = {
    "an empty object": "{}",
    "integers that no double has": '{"a":9007199254740993,"b":-9007199254740993,"c":18446744073709551615}',
    "an integer of thirty digits": '{"a":123456789012345678901234567890}',
    "floats as they were spelled": '{"a":1.10,"b":1E5,"c":1e-07,"d":0.1,"e":-0.0,"f":1.0,"g":100.0}',
    "an accent in both normal forms": '{"nfc":"\u00e9","nfd":"e\u0301","compatible":"\ufb01\u212b"}',
    "escapes": r'{"a":"\u00e9\n\t\r\b\f\\ \/ \"","b":"\ud83d\ude00","c":"\\n\\u00e9"}',
    "an escaped NUL": r'{"a":"x\u0000y"}',
    "line separators": '{"a":"\u2028 \u2029 \u0085 \x7f \u00a0 \ufeff \u200b"}',
    "letters of many scripts": '{"日本語":"שלום ไทย \U0001f600 \U00010348 \U0010ffff \uffff"}',
    "keys out of order, twice and odd": '{"b":1,"a":2,"b":3,"":4,"$set":5,"a.b":6,"_id":7,"__proto__":8}',
    "spaces and tabs between tokens": '{ "a" : [ 1 ,\t2 ] ,  "b":  { } }',
    "false, null and empty things": '{"a":null,"b":false,"c":"","d":[],"e":{},"f":[null,[[]]]}',
    "deep nesting": '{"a":' + "[" * 200 + '{"b":1}' + "]" * 200 + "}",
    "what looks like another language": r"""{"a":"'; DROP TABLE x; -- %s ${x} {{x}} \\' ?1 :a <b>&amp;"}""",
    "what looks like an event": r'{"a":"[\"workflow_started\",1,0,{}]","b":["workflow_started",1,0,{}]}',
}
"""Data of events, in words and as JSON text."""

LARGEST = 2**26
"""Limits above this many bytes are not tried."""

TIMES = (0, 1, 999_999, 1_763_820_000_000_001, 2**53 + 1, 253_402_300_799_999_999, -1)

ODD_ATTRIBUTES = {
    "a.b": "1",
    "$where": "'",
    "": "",
    'q"uote': "x\\y",
    "e\u0301": "\u00e9",
    "K": "upper",
    "k": "lower ",
    "[0]": "%_*",
    "日本": "\U0001f600",
    "n": "007",
}

UNKNOWN = (
    b'["shop.order_audited",1,5,{"order":7}]',
    b'["shop.order_audited",99,5,{"new":[1,2]}]',
    b'["workflow_teleported",1,5,{"where":"moon"}]',
    b'["workflow_suspended",99,5,{"how":"new","wake_at":7}]',
    b'["workflow_completed",2,5,{}]',
    '["läden.größe",1,5,{"n":1}]'.encode(),
)
"""Bodies of types, and of versions of known types, that this version does not know."""


@proves(2)
async def bodies_come_back_byte_for_byte(place: Place) -> None:
    """Whatever JSON an event holds, its body is read exactly as it was written."""
    store = await place.open()
    append = created("a")
    await store.commit([append])
    for said, data in DATA.items():
        append = after(append.record, noted(data))
        await store.commit([append])
        same((await bodies(store, "a"))[-1:], [append.events[0].body], f"the body of an event with {said}")
    together = after(append.record, *[noted(data) for data in DATA.values()])
    await store.commit([together])
    read = (await bodies(store, "a"))[together.expected :]
    same(read, [event.body for event in together.events], "bodies of one append of many")


@proves(2)
async def random_text_comes_back_exactly(place: Place) -> None:
    """So does text of characters that are drawn from all of Unicode."""
    store = await place.open()
    append = created("a")
    await store.commit([append])
    planes = [range(0x20, 0x7F), range(0x80, 0x3000), range(0xE000, 0x10000), range(0x10000, 0x110000)]
    for _ in range(place.profile.rounds):
        drawn = [chr(place.random.choice(place.random.choice(planes))) for _ in range(500)]
        text = "".join(drawn).replace("\\", "").replace('"', "")
        append = after(append.record, noted(f'{{"text":"{text}"}}'))
        await store.commit([append])
        same(
            (await bodies(store, "a"))[-1:], [append.events[0].body], "the body of an event with random text"
        )


@proves(2)
async def moments_come_back_to_the_microsecond(place: Place) -> None:
    """Times before 1970, with odd microseconds and far ahead come back exactly, in events and records."""
    store = await place.open()
    for number, at in enumerate(TIMES):
        name = f"r{number}"
        await store.commit([created(name, at=at, wake_at=at + 1)])
        times = [event.time for event in await store.read(name)]
        same(times, [at], "the time of an event")
        record = await store.get(name)
        moments = record and (record.created_at, record.wake_at)
        same(moments, (at, at + 1), "when a run was created, and when it wakes")


@proves(2)
async def a_large_event_comes_back_whole(place: Place) -> None:
    """An event of many bytes is read as it was written, none of them missing."""
    store = await place.open()
    limits = store.limits
    most = [limits.event_bytes, limits.append_bytes, limits.commit_bytes, place.profile.large]
    size = min(m for m in most if m is not None) - len(noted('{"x":""}'))
    text = "é\\n" * (size // 4) + "x" * (size % 4)
    first = created("a")
    large = after(first.record, noted(f'{{"x":"{text}"}}'))
    await store.commit([first])
    same(await outcome(store, large), "Committed", f"an event of {size} bytes")
    read = await bodies(store, "a")
    same([len(body) for body in read][1:], [len(large.events[0].body)], "the size of the large body")
    same(read[1] == large.events[0].body, True, "whether the large body is the one that was written")


@proves(2)
async def an_event_as_large_as_declared_comes_back(place: Place) -> None:
    """What a backend declares as its largest event, it can store."""
    store = await place.open()
    first = created("a")
    same(await outcome(store, first), "Committed", "an append of a small event")
    same(len(await bodies(store, "a")), 1, "the number of events after that")
    declared = [store.limits.event_bytes, store.limits.append_bytes, store.limits.commit_bytes]
    most = min((limit for limit in declared if limit is not None), default=LARGEST + 1)
    if most > LARGEST:
        return  # more than is tried here
    same(await outcome(store, after(first.record, noted_of(most))), "Committed", f"an event of {most} bytes")
    sizes = [len(body) for body in await bodies(store, "a")]
    same(sizes[1:], [most], "the size of the largest event when it is read")


@proves(2)
async def an_event_comes_back_with_all_that_it_is(place: Place) -> None:
    """Run, id and body of an event, and the types of its parts, are what they were."""
    store = await place.open()
    first = created("a", event_id="E-1 é")
    second = after(first.record, noted('{"n":1}'), noted('{"n":1}'), prefix="e")
    await store.commit([first])
    await store.commit([second])
    read = await store.read("a")
    parts = [(event.run_id, event.event_id, event.body) for event in read]
    expected = [(event.run_id, event.event_id, event.body) for event in (*first.events, *second.events)]
    same(parts, expected, "run ids, event ids and bodies of the events of a run")
    kinds = {
        (type(event.run_id), type(event.sequence), type(event.event_id), type(event.body)) for event in read
    }
    same(kinds, {(str, int, str, bytes)}, "types of run id, sequence, event id and body")


@proves(2)
async def records_come_back_exactly(place: Place) -> None:
    """Every field of a record is what the append said: names, numbers, parent, odd attributes."""
    store = await place.open()
    first = created(
        "a",
        at=1_763_820_000_000_001,
        workflow="Größe v1.0",
        queue="q/1 ",
        priority=0,
        parent="p:1",
        attributes=ODD_ATTRIBUTES,
        tags=("é", "é", ""),
        wake_at=2**53 + 1,
    )
    plain = created("b", incarnation="I-2", priority=1000)
    await store.commit([first, plain])
    same(await store.get("a"), first.record, "the record of a run with all fields")
    same(await store.get("b"), plain.record, "the record of a run with few fields")
    listed = (await store.find()).records
    same({r.run_id: r for r in listed}, {"a": first.record, "b": plain.record}, "the records of a listing")


@proves(2)
async def every_status_comes_back(place: Place) -> None:
    """A record comes back with the status that its last event gave it."""
    store = await place.open()
    for number, payload in enumerate(
        (
            WorkflowSuspended(wake_at=7),
            WorkflowResumed("me"),
            WorkflowCompleted(),
            WorkflowFailed(),
            WorkflowCancelled("because"),
            WorkflowInterrupted("often", 3),
        )
    ):
        first = created(f"r{number}")
        last = after(first.record, encode_body(payload, 5))
        await store.commit([first])
        await store.commit([last])
        record = await store.get(f"r{number}")
        same(record and record.status, last.record.status, f"the status after {payload!r}")


@proves(51)
async def events_of_unknown_types_are_kept(place: Place) -> None:
    """Events of applications and of newer versions are stored, read and counted as any other."""
    store = await place.open()
    append = created("a")
    await store.commit([append])
    for body in UNKNOWN:
        append = after(append.record, body)
        same(await outcome(store, append), "Committed", f"an append of {body!r}")
        read = [(event.body, str(event.type), event.version) for event in await store.read("a")]
        event = append.events[0]
        same(
            read[append.expected :],
            [(body, str(event.type), event.version)],
            "body, type and version of an event",
        )


@proves(51)
async def unknown_events_change_nothing_but_the_head(place: Place) -> None:
    """A newer version of a known type is not taken for the old one: status and wake time stay."""
    store = await place.open()
    first = created("a")
    append = after(first.record, *UNKNOWN)
    await store.commit([first])
    await store.commit([append])
    record = await store.get("a")
    seen = record and (record.head, record.status, record.wake_at)
    expected = (1 + len(UNKNOWN), first.record.status, first.record.wake_at)
    same(seen, expected, "head, status and wake time after events of unknown types")
    same(await claimed(place, store), ["a"], "what is due after events of unknown types")
