"""Checks of a handle's life: it closes for good, says what went wrong, leaks nothing, reads old stores."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any

from ...errors import StorageClosed, StorageError
from ...plugins import open_storage
from ...storage import Claim, Committed, StorageBackend
from ..appends import after
from ..broken import NotChecked, holds, raises, same
from ..golden import same_as_written
from ..place import Place
from .given import due_run, given, take, take_one
from .registry import proves


def every_call(store: StorageBackend, claim: Claim) -> dict[str, Callable[[], Awaitable[Any]]]:
    """A call of every method, by its name."""
    return {
        "open": store.open,
        "commit": lambda: store.commit([after(claim.record)]),
        "commit of nothing": lambda: store.commit([]),
        "read": lambda: store.read("a"),
        "read of no events": lambda: store.read("a", limit=0),
        "get": lambda: store.get("a"),
        "find": store.find,
        "claim": lambda: store.claim(owner="x", now=claim.until, lease=1),
        "claim of no runs": lambda: store.claim(owner="x", now=claim.until, lease=1, limit=0),
        "extend": lambda: store.extend(claim, claim.until + 1),
        "release": lambda: store.release(claim),
        "delete": lambda: store.delete("a", expected=1),
        "feed": store.feed,
        "wait": lambda: store.wait(0),
        "get_events": lambda: store.get_events("a"),
        "list_runs": store.list_runs,
    }


@proves(52)
async def a_closed_handle_refuses_every_call(place: Place) -> None:
    """After close, and after closing again, every method raises StorageClosed; other handles go on."""
    store, other = await place.open_many(2)
    first = due_run(place, "a")
    await given(store, first)
    claim = await take_one(place, store, "a")
    for _ in range(3):
        await store.close()
        holds(store.closed, "a handle that was closed does not say so")
        for name, call in every_call(store, claim).items():
            await raises(StorageClosed, call(), f"{name} on a closed handle")
    same(await other.read("a"), list(first.events), "read on another handle")
    await given(other, after(first.record))


@proves(52)
async def a_handle_closes_in_any_state(place: Place) -> None:
    """Closing at once and from many tasks works, on a handle that was opened and on one that never was."""
    unopened = place.subject.url(place.namespace)
    stores = [await place.open(), *([open_storage(unopened), open_storage(unopened)] if unopened else [])]
    first = due_run(place, "a")
    await given(stores[0], first)
    for store in stores:
        await asyncio.gather(*[store.close() for _ in range(3)])
        await store.close()
        await raises(StorageClosed, store.read("a"), "read on a handle that was closed from many tasks")
    again = await place.open()
    same(await again.read("a"), list(first.events), "read on a new handle")


@proves(52)
async def closing_ends_the_calls_that_are_under_way(place: Place) -> None:
    """A call that meets a close is answered, and truly, or raises an error of the storage."""
    watcher = await place.open()
    for turn in range(2 * place.profile.rounds):
        store = await place.open()
        runs = [due_run(place, f"r{turn}-{n}") for n in range(6)]
        others: list[Coroutine[Any, Any, Any]] = [store.find(), take(place, store), store.read("a")]
        calls = [asyncio.create_task(call) for call in [*[store.commit([run]) for run in runs], *others]]
        for _ in range(turn):
            await asyncio.sleep(0)
        await store.close()
        answers = await asyncio.gather(*calls, return_exceptions=True)
        for run, answer in zip(runs, answers, strict=False):
            if not isinstance(answer, BaseException):
                same(answer, [Committed(run.run_id, 1)], "a commit that met a close")
                same(
                    await watcher.read(run.run_id), list(run.events), "read of what that commit acknowledged"
                )
        wrong = [a for a in answers if isinstance(a, BaseException) and not isinstance(a, StorageError)]
        same(wrong, [], "what calls raised that met a close, errors of the storage aside")
    await given(watcher, due_run(place, "last"))


LEAKED_IF_OVER = 4
CYCLES = 12


def count_resources() -> dict[str, int]:
    """How many tasks, threads and open descriptors there are; without what the system does not tell."""
    counts = {"tasks": len(asyncio.all_tasks()), "threads": threading.active_count()}
    for folder in ("/proc/self/fd", "/dev/fd"):
        with suppress(OSError):
            counts["descriptors"] = len(os.listdir(folder))
            break
    return counts


async def what_grew(before: dict[str, int]) -> dict[str, int]:
    """Counts that have grown by more than a pool grows, once what is ending has had time to end."""
    for _ in range(100):
        now = count_resources()
        grown = {what: now[what] - n for what, n in before.items() if now[what] - n > LEAKED_IF_OVER}
        if not grown:
            break
        await asyncio.sleep(0.02)
    return grown


async def open_use_and_close(place: Place, run_id: str) -> StorageBackend:
    """A handle's whole life, with a call of nearly every method."""
    store = await place.open()
    await given(store, due_run(place, run_id))
    for claim in await take(place, store):
        same(await store.release(claim), True, "release by the holder")
    same(len(await store.read(run_id)), 1, "number of events read")
    holds((await store.find(limit=1)).records, "find lists no run")
    if store.capabilities.feed:
        await store.feed(limit=2)
    if store.capabilities.push:
        await store.wait(0)
    await place.close(store)
    return store


