"""Checks of what is left behind by handles that come and go."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from contextlib import suppress

from ...errors import StorageError
from ...storage import StorageBackend
from ..broken import holds, same
from ..place import Place
from .given import due_run, given, take
from .registry import proves

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
        await store.release(claim)
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
