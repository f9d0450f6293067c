"""Checks of the order in which due runs are claimed."""

from __future__ import annotations

from ...record import RunRecord
from ...storage import Append, LeaseChange, StorageBackend
from ..appends import after, created
from ..broken import same
from ..place import Place
from .given import given, ids, take
from .registry import proves


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
