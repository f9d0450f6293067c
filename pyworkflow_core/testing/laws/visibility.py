"""Laws 17 and 19: what one handle appended the others see, whole and in order, in every process."""

from __future__ import annotations

import asyncio

from ...record import RunRecord
from ...storage import StorageBackend
from ..appends import after, created, noted
from ..broken import LawBroken, same
from ..child_place import ChildPlace
from ..looks import claimed, event_ids, head_of, meanwhile, outcome, run_ids
from ..place import Place
from .registry import proves


@proves(17)
async def readers_see_growing_prefixes(place: Place) -> None:
    """While one handle appends, what readers on others see only ever grows at its end."""
    writer, *readers = await place.open_many(3)
    first = created("a")
    await writer.commit([first])
    count = 15 * place.profile.rounds
    async with meanwhile(write_on(writer, first.record, count)) as writing:
        looks = await asyncio.gather(*(look_until_done(reader, "a", writing) for reader in readers))
    whole = await event_ids(writer, "a")
    same(len(whole), 3 * count + 1, "the number of events in the end")
    for seen in looks:
        hold_prefixes(seen, whole)


@proves(17)
async def heads_never_go_back(place: Place) -> None:
    """While one handle appends, the heads that another gets of the run never fall."""
    writer, reader = await place.open_many(2)
    first = created("a")
    await writer.commit([first])
    count = 15 * place.profile.rounds
    heads = [await head_of(reader, "a")]
    async with meanwhile(write_on(writer, first.record, count)) as writing:
        while not writing.done():
            heads.append(await head_of(reader, "a"))
            await asyncio.sleep(0)
    same(heads, sorted(heads), "heads that a reader saw during appends, one after the other")
    same(await head_of(writer, "a"), 3 * count + 1, "the head in the end")


@proves(17, needs=("multi_process",))
async def readers_in_other_processes_see_growing_prefixes(place: Place) -> None:
    """So it is for readers in another process."""
    store = await place.open()
    first = created("a")
    await store.commit([first])
    child = await place.spawn(look_from_a_process, run_id="a", looks=30 * place.profile.rounds)
    await child.told()
    count = 15 * place.profile.rounds
    await write_on(store, first.record, count)
    seen = await child.told()
    await child.say("the last look")
    seen.append(await child.told())
    whole = await event_ids(store, "a")
    same(len(whole), 3 * count + 1, "the number of events in the end")
    hold_prefixes(seen, whole)


@proves(19)
async def one_handle_sees_what_another_appends(place: Place) -> None:
    """What one handle has acknowledged another sees at once, however often it has looked before."""
    writer, reader = await place.open_many(2)
    append = created("a")
    for n in range(4 * place.profile.rounds):
        await writer.commit([append])
        head = append.record.head
        same(len(await event_ids(reader, "a")), head, f"the number of events on another handle, of {head}")
        same(await head_of(reader, "a"), head, "the record's head on another handle")
        await writer.commit([created(f"r{n:03}")])
        expected = ["a", *(f"r{k:03}" for k in range(n + 1))]
        same(await run_ids(reader), expected, "the listing on another handle")
        append = after(append.record)


@proves(19)
async def two_handles_append_in_turn(place: Place) -> None:
    """Each sees what the other appended last, and appends behind it; neither does at an old head."""
    store, other = await place.open_many(2)
    append = created("a")
    expected = ["e1"]
    await store.commit([append])
    for n in range(4 * place.profile.rounds):
        writer = store if n % 2 else other
        same(await event_ids(writer, "a"), expected, "the log on the handle that did not append last")
        rival = after(append.record, prefix=f"{n}.")
        append = after(append.record)
        same(
            await outcome(writer, append),
            "Committed",
            f"an append at head {len(expected)}, which the other made",
        )
        expected.append(append.events[0].event_id)
        same(
            await outcome(store if writer is other else other, rival),
            "Conflict",
            "one by the other at that head",
        )


@proves(19)
async def a_handle_claims_what_the_other_made(place: Place) -> None:
    """A run that one handle made due is claimed by another, even one that was opened before."""
    store, other = await place.open_many(2)
    same(await claimed(place, other), [], "a claim where there is no run")
    for n in range(place.profile.rounds):
        await store.commit([created(f"r{n}")])
        claims = await other.claim(owner="x", now=place.now, lease=1000 * place.unit, limit=9)
        same([claim.run_id for claim in claims], [f"r{n}"], "a claim of the run that another handle made")


@proves(19, needs=("multi_process",))
async def two_processes_see_each_others_appends(place: Place) -> None:
    """What one process has acknowledged another sees, and appends behind it."""
    store = await place.open()
    first = created("a")
    await store.commit([first])
    child = await place.spawn(append_in_turn, run_id="a")
    expected = ["e1"]
    for _ in range(2 * place.profile.rounds):
        await child.say("your turn")
        theirs, answer = await child.told()
        same(theirs, expected, "the log that another process reads")
        expected.append(f"child{len(expected) + 1}")
        same(answer, "Committed", "the answer to an append by another process at the head")
        same(await event_ids(store, "a"), expected, "the log after another process appended")
        record = await store.get("a")
        if record is None:
            raise LawBroken("there is no record of a run that another process appended to")
        same(await outcome(store, after(record)), "Committed", "an append behind that")
        expected.append(f"e{len(expected) + 1}")
    await child.say(None)


async def write_on(store: StorageBackend, record: RunRecord, count: int) -> None:
    """Append three events at a time behind `record`."""
    for _ in range(count):
        append = after(record, *[noted()] * 3)
        await store.commit([append])
        record = append.record
        await asyncio.sleep(0)


async def look_until_done(store: StorageBackend, run_id: str, task: asyncio.Task[None]) -> list[list[str]]:
    """Read a run again and again until the task is done; what was seen, in order."""
    seen = [await event_ids(store, run_id)]
    while not task.done():
        seen.append(await event_ids(store, run_id))
        await asyncio.sleep(0)
    seen.append(await event_ids(store, run_id))
    return seen


def hold_prefixes(seen: list[list[str]], whole: list[str]) -> None:
    """Break the law unless each log seen is a prefix of the whole, and none is shorter than one before."""
    odd = [ids for ids in seen if ids != whole[: len(ids)]]
    same(odd[:1], [], f"a log that a reader saw, which is no prefix of {whole[:5]} …")
    sizes = [len(ids) for ids in seen]
    same(sizes, sorted(sizes), "sizes of the logs that a reader saw, one after the other")


async def look_from_a_process(place: ChildPlace, run_id: str, looks: int) -> None:
    """Tell that it is ready, read a run again and again, tell what was seen, and once more at the end."""
    store = await place.open()
    place.tell("ready")
    seen = []
    for _ in range(looks):
        seen.append(await event_ids(store, run_id))
        await asyncio.sleep(0.0005)
    place.tell(seen)
    await place.hear()
    place.tell(await event_ids(store, run_id))


async def append_in_turn(place: ChildPlace, run_id: str) -> None:
    """Whenever it is told to: tell the log that it reads, append behind it, and tell the answer."""
    store = await place.open()
    while await place.hear() is not None:
        ids = await event_ids(store, run_id)
        record = await store.get(run_id)
        if record is None:
            raise LawBroken("there is no record of a run that another process made")
        place.tell([ids, await outcome(store, after(record, prefix="child"))])
