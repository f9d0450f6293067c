"""Law 18: an append that is cancelled is made or is not, and its handle goes on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

from ...storage import Committed, StorageBackend
from ..appends import after, created, noted
from ..broken import holds, same
from ..looks import event_ids, head_of, outcome, promptly, settled
from ..place import Place
from .registry import proves

TURNS = 10
"""An append is cancelled after so many turns of the event loop, and after every fewer."""


@proves(18)
async def a_cancelled_append_is_made_or_is_not(place: Place) -> None:
    """Cancelled at any point, an append of three events leaves three or none, and can be submitted again."""
    store = await place.open()
    append = created("a")
    await store.commit([append])
    known = ["e1"]
    for turns, pause in await moments(place, store):
        append = after(append.record, noted(), noted(), noted())
        ids = [event.event_id for event in append.events]
        hold_cancelled(await cut_short(store.commit([append]), turns, pause))
        seen = (await promptly(event_ids(store, "a"), "a read after a cancelled append"))[len(known) :]
        holds(seen in ([], ids), f"an append of {ids} was cancelled, and {seen} of it is in the log")
        await promptly(settled(store, append), "a cancelled append, submitted again")
        known += ids
        same(await event_ids(store, "a"), known, "the log after a cancelled append was submitted again")
    same(await head_of(store, "a"), len(known), "the record's head after cancelled appends")


@proves(18)
async def a_cancelled_commit_leaves_each_append_whole(place: Place) -> None:
    """Of a cancelled commit of many runs, each append is made or is not."""
    store = await place.open()
    appends = [created(f"r{k}") for k in range(4)]
    await store.commit(appends)
    known = ["e1"]
    for turns, pause in await moments(place, store):
        appends = [after(append.record, noted(), noted()) for append in appends]
        ids = [event.event_id for event in appends[0].events]
        hold_cancelled(await cut_short(store.commit(appends), turns, pause))
        for append in appends:
            seen = await promptly(event_ids(store, append.run_id), "a read after a cancelled commit")
            whole = seen[len(known) :] in ([], ids)
            holds(
                whole, f"a commit of {ids} behind {known[-1]} was cancelled, and the log ends in {seen[-3:]}"
            )
        await promptly(store.commit(appends), "a cancelled commit, made again")
        known += ids
        logs = [await event_ids(store, append.run_id) for append in appends]
        same(logs, [known] * 4, "the logs after a cancelled commit was made again")


@proves(18)
async def a_cancelled_append_harms_no_other(place: Place) -> None:
    """Commits that are under way on the same handle are answered as if nothing had been cancelled."""
    store = await place.open()
    append = created("a")
    await store.commit([append])
    for n, (turns, pause) in enumerate(await moments(place, store)):
        append = after(append.record)
        calls = asyncio.gather(
            outcome(store, created(f"before{n}")),
            cut_short(store.commit([append]), turns, pause),
            outcome(store, created(f"behind{n}")),
            store.read("a"),
        )
        before, cut, behind, _ = await promptly(calls, "calls at once, one of which was cancelled")
        hold_cancelled(cut)
        same(
            (before, behind),
            ("Committed", "Committed"),
            "answers to commits before and behind a cancelled one",
        )
        logs = [await event_ids(store, name) for name in (f"before{n}", f"behind{n}")]
        same(logs, [["e1"], ["e1"]], "the logs of the neighbours of a cancelled append")
        await promptly(settled(store, append), "the cancelled append, submitted again")
        same(await head_of(store, "a"), append.record.head, "the head after that")


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
        answers = [
            await promptly(settled(handle, one), "an append after a cancelled one")
            for handle, one in ((other, rival), (store, mine))
        ]
        winners = [a for a, got in zip((rival, mine), answers, strict=True) if isinstance(got, Committed)]
        same(len(winners), 1, f"winners of a cancelled append and its rival, which were answered {answers}")
        append = winners[0]
        expected.append(append.events[0].event_id)
        same(
            await event_ids(store, "a"),
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
        hold_cancelled(await cut_short(store.read("a"), turns, pause))
        hold_cancelled(await cut_short(store.get("a"), turns, pause))
        hold_cancelled(await cut_short(store.find(), turns, pause))
        claim = store.claim(owner="x", now=place.now, lease=place.unit)
        hold_cancelled(await cut_short(claim, turns, pause))
        append = after(append.record)
        answer = await promptly(outcome(store, append), "an append after cancelled reads")
        same(answer, "Committed", "an append after reads that were cancelled")
        read = await promptly(event_ids(store, "a"), "a read after cancelled reads")
        same(len(read), append.record.head, "the number of events read after that")


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
