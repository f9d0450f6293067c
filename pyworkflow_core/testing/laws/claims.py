"""Checks of claims: which due runs a call gets, in which order, and that each goes to one worker."""

from __future__ import annotations

import asyncio

from ...events import encode_body
from ...payloads import WorkflowCompleted
from ...record import RunRecord
from ...storage import Append, Claim, LeaseChange, StorageBackend
from ..appends import after, created, resumed, suspended
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


def in_order(store: StorageBackend, claimed: list[str], expected: list[str], said: str) -> None:
    """Compare runs in their order; without it where the backend orders within its shards only."""
    if store.capabilities.due_order == "global":
        same(claimed, expected, said)
    else:
        same(sorted(claimed), sorted(expected), said)


def mixed_runs(place: Place) -> list[Append]:
    """Due runs of every priority with many ties, in no order."""
    names = ["a", "B", "b", "é", "z", "10", "9", "_", "\N{REPLACEMENT CHARACTER}", "\N{GRINNING FACE}"]
    last = place.now - place.unit
    runs = [
        created(
            f"{name}{n}",
            at=last - 9_000_000_000,
            priority=priority,
            wake_at=last - ago,
        )
        for n, (priority, ago) in enumerate([(0, 1), (0, 2), (5, 0), (5, 3_600_000_000), (9, 2), (10, 5)])
        for name in names
    ]
    place.random.shuffle(runs)
    return runs


def due_order(record: RunRecord) -> tuple[int, int, str]:
    """What one queue's due runs are ordered by, if none has been leased."""
    return record.priority, record.wake_at or 0, record.run_id


@proves(25)
async def one_call_gets_runs_by_priority_then_due_time_then_id(place: Place) -> None:
    """Of one queue the lowest priority number comes first, then the earliest due time, then the id."""
    store = await place.open()
    runs = mixed_runs(place)
    await given(store, *runs)
    expected = [record.run_id for record in sorted([run.record for run in runs], key=due_order)]
    claimed = ids(await take(place, store, limit=7))
    same(len(claimed), 7, "number of runs in a claim of 7 of 60 due runs")
    claimed += ids(await take(place, store, limit=100))
    in_order(store, claimed, expected, "a claim of 7 of 60 due runs, and one of the rest")


@proves(25)
async def one_call_after_the_other_goes_through_the_order(place: Place) -> None:
    """Claims of one run each get the runs in the order in which one large claim would."""
    store = await place.open()
    runs = mixed_runs(place)[:20]
    await given(store, *runs)
    expected = [record.run_id for record in sorted([run.record for run in runs], key=due_order)]
    claimed = [run_id for _ in runs for run_id in ids(await take(place, store, limit=1))]
    in_order(store, claimed, expected, "20 claims of one run each")


@proves(25)
async def each_queue_keeps_its_order_in_a_claim_of_several(place: Place) -> None:
    """Among the runs of a claim from many queues, those of one queue come in order, the first ones first."""
    store = await place.open()
    runs = mixed_runs(place)[:30]
    runs = [
        created(
            r.run_id, at=place.now - 9, priority=r.record.priority, queue=f"q{n % 3}", wake_at=place.now - n
        )
        for n, r in enumerate(runs)
    ]
    await given(store, *runs)
    records = sorted([run.record for run in runs], key=due_order)
    claims = await take(place, store, limit=14)
    same(len(claims), 14, "number of claims out of 30 due runs in three queues, with limit 14")
    for queue in ("q0", "q1", "q2"):
        claimed = [claim.run_id for claim in claims if claim.record.queue == queue]
        expected = [record.run_id for record in records if record.queue == queue]
        if store.capabilities.due_order == "global":
            same(claimed, expected[: len(claimed)], f"runs of queue {queue!r} in a claim of three queues")


