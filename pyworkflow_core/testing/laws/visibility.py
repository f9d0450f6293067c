"""Laws 17 and 19: what one handle appended the others see, whole and in order, in every process."""

from __future__ import annotations

import asyncio

from ...record import RunRecord
from ...storage import Committed, Conflict, StorageBackend
from ..appends import after, created
from ..broken import holds, same
from ..child_place import ChildPlace
from ..looks import claimed, event_ids, head_of, run_ids, settled
from ..place import Place
from .registry import proves


@proves(17)
async def readers_see_growing_prefixes(place: Place) -> None:
    """While one handle appends, what a reader on another sees only ever grows at its end."""
    writer, *readers = await place.open_many(3)
    first = created("a")
    await writer.commit([first])
    count = 20 * place.profile.rounds
    writing = asyncio.ensure_future(write_on(writer, first.record, count))
    looks = await asyncio.gather(*(look_until_done(reader, "a", writing) for reader in readers))
    await writing
    whole = await event_ids(writer, "a")
    same(len(whole), count + 1, "the number of events in the end")
    for seen in looks:
        hold_prefixes(seen, whole)


@proves(17)
async def heads_never_go_back(place: Place) -> None:
    """While one handle appends, the heads that others get of a run never fall."""
    writer, reader = await place.open_many(2)
    first = created("a")
    await writer.commit([first])
    count = 20 * place.profile.rounds
    writing = asyncio.ensure_future(write_on(writer, first.record, count))
    heads = [await head_of(reader, "a")]
    while not writing.done():
        heads.append(await head_of(reader, "a"))
        await asyncio.sleep(0)
    await writing
    heads.append(await head_of(reader, "a"))
    same(heads, sorted(heads), "heads that a reader saw during appends, one after the other")
    same(heads[-1], count + 1, "the head in the end")


@proves(17, needs=("multi_process",))
async def readers_in_other_processes_see_growing_prefixes(place: Place) -> None:
    """So it is for readers in another process."""
    store = await place.open()
    first = created("a")
    await store.commit([first])
    child = await place.spawn(look_from_a_process, run_id="a", looks=30 * place.profile.rounds)
    await child.told()
    count = 20 * place.profile.rounds
    await write_on(store, first.record, count)
    seen = await child.told()
    await child.say("the last look")
    seen.append(await child.told())
    whole = await event_ids(store, "a")
    same(len(whole), count + 1, "the number of events in the end")
    same(seen[-1], whole, "what another process reads in the end")
    hold_prefixes(seen, whole)


@proves(19)
async def two_handles_see_each_others_appends(place: Place) -> None:
    """What one handle has acknowledged the other sees at once: log, record and listing."""
    store, other = await place.open_many(2)
    append = created("a")
    for n in range(4 * place.profile.rounds):
        writer, reader = (store, other) if n % 2 else (other, store)
        await writer.commit([append])
        head = append.record.head
        same(len(await event_ids(reader, "a")), head, f"the number of events on the other handle, of {head}")
        same(await head_of(reader, "a"), head, "the record's head on the other handle")
        await writer.commit([created(f"r{n:03}")])
        same(
            await run_ids(reader),
            sorted(["a", *(f"r{k:03}" for k in range(n + 1))]),
            "the other one's listing",
        )
        append = after(append.record)


@proves(19)
async def a_handle_decides_on_what_the_other_wrote(place: Place) -> None:
    """A handle that knew an older head lets an append at the new one through, and none at the old one."""
    store, other = await place.open_many(2)
    record = created("a").record
    await store.commit([created("a")])
    same(await head_of(other, "a"), 1, "the head on the other handle")
    for _ in range(2 * place.profile.rounds):
        append = after(record)
        await store.commit([append])
        head = append.record.head
        rival = after(record, prefix="rival")
        same(
            await settled(other, rival),
            Conflict("a", head),
            f"an append on another handle that expects {head - 1}",
        )
        append = after(append.record)
        same(
            await settled(other, append),
            Committed("a", head + 1),
            f"one on another handle that expects {head}",
        )
        record = append.record


@proves(19)
async def a_handle_claims_what_the_other_made(place: Place) -> None:
    """A run that one handle made due is claimed by another, even one that was opened before."""
    store, other = await place.open_many(2)
    same(await claimed(place, other), [], "a claim where there is no run")
    for n in range(place.profile.rounds):
        await store.commit([created(f"r{n}", at=place.now)])
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
        same(answer, ["Committed", len(expected)], "the answer to an append by another process at the head")
        same(await event_ids(store, "a"), expected, "the log after another process appended")
        record = await store.get("a")
        holds(record is not None, "there is no record of a run that another process appended to")
        assert record is not None
        same(await settled(store, after(record)), Committed("a", len(expected) + 1), "an append behind that")
        expected.append(f"e{len(expected) + 1}")
    await child.say(None)


async def write_on(store: StorageBackend, record: RunRecord, count: int) -> None:
    """Append one event after the other behind `record`."""
    for _ in range(count):
        append = after(record)
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
        assert record is not None
        answer = await settled(store, after(record, prefix="child"))
        place.tell([ids, [type(answer).__name__, getattr(answer, "head", None)]])
