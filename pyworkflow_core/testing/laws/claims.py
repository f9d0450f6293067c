"""Checks of claims: each due run goes to one worker, one that waits to none, a dead worker's to another."""

from __future__ import annotations

import asyncio

from ...events import encode_body
from ...payloads import WorkflowCompleted
from ...storage import Claim, StorageBackend
from ..appends import after, resumed, suspended
from ..broken import same
from ..child_place import ChildPlace
from ..place import Place
from .given import due_run, given, ids, take, take_one
from .registry import proves


async def drain(place: Place, store: StorageBackend, limit: int) -> list[Claim]:
    """Claim until nothing comes; gives up where a store hands out the same runs for ever."""
    claims: list[Claim] = []
    while len(claims) < 2000 and (more := await take(place, store, units=1000, limit=limit)):
        claims += more
    return claims


@proves(24)
async def many_workers_get_each_due_run_once(place: Place) -> None:
    """Workers that claim at once, on handles of their own, share the due runs out; none is lost."""
    stores = await place.open_many(place.profile.racers)
    for turn in range(place.profile.rounds):
        names = sorted(f"r{turn}-{n:02}" for n in range(4 * len(stores)))
        await given(stores[0], *[due_run(place, name) for name in names])
        got = await asyncio.gather(*[drain(place, s, 1 + n % 3) for n, s in enumerate(stores)])
        claims = [claim for part in got for claim in part] + await drain(place, stores[0], 100)
        same(sorted(ids(claims)), names, f"runs that {len(stores)} workers claimed of {len(names)} due ones")
        same(len({claim.token for claim in claims}), len(claims), "number of different tokens")


async def drain_elsewhere(place: ChildPlace, limit: int) -> None:
    """Claim until nothing comes, when told to begin; tell the runs."""
    store = await place.open()
    place.tell("ready")
    await place.hear()
    place.tell(ids(await drain(place, store, limit)))


@proves(24, needs=("multi_process",))
async def workers_of_many_processes_get_each_due_run_once(place: Place) -> None:
    """Workers in processes of their own share the due runs out; none is lost."""
    store = await place.open()
    names = [f"r{n:02}" for n in range(40)]
    await given(store, *[due_run(place, name) for name in names])
    children = [await place.spawn(drain_elsewhere, limit=limit) for limit in (1, 2)]
    for child in children:
        same(await child.told(), "ready", "what another process says when it has opened a handle")
    for child in children:
        await child.say("go")
    own = ids(await drain(place, store, 3))
    told = [run_id for child in children for run_id in await child.told()]
    rest = ids(await drain(place, store, 100))
    same(sorted(own + told + rest), names, "runs that the workers of three processes claimed")


@proves(27)
async def a_run_that_waits_for_somebody_is_never_claimed(place: Place) -> None:
    """Without a wake time nothing makes a run due: no far future, no lease that ends or is released."""
    store = await place.open()
    runs = [due_run(place, name) for name in ("waiting", "ended", "lapsed", "released")]
    await given(store, *runs)
    claims = {run.run_id: await take_one(place, store, run.run_id, units=1) for run in runs}
    await given(store, *[suspended(run.record, None) for run in (runs[0], *runs[2:])])
    await given(store, after(runs[1].record, encode_body(WorkflowCompleted(), place.now)))
    same(await store.release(claims["released"]), True, "release of a run without a wake time")
    same(await store.extend(claims["waiting"], place.now + place.unit), True, "extend of such a run's lease")
    await place.pass_time(2 * place.unit)
    for moment in (place.now, 2**52):
        got = await store.claim(owner="x", now=moment, lease=1, limit=9)
        same(ids(got), [], f"claim at {moment} where no run has a wake time")
        for run in runs:
            got = await store.claim(owner="x", now=moment, lease=1, run_id=run.run_id)
            same(ids(got), [], f"claim by id at {moment} of a run without a wake time")


@proves(27)
async def a_run_that_gets_a_wake_time_is_claimed_again(place: Place) -> None:
    """Waiting for somebody is no end: the append that sets a wake time makes the run due."""
    store = await place.open()
    first = due_run(place, "a")
    waiting = suspended(first.record, None)
    await given(store, first)
    await given(store, waiting)
    same(ids(await take(place, store)), [], "claim of a run that waits for somebody")
    await given(store, resumed(waiting.record, at=place.now - place.unit))
    same(ids(await take(place, store)), ["a"], "claim after an append set a wake time that has come")


@proves(29)
async def a_run_outlives_the_handle_that_claimed_it(place: Place) -> None:
    """When its holder is gone without a word, a run is delivered to another at the end of the lease."""
    store, doomed = await place.open_many(2)
    first = due_run(place, "a")
    await given(doomed, first)
    await take_one(place, doomed, "a", units=2)
    doing = resumed(first.record, at=place.now)
    await given(doomed, doing)
    await place.close(doomed)
    await place.pass_time(3 * place.unit)
    again = await take(place, store)
    same([c.record for c in again], [doing.record], "claim after the holder was gone and the lease ended")


async def claim_and_stay(place: ChildPlace) -> None:
    """Claim a run, go on with it, say so, and wait to be killed."""
    store = await place.open()
    claim = await take_one(place, store, "a", owner="doomed", units=5)
    doing = resumed(claim.record, at=claim.record.updated_at)
    await given(store, doing)
    place.tell(doing.record.head)
    await place.hear()


@proves(29, needs=("multi_process",))
async def a_run_outlives_the_process_that_claimed_it(place: Place) -> None:
    """The run of a process that was killed is delivered to another at the end of the lease."""
    store = await place.open()
    await given(store, due_run(place, "a"))
    child = await place.spawn(claim_and_stay)
    same(await child.told(), 2, "head of the run that another process claimed and appended to")
    await child.kill()
    if store.capabilities.clock == "caller":
        same(ids(await take(place, store)), [], "claim after the holder was killed and before its lease ends")
    await place.pass_time(6 * place.unit)
    again = await take(place, store)
    same([(c.run_id, c.record.head) for c in again], [("a", 2)], "claim after the lease of a killed holder")
