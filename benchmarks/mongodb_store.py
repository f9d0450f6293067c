"""What the MongoDB store costs beside its bare driver: `python benchmarks/mongodb_store.py [--sleeping N]`.

Runs on servers that it starts itself, alone and as a replica set, with both drivers. Each figure of ours
stands beside the floor taken in the same run, turn by turn: the driver alone, with one update of a run's
document for each append, which sets the head and pushes the two events. One JSON object a line; where there
is a bar, whether it was met. See `sql_stores.py` for the parts that all servers share.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import sql_stores
from bson.binary import Binary
from file_store import START, first_append, step_append
from pymongo import UpdateOne
from sql_stores import BODY, EVENTS, FAR, Rows, Runs, beside, in_turns, sequence, show, show_growth, verdict
from step import at_once

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from pyworkflow_core.storage import StorageBackend
from pyworkflow_mongodb import MongoStorageBackend
from pyworkflow_mongodb.documents import LEAST
from servers import serve

STEP_BAR, RATE_AIM = 1.7, 6000
DRIVERS = ("pymongo", "motor")
DUE = 5000


class Bare:
    """The driver alone, with the store's own client and concerns."""

    def __init__(self, store: Any) -> None:
        collections = store._here.collections
        self.heads = collections.database["floor.heads"]
        self.runs, self.name = collections.runs, collections.namespace

    async def append(self, heads: dict[str, int]) -> None:
        """Two events for each of these runs, and its new head, in one durable command."""
        events = [{"id": "0123456789abcdef", "body": Binary(BODY)}] * 2
        changes = [
            # Of a document that stays as short as ours.
            (
                {"_id": run_id},
                {"$set": {"head": head}, "$push": {"tail": {"$each": events, "$slice": -8}}},
            )
            for run_id, head in heads.items()
        ]
        if len(changes) == 1:
            await self.heads.update_one(*changes[0], upsert=True)
            return
        await self.heads.bulk_write([UpdateOne(*each, upsert=True) for each in changes], ordered=False)

    async def claim(self, now: int) -> int:
        """Lease due runs of the queue ``floor``, one command after the other, knowing no rival."""
        due = {"queue": "floor", "priority": 5, "due": {"$gte": LEAST, "$lte": now}}
        looking = self.runs.find(due, {"record": 1}, sort=[("due", 1), ("_id", 1)], limit=50)
        found = await looking.to_list(None)
        names = {"_id": {"$in": [each["_id"] for each in found]}, "due": {"$lte": now}}
        lease = {"$set": {"lease": {"token": "t"}, "due": now + 10**12}}
        await self.runs.update_many(names, lease, hint="_id_")
        return len(found)

    async def get(self, run_id: str) -> Any:
        return await self.runs.find_one({"_id": run_id}, {"record": 1})

    async def fill(self, prefix: str, count: int, like: str, **columns: Any) -> None:
        """Many runs like one that is there, in other columns as given."""
        template = await self.runs.find_one({"_id": like})
        for begin in range(0, count, 5000):
            many = [
                {**template, **columns, "_id": f"{prefix}_{n}", "created": template["created"] - n}
                for n in range(begin, min(begin + 5000, count))
            ]
            await self.runs.insert_many(many, ordered=False)


async def writing(store: StorageBackend, bare: Any) -> None:
    """Appends and steps, one by one and many at once."""
    for each in (sql_stores.GAPS, sql_stores.FLOORS, sql_stores.MARKS, sql_stores.BARE):
        each.clear()  # type: ignore[attr-defined]
    await in_turns(100, Runs(store, 1).step, Rows(bare, 1).step)  # nobody's first commands count
    await sequence(store, bare, STEP_BAR)
    lone, floor = await in_turns(1000, Runs(store, 1).step, Rows(bare, 1).step)
    # Means, too: every fourth or fifth append of ours also copies a tail.
    mean = statistics.mean(lone) / statistics.mean(floor)
    show("lone append", **beside(lone, floor), ratio_of_means=mean,
         **verdict(beside(lone, floor)["ratio"], STEP_BAR))  # fmt: skip
    rate = await at_once(store, 200, 10)
    show("200 runs of 10 steps", steps_per_s=round(rate), **verdict(rate, RATE_AIM, least=True))
    many, floor = await in_turns(200, Runs(store, 64).step, Rows(bare, 64).step)
    ours, theirs = (64e6 / statistics.mean(times) for times in (many, floor))
    show("commits of 64", appends_per_s=round(ours), floor_appends_per_s=round(theirs), ratio=ours / theirs,
         **verdict(ours / theirs, 0.5, least=True))  # fmt: skip