@proves(25, needs=("caller_clock",))
async def a_lease_that_ended_later_than_the_wake_time_is_the_due_time(place: Place) -> None:
    """The due time that orders is the later of wake time and lease end; a release makes it the wake time."""
    store = await place.open()
    now = place.now
    for name, wake, lease in (("a", 10, 50), ("b", 40, 45), ("c", 60, None), ("d", 47, 3), ("e", 20, 900)):
        held = None if lease is None else LeaseChange(f"t-{name}", "x", now + lease)
        await given(store, created(name, at=now, wake_at=now + wake, lease=held))
    record = created("e", at=now, wake_at=now + 20).record
    await given(store, after(record, lease=LeaseChange("t-e", "x", None)))
    claims = await store.claim(owner="y", now=now + 100, lease=100, limit=9)
    expected = ["e", "b", "d", "a", "c"]  # due after 20, 45, 47, 50 and 60 µs
    in_order(store, ids(claims), expected, "claim of runs due by wake time or by lease end")


@proves(25, needs=("caller_clock",))
async def times_far_away_keep_their_order(place: Place) -> None:
    """Wake times before 1970 and centuries ahead are due in their order, and not before their time."""
    store = await place.open()
    wakes = {"d": -(2**55), "c": -1, "e": 0, "b": 2**51, "a": 2**52, "f": 2**60}
    await given(store, *[created(name, at=5, wake_at=wake) for name, wake in wakes.items()])
    claims = await store.claim(owner="x", now=-(2**54), lease=2**59, limit=9)
    same(ids(claims), ["d"], "claim at a time long before 1970")
    claims = await store.claim(owner="x", now=2**53, lease=2**59, limit=9)
    in_order(store, ids(claims), ["c", "e", "b", "a"], "claim at a time in the year 2255")
    claims = await store.claim(owner="x", now=2**61, lease=1, limit=1, run_id="f")
    same(ids(claims), ["f"], "claim of a run by id, at its far time")


ODD_QUEUES = (
    "q",
    "Q",
    "q1",
    "q ",
    "é",
    "e\N{COMBINING ACUTE ACCENT}",
    "q,q1",
    "*",
    "q%",
    "q_",
    "q:1",
    "'",
    "[q]",
)


@proves(26)
async def a_claim_of_one_queue_gets_that_queue_only(place: Place) -> None:
    """Queue names are compared exactly, whatever is in them."""
    store = await place.open()
    await given(store, *[due_run(place, f"r{n}", queue=q) for n, q in enumerate(ODD_QUEUES)])
    for queue in ("", "Q1", " q", "?", "qq", "q?"):
        if queue:
            same(
                ids(await take(place, store, queues=[queue])), [], f"claim of queue {queue!r}, which is empty"
            )
    for n, queue in enumerate(ODD_QUEUES):
        same(ids(await take(place, store, queues=[queue])), [f"r{n}"], f"claim of queue {queue!r}")


@proves(26)
async def a_claim_of_several_queues_gets_those(place: Place) -> None:
    """A list names the queues, however often; None stands for all of them and the empty list for none."""
    store = await place.open()
    await given(store, *[due_run(place, name, queue=name) for name in ("a", "b", "c", "d")])
    await given(store, due_run(place, "default"))
    same(ids(await take(place, store, queues=[])), [], "claim of no queue")
    got = ids(await take(place, store, queues=["c", "nothing", "a", "c", "a"]))
    same(sorted(got), ["a", "c"], "claim of the queues c, nothing, a, c, a")
    same(ids(await take(place, store, queues=["default"])), ["default"], "claim of the default queue")
    same(sorted(ids(await take(place, store))), ["b", "d"], "claim of every queue")


@proves(26)
async def a_claim_by_id_respects_queue_and_due_time(place: Place) -> None:
    """A run that is asked for by name is claimed only if it is due, free and in one of the queues."""
    store = await place.open()
    later = place.now + 10**6 * place.unit
    await given(store, due_run(place, "a", queue="q"), due_run(place, "b", queue="q"))
    await given(store, created("later", at=place.now, queue="q", wake_at=later))
    for run_id, queues in (("a", ["p"]), ("a", []), ("later", ["q"]), ("later", None), ("none", None)):
        got = ids(await take(place, store, run_id=run_id, queues=queues))
        same(got, [], f"claim of run {run_id!r} of queues {queues}; only 'a' and 'b' of 'q' are due")
    same(ids(await take(place, store, run_id="b", queues=["p", "q"])), ["b"], "claim of 'b' of queue q")
    same(ids(await take(place, store, run_id="a")), ["a"], "claim of 'a' of any queue")


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
