"""Law 14: the record that is stored is the fold of the log that is stored, whenever somebody looks."""

from __future__ import annotations

import asyncio
from random import Random

from msgspec import Raw

from ...events import Event, encode_body
from ...payloads import (
    CancellationRequested,
    HookReceived,
    RunRecovered,
    StepCompleted,
    WorkflowCompleted,
    WorkflowResumed,
    WorkflowSuspended,
)
from ...record import RunRecord, evolve
from ...storage import StorageBackend
from ..appends import after, created, noted
from ..broken import holds, same
from ..looks import head_of, meanwhile
from ..place import Place
from .registry import proves


@proves(14)
async def the_record_is_the_fold_of_the_log(place: Place) -> None:
    """After every append of any kind, folding the log again gives the record, wherever it is shown."""
    store = await place.open()
    append = created("a", at=5, queue="q", priority=2, attributes={"x": "y"})
    for _ in range(10 + 2 * place.profile.rounds):
        await store.commit([append])
        log = await store.read("a")
        head = append.record.head
        same(len(log), head, "the number of events in the log that is folded")
        same(await store.get("a"), fold(log), f"the record at head {head}, beside the fold of the log")
        listed = (await store.find()).records
        same(listed, [fold(log)], f"the listing at head {head}, beside the fold of the log")
        append = after(append.record, *random_bodies(place.random, place.random.choice((1, 1, 3))))


@proves(14)
async def the_record_is_the_fold_after_resubmissions(place: Place) -> None:
    """An append that comes again, whether it was the last or an early one, takes no record back in time."""
    store = await place.open()
    appends = [created("a", at=5)]
    for _ in range(4 + place.profile.rounds):
        await store.commit(appends[-1:])
        for append in (appends[-1], place.random.choice(appends)):
            await store.commit([append])
            log = await store.read("a")
            holds(log, "the log is empty after an append")
            said = f"the record, after an append of events up to {append.record.head} came again"
            same(await store.get("a"), fold(log), f"{said}, beside the fold of the log")
        appends.append(after(appends[-1].record, *random_bodies(place.random, 2)))


@proves(14)
async def a_claim_shows_the_fold_of_the_log(place: Place) -> None:
    """The record in a claim is that of the log as it was then."""
    store = await place.open()
    append = created("a")
    for n in range(place.profile.rounds):
        await store.commit([append])
        claims = await store.claim(owner="x", now=place.now, lease=place.unit)
        same([claim.run_id for claim in claims], ["a"], "the runs of a claim of one due run")
        folded = fold(await store.read("a"))
        same(claims[0].record, folded, "the record in a claim, beside the fold of the log")
        await store.release(claims[0])
        append = after(append.record, encode_body(WorkflowResumed(f"w{n}"), n))


@proves(14)
async def readers_never_see_record_and_log_disagree(place: Place) -> None:
    """While somebody appends, a record is never ahead of a later read, nor behind an earlier one."""
    writer, reader = await place.open_many(2)
    first = created("a")
    await writer.commit([first])
    count = 15 * place.profile.rounds
    async with meanwhile(write_one_by_one(writer, first.record, count, place.random)) as writing:
        while True:
            earlier = len(await reader.read("a"))
            record = await reader.get("a")
            later = await reader.read("a")
            head = 0 if record is None else record.head
            holds(head >= earlier, f"the record is at {head} after a log of {earlier} was read")
            holds(head <= len(later), f"the record was at {head} before a log of {len(later)} was read")
            holds(later, "the log of a run that somebody made is empty")
            said = f"a record at head {head} seen during appends, beside the fold of its log"
            same(record, fold(later[:head]), said)
            if writing.done():
                break
            await asyncio.sleep(0)
    same(await head_of(writer, "a"), count + 1, "the record's head in the end")


def fold(log: list[Event]) -> RunRecord:
    """The record that a log gives, whatever numbers its events have."""
    events = [Event(event.run_id, n + 1, event.event_id, event.body) for n, event in enumerate(log)]
    return evolve(None, events, incarnation="i1")


async def write_one_by_one(store: StorageBackend, record: RunRecord, count: int, random: Random) -> None:
    """Append one event after the other behind `record`."""
    for _ in range(count):
        append = after(record, *random_bodies(random, 1))
        await store.commit([append])
        record = append.record
        await asyncio.sleep(0)


def random_bodies(random: Random, count: int) -> list[bytes]:
    """Bodies of events that change different things in a record."""
    payloads = [
        WorkflowSuspended(wake_at=random.choice((None, 7, 2**50 + 1, -1))),
        WorkflowResumed(f"w{random.randrange(9)}"),
        RunRecovered("r", count=random.randrange(4)),
        StepCompleted("s", result=Raw(b"1")),
        HookReceived("h", payload=Raw(b"{}")),
        CancellationRequested("because"),
        WorkflowCompleted(),
    ]
    chosen = [encode_body(payload, random.randrange(10**9)) for payload in payloads]
    return [random.choice([*chosen, noted(at=random.randrange(9))]) for _ in range(count)]