async def growth(small: StorageBackend, full: StorageBackend, sleeping: int) -> None:
    """The same work in a store of some ten thousand events and in one with a million, turn by turn."""
    each, bares = max(1, EVENTS // sleeping), {store: Bare(store) for store in (small, full)}
    for store, count in ((small, 1000), (full, sleeping)):
        await store.commit([first_append("sleeping", FAR), first_append("due", START)])
        (event,) = (await bares[store].runs.find_one({"_id": "sleeping"}))["tail"]
        await bares[store].fill("sleeper", count, "sleeping", tail=[event] * each, head=each)
        await bares[store].fill("due", DUE, "due", queue="ours")
    await bares[full].fill("floor", DUE, "due", queue="floor")
    show("now a store is full", runs=sleeping, events=sleeping * each)

    def claimer(store: StorageBackend) -> Callable[[int], Awaitable[None]]:
        async def claim(n: int) -> None:
            found = await store.claim(owner="b", now=START + n, lease=10**12, limit=50, queues=["ours"])
            assert len(found) == 50

        return claim

    turns = DUE // 50
    a, b, floor = await in_turns(turns, claimer(full), claimer(small), lambda n: bares[full].claim(START + n))
    rate = 50e6 / statistics.median(a)
    show("claims of 50", **beside(a, floor), runs_per_s=round(rate), **verdict(rate, 5000, least=True))
    show_growth("claim", a, b)
    await in_turns(50, Runs(full, 1).step, Runs(small, 1).step)
    a, b = await in_turns(1000, Runs(full, 1).step, Runs(small, 1).step)
    show_growth("append", a, b)
    a, b, floor = await in_turns(
        500,
        lambda n: full.get(f"sleeper_{n * 7919 % sleeping}"),
        lambda n: small.get(f"sleeper_{n * 7919 % 1000}"),
        lambda n: bares[full].get(f"sleeper_{n * 7919 % sleeping}"),
    )
    show("get", **beside(a, floor))
    show_growth("get", a, b)


async def drivers(url: str) -> None:
    """The same work by both drivers, turn by turn."""
    stores = [MongoStorageBackend(url, driver=driver, namespace=f"both_{driver}") for driver in DRIVERS]
    async with stores[0], stores[1]:
        for what, size, times in (("lone append", 1, 500), ("commits of 64", 64, 100)):
            runs = [Runs(store, size) for store in stores]
            await in_turns(10, *[each.step for each in runs])
            show_drivers(what, await in_turns(times, *[each.step for each in runs]))
        long = first_append("long")
        for store in stores:
            append = long
            await store.commit([append])
            for _ in range(500):
                append = step_append(append.record)
                await store.commit([append])
        show_drivers("read of 1,001 events", await in_turns(50, *[partial(read, store) for store in stores]))
        show_drivers("get", await in_turns(500, *[partial(get, store) for store in stores]))
        together = [partial(at_once_gets, store) for store in stores]
        show_drivers("64 gets at once", await in_turns(50, *together))
        processor = [await cpu_of(partial(get, store), 500) for store in stores]
        show("processor time of a get", **dict(zip(DRIVERS, processor, strict=True)))
        for store in stores:
            await store.drop()


async def read(store: StorageBackend, n: int) -> None:
    assert len(await store.read("long")) == 1001


async def get(store: StorageBackend, n: int) -> None:
    assert await store.get("long")


async def at_once_gets(store: StorageBackend, n: int) -> None:
    await asyncio.gather(*[get(store, n) for _ in range(64)])


async def cpu_of(work: Callable[[int], Awaitable[None]], times: int) -> float:
    """Microseconds of this process, all of its threads included."""
    began = time.process_time()
    for n in range(times):
        await work(n)
    return (time.process_time() - began) / times * 1e6


def show_drivers(what: str, taken: list[list[float]]) -> None:
    middle = [statistics.median(each) for each in taken]
    worst = {
        f"{driver}_p99": statistics.quantiles(each, n=100)[-1]
        for driver, each in zip(DRIVERS, taken, strict=True)
    }
    show(what, **dict(zip(DRIVERS, middle, strict=True)), **worst, motor_over_pymongo=middle[1] / middle[0])


async def measure(kind: str, url: str, driver: str, sleeping: int) -> None:
    """Print everything of one server and one driver."""
    show("now", server=kind, driver=driver)
    namespaces = [f"{url}&driver={driver}&namespace=bench{end}" for end in ("", "_full")]
    async with MongoStorageBackend(namespaces[0]) as small, MongoStorageBackend(namespaces[1]) as full:
        try:
            await writing(small, Bare(small))
            if sleeping:
                await growth(small, full, sleeping)
        finally:
            await Bare(small).heads.drop()
            for store in (small, full):
                await store.drop()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sleeping", type=int, default=200_000, help="runs that sleep meanwhile")
    given = parser.parse_args()
    for kind in ("mongodb", "mongodb-replica"):
        with serve(kind) as server:
            asyncio.run(drivers(server.url))
            for driver in DRIVERS:
                alone = (kind, driver) == ("mongodb", "pymongo")
                asyncio.run(measure(kind, server.url, driver, given.sleeping if alone else 0))


if __name__ == "__main__":
    main()
