"""Checks of durability: processes that append are killed, and nothing acknowledged may be gone."""

from __future__ import annotations

import asyncio

from msgspec import Struct

from ...storage import Append, StorageBackend
from ..appends import after, created
from ..broken import holds, same
from ..child_place import ChildPlace
from ..histories import committed, count_stored, grown
from ..place import Place
from .registry import proves

SIZES = (1, 3, 40, 1, 2, 150) * 15
"""Events of one append after the other. Large ones take long enough to be killed within."""


class Killed(Struct):
    """A run that a process appended to when it was killed.

    Attributes:
        history: all appends that it would have made.
        begun: how many of them it had begun.
        acknowledged: how many of them were acknowledged.
    """

    history: list[Append]
    begun: int = 0
    acknowledged: int = 0


@proves(40, seconds=900)
async def what_was_acknowledged_survives_a_kill(place: Place) -> None:
    """After kill -9 every handle finds what was acknowledged, and whole appends only."""
    store = await place.open()
    killed: list[Killed] = []
    for number in range(place.profile.kills):
        killed += (latest := await kill_a_writer(place, store, f"k{number}"))
        if store.capabilities.multi_process:
            await check_survived(store, latest, "after kill -9, on a handle opened before")
        store = await place.reopen(store)
        await check_survived(store, latest, "after kill -9")
        await settle(store, latest)
    await check_survived(store, killed, f"after {place.profile.kills} kills")


@proves(40)
async def a_deletion_that_was_acknowledged_survives_a_kill(place: Place) -> None:
    """A run that was deleted before kill -9 does not come back, and its id can be used again."""
    store = await place.open()
    if not store.capabilities.multi_process:
        await place.close(store)
    child = await place.spawn(delete_and_wait, run_id="gone")
    same(await child.told(), "deleted", "another process created and deleted a run")
    await child.kill()
    store = await place.reopen(store)
    same(await store.read("gone"), [], "after kill -9, read of a run whose deletion was acknowledged")
    same(await store.get("gone"), None, "after kill -9, record of a run whose deletion was acknowledged")
    kept = grown("kept")
    same(await store.commit(kept), committed(kept), "after kill -9, resubmitting what was committed")


@proves(42, seconds=900)
async def appending_goes_on_after_a_kill(place: Place) -> None:
    """After kill -9 the next append of each run is committed, and there after another opening."""
    store = await place.open()
    for number in range(max(1, place.profile.kills // 3)):
        killed = await kill_a_writer(place, store, f"k{number}")
        store = await place.reopen(store)
        further = [await next_append(store, run.history[0].run_id) for run in killed]
        same(await store.commit(further), committed(further), "the next append of each run after kill -9")
        store = await place.reopen(store)
        for append in further:
            events = await store.read(append.run_id, after=append.expected)
            same(events, list(append.events), "what was appended after kill -9, after another opening")


async def next_append(store: StorageBackend, run_id: str) -> Append:
    """An append that fits to where the run stands."""
    record = await store.get(run_id)
    return created(run_id) if record is None else after(record, prefix="further")


async def settle(store: StorageBackend, killed: list[Killed]) -> None:
    """Resubmit what was begun and not acknowledged: it is committed, now or already."""
    for run in killed:
        unsettled = run.history[run.acknowledged : run.begun]
        same(await store.commit(unsettled), committed(unsettled), "resubmitting what was not acknowledged")
        run.acknowledged = run.begun


async def kill_a_writer(place: Place, store: StorageBackend, prefix: str) -> list[Killed]:
    """Let another process append, and kill it at a random moment; what it had done.

    `store` is closed if the backend does not let two processes in.
    """
    if not store.capabilities.multi_process:
        await place.close(store)
    runs = {f"{prefix}-{n}": Killed(grown(f"{prefix}-{n}", *SIZES)) for n in range(4)}
    child = await place.spawn(append_until_killed, runs=list(runs))
    for _ in range(place.random.randrange(1, 60)):
        _note(await child.told(), runs)
    await asyncio.sleep(place.random.choice((0, 0.001, 0.003, 0.01)))
    await child.kill()
    for told in await child.told_all():
        _note(told, runs)
    return list(runs.values())


def _note(told: tuple[str, list[str], int] | None, runs: dict[str, Killed]) -> None:
    holds(told is not None, "a process that appended for ever ended by itself")
    if told is not None:
        what, names, count = told
        for name in names:
            setattr(runs[name], what, count)


async def check_survived(store: StorageBackend, killed: list[Killed], when: str) -> None:
    """Break the law unless the store has what was acknowledged, and nothing that was not begun."""
    for run in killed:
        count = await count_stored(store, run.history, when)
        run_id = run.history[0].run_id
        holds(
            run.acknowledged <= count <= run.begun,
            f"{when}, run {run_id!r} has {count} appends; {run.acknowledged} were acknowledged, "
            f"{run.begun} were begun",
        )


async def append_until_killed(place: ChildPlace, runs: list[str]) -> None:
    """Grow runs, two to a commit, from a task and a handle for each commit; tell what is begun and done."""
    stores = await place.open_many(2)
    halves = (runs[::2], runs[1::2])
    await asyncio.gather(*(_grow(place, s, half) for s, half in zip(stores, halves, strict=True)))


async def _grow(place: ChildPlace, store: StorageBackend, runs: list[str]) -> None:
    histories = [grown(run_id, *SIZES) for run_id in runs]
    for count, batch in enumerate(zip(*histories, strict=True), 1):
        place.tell(["begun", runs, count])
        same(await store.commit(batch), committed(batch), "a commit before kill -9")
        place.tell(["acknowledged", runs, count])
        await asyncio.sleep(0)
    await place.hear()  # all is written; wait to be killed


async def delete_and_wait(place: ChildPlace, run_id: str) -> None:
    """Create two runs, delete one of them, tell so and wait to be killed."""
    store = await place.open()
    gone, kept = grown(run_id, 2), grown("kept")
    same(await store.commit([gone[0], *kept]), committed([gone[0], *kept]), "the creation of two runs")
    same(await store.commit(gone[1:]), committed(gone[1:]), "an append to one of them")
    await store.delete(run_id, expected=3)
    place.tell("deleted")
    await place.hear()