@proves(54)
async def handles_that_come_and_go_leave_nothing(place: Place) -> None:
    """Opened, used and closed again and again, handles leave no task, thread or descriptor behind."""
    closed = [await open_use_and_close(place, f"warm{n}") for n in range(3)]
    gc.collect()
    before = count_resources()
    # The closed handles are kept: what only the garbage collector ends is left behind, too.
    closed += [await open_use_and_close(place, f"r{n}") for n in range(CYCLES)]
    same(await what_grew(before), {}, f"what grew over {CYCLES} lives of a handle")


async def open_and_wait(place: Place, opened: list[StorageBackend]) -> None:
    """Open a handle, use it and stay."""
    async with place.subject.open(place.namespace, place.clock) as store:
        opened.append(store)
        await store.get("a")
        await asyncio.sleep(3600)


@proves(54)
async def opens_that_are_cancelled_leave_nothing(place: Place) -> None:
    """An open that is cancelled on its way leaves nothing behind, and the next one works."""
    opened = [await open_use_and_close(place, f"warm{n}") for n in range(3)]
    gc.collect()
    before = count_resources()
    for n in range(CYCLES):
        opening = asyncio.create_task(open_and_wait(place, opened))
        for _ in range(n):
            await asyncio.sleep(0 if n % 2 else 0.001)
        opening.cancel()
        (answer,) = await asyncio.gather(opening, return_exceptions=True)
        said = f"an open that was cancelled answered {answer!r}"
        holds(isinstance(answer, asyncio.CancelledError | StorageError), said)
    same(await what_grew(before), {}, f"what grew over {CYCLES} opens that were cancelled")
    await open_use_and_close(place, "last")


HOW_TO_GIVE_GOLDEN = (
    "define open_golden(namespace, clock). Write a store once for each format of its data, with "
    "`python -m pyworkflow_core.testing.golden URL`, and keep its files, or a dump. open_golden restores "
    "them in `namespace` and returns what open returns. Never write them again with newer code"
)


@proves(55, needs=("persists",))
async def a_store_that_an_older_version_wrote_opens(place: Place) -> None:
    """Everything is in it, in its order, and it can be gone on with."""
    opened: AbstractAsyncContextManager[StorageBackend] | None = None
    if place.subject.gives("open_golden"):
        opened = place.subject.open_golden(place.namespace, place.clock)
    if opened is None:
        raise NotChecked(HOW_TO_GIVE_GOLDEN)
    await same_as_written(await place.enter(opened))
