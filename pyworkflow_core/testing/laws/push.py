"""Checks of push: who waits for a run to become due is woken."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
from collections import Counter

from ...storage import Claim, StorageBackend
from ..appends import created, resumed, suspended
from ..broken import holds, same
from ..histories import committed
from ..place import Place
from .registry import proves

_BOUND = 8.0
"""Seconds within which a waiter has to wake."""
_LONG = 60_000_000
_SHORT = 150_000
_MANY = 40


async def start_waiting(store: StorageBackend) -> asyncio.Task[None]:
    """A task that waits for a run to become due, after it has had time to begin."""
    task = asyncio.create_task(store.wait(_LONG))
    await asyncio.sleep(_SHORT / 1e6)
    return task


def earlier(place: Place) -> int:
    """A moment that has passed by whatever clock, in microseconds."""
    return place.now - place.unit


async def claim_when_woken(
    place: Place, store: StorageBackend, waiter: asyncio.Task[None], said: str
) -> Claim:
    """What a worker does: wait, claim, and wait again if there was nothing; the claim that it gets."""
    deadline = time.monotonic() + _BOUND
    while True:
        done, _ = await asyncio.wait([waiter], timeout=deadline - time.monotonic())
        waiter.cancel()
        holds(done, f"{said}, and a waiter was not woken within {_BOUND:.0f} s")
        await waiter
        waiter = asyncio.create_task(store.wait(_LONG))
        claims = await store.claim(owner="worker", now=place.now, lease=place.unit)
        if claims:
            waiter.cancel()
            await asyncio.wait([waiter])
            return claims[0]


# ---- waking ----------------------------------------------------------------------------


@proves(38)
async def a_waiter_wakes_when_an_append_makes_a_run_due(place: Place) -> None:
    """A run that another handle creates, or wakes from outside, can be claimed by who waited for it."""
    store, other = await place.open_many(2)
    for number in range(place.profile.rounds):
        waiter = await start_waiting(store)
        first = created(f"r{number}", at=earlier(place))
        same(await other.commit([first]), committed([first]), "the creation of a run")
        claim = await claim_when_woken(place, store, waiter, "a run was created")
        asleep = suspended(claim.record, None, at=earlier(place))
        same(await store.commit([asleep]), committed([asleep]), "the append by which it begins to wait")
        same(await store.release(claim), True, "release of the claim")
        waiter = await start_waiting(store)
        awake = resumed(asleep.record, at=earlier(place))
        same(await other.commit([awake]), committed([awake]), "the append that wakes it")
        again = await claim_when_woken(place, store, waiter, "a run that waited was woken by an append")
        same(again.run_id, first.run_id, "the run that was claimed")
        ended = suspended(awake.record, None, at=earlier(place))
        same(await store.commit([ended]), committed([ended]), "the append by which it waits again")
        await store.release(again)


@proves(38)
async def a_waiter_wakes_when_a_lease_is_released(place: Place) -> None:
    """A due run that its holder gives back can be claimed by who waited for it."""
    store, other = await place.open_many(2)
    first = created("a", at=earlier(place))
    same(await other.commit([first]), committed([first]), "the creation of a run")
    (claim,) = await other.claim(owner="holder", now=place.now, lease=100 * place.unit)
    waiter = await start_waiting(store)
    same(await other.release(claim), True, "release of the claim")
    again = await claim_when_woken(place, store, waiter, "a lease was released")
    same(again.run_id, "a", "the run that was claimed")


@proves(38, needs=("server_clock",))
async def a_waiter_wakes_when_the_time_has_come(place: Place) -> None:
    """Where the backend's own clock decides, a run that becomes due by it can be claimed by who waited."""
    store, other = await place.open_many(2)
    waiter = await start_waiting(store)
    first = created("a", at=place.now, wake_at=place.now + 3 * place.unit)
    same(await other.commit([first]), committed([first]), "the creation of a run that is due a little later")
    claim = await claim_when_woken(place, store, waiter, "the wake time of a run has come")
    same(claim.run_id, "a", "the run that was claimed")


@proves(38)
async def each_of_many_waiters_wakes(place: Place) -> None:
    """Every waiter of many is woken, and each run is claimed once."""
    stores = await place.open_many(4)
    waiters = [await start_waiting(store) for store in stores[1:]]
    appends = [created(f"r{n}", at=earlier(place)) for n in range(3)]
    same(await stores[0].commit(appends), committed(appends), "the creation of three runs in one commit")
    claims = [
        await claim_when_woken(place, store, waiter, "three runs were created, for three waiters")
        for store, waiter in zip(stores[1:], waiters, strict=True)
    ]
    same(sorted(claim.run_id for claim in claims), ["r0", "r1", "r2"], "the runs that were claimed")


