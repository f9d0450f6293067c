"""Law 14: the record that is stored is the fold of the log that is stored, whenever somebody looks."""

from __future__ import annotations

import asyncio
from random import Random

from msgspec import Raw

from ...events import encode_body
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
from ..appends import after, ahead, created, noted
from ..broken import holds, same
from ..looks import head_of
from ..place import Place
from .registry import proves


@proves(14)
async def the_record_is_the_fold_of_the_log(place: Place) -> None:
    """After every append of any kind, folding the log again gives the record, wherever it is shown."""
    store, other = await place.open_many(2)
    append = created("a", at=5, queue="q", priority=2, attributes={"x": "y"})
    for _ in range(10 + 2 * place.profile.rounds):
        await store.commit([append])
        head = append.record.head
        log = await other.read("a")
        same(len(log), head, "the number of events in the log that is folded")
        folded = evolve(None, log, incarnation="i1")
        for handle in (store, other):
            same(await handle.get("a"), folded, f"the record at head {head}, beside the fold of the log")
            same(
                (await handle.find()).records,
                [folded],
                f"the listing at head {head}, beside the fold of the log",
            )
        append = after(append.record, *random_bodies(place.random, place.random.choice((1, 1, 3))))


@proves(14)
async def the_record_is_the_fold_after_appends_that_were_not_made(place: Place) -> None:
    """Conflicts, resubmissions and refusals move neither the log nor the record without the other."""
    store = await place.open()
    append = created("a", at=5)
    for _ in range(place.profile.rounds):
        await store.commit([append])
        record = append.record
        bodies = random_bodies(place.random, 2)
        await store.commit([after(ahead(record, 2), *bodies, prefix="future"), created("b")])
        await store.commit([created("a", event_id="rival", workflow="other")])
        await store.commit([append])
        log = await store.read("a")
        holds(log, "the log is empty after an append")
        same(
            await store.get("a"),
            evolve(None, log, incarnation="i1"),
            "the record, beside the fold of the log",
        )
        append = after(record, *bodies)


@proves(14)
async def a_claim_shows_the_fold_of_the_log(place: Place) -> None:
    """The record in a claim is that of the log as it was then."""
    store, other = await place.open_many(2)
    append = created("a", at=place.now)
    for _ in range(place.profile.rounds):
        await store.commit([append])
        claims = await other.claim(owner="x", now=place.now, lease=place.unit)
        same([claim.run_id for claim in claims], ["a"], "the runs of a claim of one due run")
        folded = evolve(None, await store.read("a"), incarnation="i1")
        same(claims[0].record, folded, "the record in a claim, beside the fold of the log")
        await other.release(claims[0])
        append = after(append.record, encode_body(WorkflowResumed(f"w{place.random.random()}"), place.now))


@proves(14)
async def readers_never_see_record_and_log_disagree(place: Place) -> None:
    """While somebody appends, a record's head is never ahead of a later read, nor behind an earlier one."""
    writer, reader = await place.open_many(2)
    first = created("a")
    await writer.commit([first])
    count = 15 * place.profile.rounds
    writing = asyncio.ensure_future(write_one_by_one(writer, first.record, count, place.random))
    looks = 0
    while not writing.done() or looks == 0:
        looks += 1
        earlier = await reader.read("a")
        record = await reader.get("a")
        later = await reader.read("a")
        holds(record is not None, "there is no record of a run that has events")
        assert record is not None
        holds(
            record.head >= len(earlier),
            f"the record is at {record.head} after a log of {len(earlier)} was read",
        )
        holds(
            record.head <= len(later),
            f"the record was at {record.head} before a log of {len(later)} was read",
        )
        folded = evolve(None, later[: record.head], incarnation="i1")
        same(
            record, folded, f"a record at head {record.head} seen during appends, beside the fold of its log"
        )
        await asyncio.sleep(0)
    await writing
    same(await head_of(reader, "a"), count + 1, "the record's head in the end")


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
        WorkflowSuspended(wake_at=random.choice((None, 7, 2**53 + 1, -1))),
        WorkflowResumed(f"w{random.randrange(9)}"),
        RunRecovered("r", count=random.randrange(4)),
        StepCompleted("s", result=Raw(b"1")),
        HookReceived("h", payload=Raw(b"{}")),
        CancellationRequested("because"),
        WorkflowCompleted(),
    ]
    chosen = [encode_body(payload, random.randrange(10**9)) for payload in payloads]
    return [random.choice([*chosen, noted(at=random.randrange(9))]) for _ in range(count)]
