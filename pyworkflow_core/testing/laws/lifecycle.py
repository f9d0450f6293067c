"""Checks of a handle's life: it closes for good, and opens what an older version wrote."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
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