@proves(38)
async def a_waiter_with_nothing_due_waits(place: Place) -> None:
    """Where nothing becomes due, `wait` waits: not every one of several returns at once."""
    store = await place.open()
    first = suspended(created("a", at=earlier(place)).record, None)
    same(
        await store.commit([created("a", at=earlier(place))]),
        committed([created("a")]),
        "the creation of a run",
    )
    same(await store.commit([first]), committed([first]), "the append by which it waits for somebody")
    began = time.monotonic()
    for _ in range(5):
        await store.wait(_SHORT)
    holds(time.monotonic() - began > _SHORT / 1e6, "wait returned at once five times, with nothing due")


# ---- cancelling ------------------------------------------------------------------------


@proves(39, seconds=120)
async def cancelled_waiters_leave_nothing_behind(place: Place) -> None:
    """After many waiters were cancelled, or waited in vain, there are as many of everything as before."""
    store, other = await place.open_many(2)
    wakes = await is_woken(place, store, other, "before")
    await cancel_waiters(store)
    before = held_things()
    for _ in range(3):
        await cancel_waiters(store)
        await store.wait(1)
    for _ in range(10):  # some of it may still be on its way
        more = held_things() - before
        if max(more.values(), default=0) < _MANY:
            break
        await asyncio.sleep(0.2)
    left = {what: count for what, count in more.items() if count >= _MANY}
    holds(not left, f"{3 * _MANY} waiters were cancelled, and there are more than before: {left}")
    if wakes:  # or else it is the business of law 38
        again = await is_woken(place, store, other, "after")
        holds(again, "after many waiters were cancelled, another one is not woken any more")


async def is_woken(place: Place, store: StorageBackend, other: StorageBackend, run_id: str) -> bool:
    """Whether who waits on one handle is woken by a run that another one creates."""
    waiter = await start_waiting(store)
    first = created(run_id, at=earlier(place))
    same(await other.commit([first]), committed([first]), "the creation of a run")
    woken, _ = await asyncio.wait([waiter], timeout=_BOUND)
    waiter.cancel()
    await asyncio.wait([waiter])
    await store.claim(owner="o", now=place.now, lease=1000 * place.unit)  # nothing is due any more
    return bool(woken)


async def cancel_waiters(store: StorageBackend) -> None:
    """Cancel many waiters that have begun to wait."""
    waiters = [asyncio.create_task(store.wait(_LONG)) for _ in range(_MANY)]
    await asyncio.sleep(_SHORT / 1e6)
    waiting = [waiter for waiter in waiters if not waiter.done()]
    for waiter in waiting:
        waiter.cancel()
    await asyncio.wait(waiters)
    holds(all(waiter.cancelled() for waiter in waiting), "wait returned as if nothing were, when cancelled")


def held_things() -> Counter[str]:
    """How many threads, descriptors, tasks and futures there are, and whatever else belongs to asyncio."""
    gc.collect()
    things = Counter(type(o).__qualname__ for o in gc.get_objects() if is_of_asyncio(o))
    folder = "/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd"
    things["threads"] = threading.active_count()
    things["descriptors"] = len(os.listdir(folder))
    return things


def is_of_asyncio(value: object) -> bool:
    """Whether it is a task, a future, an event or the like."""
    return str(type(value).__module__).partition(".")[0] in {"asyncio", "_asyncio"}


# ---- where it is not declared ------------------------------------------------------------


@proves(38, absent=True)
async def a_push_that_is_not_declared_is_not_there(place: Place) -> None:
    """A backend that does not declare push has no `wait` that wakes when a run becomes due."""
    store, other = await place.open_many(2)
    waiter = asyncio.create_task(store._wait(_LONG))
    early, _ = await asyncio.wait([waiter], timeout=1)
    first = created("a", at=earlier(place))
    same(await other.commit([first]), committed([first]), "the creation of a run")
    woken = set() if early else (await asyncio.wait([waiter], timeout=5))[0]
    waiter.cancel()
    await asyncio.wait([waiter])
    works = woken and not waiter.cancelled() and waiter.exception() is None
    holds(not works, "wait wakes when a run becomes due, and is not declared: say push=True")
