"""Law 18: an append that is cancelled is made or is not, and its handle goes on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

from ...storage import Committed, StorageBackend
from ..appends import after, created, created_with, noted
from ..broken import holds, same
from ..looks import event_ids, head_of, settled
from ..place import Place
from .registry import proves

TURNS = 10
"""An append is cancelled after so many turns of the event loop, and after every fewer."""


@proves(18)
async def a_cancelled_append_is_made_or_is_not(place: Place) -> None:
    """Cancelled at any point, an append of three events leaves three or none, and can be submitted again."""
    store, other = await place.open_many(2)
    append = created("a")
    known: list[str] = []
    for turns, pause in await moments(place, store):
        outcome = await cut_short(store.commit([append]), turns, pause)
        hold_cancelled(outcome)
        ids = [event.event_id for event in append.events]
        seen = (await event_ids(other, "a"))[len(known) :]
        holds(seen in ([], ids), f"an append of {ids} was cancelled, and {seen} of it is in the log")
        head = append.record.head
        same(await settled(store, append), Committed("a", head), "a cancelled append, submitted again")
        known += ids
        append = after(append.record, noted(), noted(), noted())
    same(await event_ids(other, "a"), known, "the log after appends that were cancelled and submitted again")
    same(await head_of(store, "a"), len(known), "the record's head after that")


@proves(18)
async def a_cancelled_commit_leaves_each_append_whole(place: Place) -> None:
    """Of a cancelled commit of many runs, each append is made or is not."""
    store, other = await place.open_many(2)
    for n, (turns, pause) in enumerate(await moments(place, store)):
        appends = [created_with(f"r{n}.{k}", noted(), noted()) for k in range(4)]
        hold_cancelled(await cut_short(store.commit(appends), turns, pause))
        for append in appends:
            seen = await event_ids(other, append.run_id)
            holds(
                seen in ([], ["e1", "e2", "e3"]),
                f"a commit of e1, e2, e3 was cancelled: {seen} is in the log",
            )
        answers = await store.commit(appends)
        same(answers, [Committed(f"r{n}.{k}", 3) for k in range(4)], "a cancelled commit, made again")


@proves(18)
async def a_cancelled_append_harms_no_other(place: Place) -> None:
    """Commits that are under way on the same handle are answered as if nothing had been cancelled."""
    store, other = await place.open_many(2)
    append = created("a")
    for n, (turns, pause) in enumerate(await moments(place, store)):
        before = asyncio.ensure_future(store.commit([created(f"before{n}")]))
        cut = asyncio.ensure_future(cut_short(store.commit([append]), turns, pause))
        behind = asyncio.ensure_future(store.commit([created(f"behind{n}")]))
        reading = asyncio.ensure_future(store.read(f"before{n}"))
        same(await before, [Committed(f"before{n}", 1)], "a commit that began before one that was cancelled")
        same(await behind, [Committed(f"behind{n}", 1)], "a commit that began after one that was cancelled")
        await reading
        hold_cancelled(await cut)
        for name in (f"before{n}", f"behind{n}"):
            same(await event_ids(other, name), ["e1"], "the log of a neighbour of a cancelled append")
        same(await settled(store, append), Committed("a", n + 1), "the cancelled append, submitted again")
        append = after(append.record)


@proves(18)
async def a_cancelled_append_still_obeys_the_head(place: Place) -> None:
    """If it is made late, it is made only where the log still stands as it expects."""
    store, other = await place.open_many(2)
    append = created("a")
    await store.commit([append])
    expected = ["e1"]
    for turns, pause in await moments(place, store):
        mine = after(append.record, prefix="mine")
        rival = after(append.record, prefix="rival")
        hold_cancelled(await cut_short(store.commit([mine]), turns, pause))
        answers = [await settled(other, rival), await settled(store, mine)]
        winners = [a for a, got in zip((rival, mine), answers, strict=True) if isinstance(got, Committed)]
        same(len(winners), 1, f"winners of a cancelled append and its rival, which were answered {answers}")
        append = winners[0]
        expected.append(append.events[0].event_id)
        same(
            await event_ids(other, "a"),
            expected,
            "the log: of each cancelled append and its rival, the winner",
        )


@proves(18)
async def a_handle_goes_on_after_cancelled_reads(place: Place) -> None:
    """Reads, listings and claims that are cancelled leave the handle as usable as before."""
    store = await place.open()
    append = created("a")
    await store.commit([append])
    for turns, pause in await moments(place, store):
        lease = place.unit
        hold_cancelled(await cut_short(store.read("a"), turns, pause))
        hold_cancelled(await cut_short(store.get("a"), turns, pause))
        hold_cancelled(await cut_short(store.find(), turns, pause))
        hold_cancelled(await cut_short(store.claim(owner="x", now=place.now, lease=lease), turns, pause))
        append = after(append.record)
        head = append.record.head
        same(await settled(store, append), Committed("a", head), "an append after reads that were cancelled")
        same(len(await event_ids(store, "a")), head, "the number of events read after that")


async def moments(place: Place, store: StorageBackend) -> list[tuple[int, float]]:
    """When to cancel: turns of the event loop and seconds to let pass, up to what a commit takes here."""
    began = time.perf_counter()
    await store.commit([created("how-long")])
    took = min(time.perf_counter() - began, 0.5)
    late = [(0, 1.3 * took * place.random.random()) for _ in range(4 * place.profile.rounds)]
    return [(turns, 0.0) for turns in range(TURNS)] + late


async def cut_short(call: Coroutine[Any, Any, Any], turns: int, pause: float) -> Any:
    """Begin a call and cancel it; what it answered, or the exception that it raised."""
    task = asyncio.ensure_future(call)
    for _ in range(turns):
        await asyncio.sleep(0)
    if pause:
        await asyncio.sleep(pause)
    task.cancel()
    await asyncio.wait([task])
    return asyncio.CancelledError() if task.cancelled() else task.exception() or task.result()


def hold_cancelled(outcome: Any) -> None:
    """Break the law unless a call that was cut short was cancelled, or answered before it was."""
    if isinstance(outcome, BaseException) and not isinstance(outcome, asyncio.CancelledError):
        holds(False, f"a cancelled call raised {type(outcome).__name__}: {outcome}; expected CancelledError")
