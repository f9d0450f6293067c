"""What the MongoDB store costs beside its bare driver: `python benchmarks/mongodb_store.py [--sleeping N]`.

Runs on servers that it starts itself, alone and as a replica set. Each figure of ours stands beside the
floor taken in the same run, turn by turn: the driver alone, with one update of a run's document for each
append, which sets the head and pushes the two events. See `sql_stores.py` for what all servers share.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import frame
from bson.binary import Binary
from file_store import START, first_append, step_append
from frame import ROUNDS, SYNCED, by_rounds
from pymongo import UpdateOne
from sql_stores import BODY, EVENTS, FAR, Bars, Runs, compare, in_turns, many_at_once, one_by_one

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

    async def version(self) -> str:
        return str((await self.heads.database.client.server_info())["version"])

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


async def growth(small: StorageBackend, full: StorageBackend, bars: Bars, sleeping: int) -> None:
    """The same work in a store of some ten thousand events and in one with a million, turn by turn."""
    each, bares = max(1, EVENTS // sleeping), {store: Bare(store) for store in (small, full)}
    for store, count in ((small, 1000), (full, sleeping)):
        await store.commit([first_append("sleeping", FAR), first_append("due", START)])
        (event,) = (await bares[store].runs.find_one({"_id": "sleeping"}))["tail"]
        await bares[store].fill("sleeper", count, "sleeping", tail=[event] * each, head=each)
        await bares[store].fill("due", DUE, "due", queue="ours")
    await bares[full].fill("floor", DUE, "due", queue="floor")
    await compare(small, full, bares[full], bars, sleeping, DUE)


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
        show_drivers("processor time of a get", [await cpu_of(partial(get, store)) for store in stores])
        for store in stores:
            await store.drop()


async def read(store: StorageBackend, n: int) -> None:
    assert len(await store.read("long")) == 1001


async def get(store: StorageBackend, n: int) -> None:
    assert await store.get("long")


async def at_once_gets(store: StorageBackend, n: int) -> None:
    await asyncio.gather(*[get(store, n) for _ in range(64)])


async def cpu_of(work: Callable[[int], Awaitable[None]], times: int = 100) -> list[float]:
    """Microseconds of this process, all of its threads included, one a round."""
    taken = []
    for _ in range(ROUNDS):
        began = time.process_time()
        for n in range(times):
            await work(n)
        taken.append((time.process_time() - began) / times * 1e6)
    return taken


def show_drivers(what: str, taken: list[list[float]]) -> None:
    """Motor's figure, with PyMongo's as its floor."""
    pymongo, motor = taken
    worst = {
        f"{driver}_p99": statistics.quantiles(each, n=100)[-1]
        for driver, each in zip(DRIVERS, taken, strict=True)
    }
    frame.show(f"{what} by Motor", by_rounds(motor), "µs", floor=by_rounds(pymongo), store="mongodb",
               floor_is="PyMongo's own asynchronous client", **worst)  # fmt: skip


async def measure(url: str, bars: Bars, driver: str, sleeping: int) -> None:
    """Show everything of one server and one driver."""
    namespaces = [f"{url}&driver={driver}&namespace=bench{end}" for end in ("", "_full")]
    async with MongoStorageBackend(namespaces[0]) as small, MongoStorageBackend(namespaces[1]) as full:
        bare = Bare(small)
        frame.note_server("mongodb", await bare.version())
        try:
            await one_by_one(small, bare, bars)
            await many_at_once(small, bare, bars)
            if sleeping:
                await growth(small, full, bars, sleeping)
        finally:
            await bare.heads.drop()
            for store in (small, full):
                await store.drop()


def main() -> None:
    options = frame.parser(__doc__)
    options.add_argument("--sleeping", type=int, default=200_000, help="runs that sleep meanwhile")
    options.add_argument("--motor", action="store_true", help="also by Motor, and both side by side")
    with frame.kept(options) as given:
        for kind, store in (("mongodb", "mongodb"), ("mongodb-replica", "mongodb, replica set of one")):
            bars = Bars(store, SYNCED, STEP_BAR, RATE_AIM)
            with serve(kind) as server:
                asyncio.run(measure(server.url, bars, "pymongo", given.sleeping if kind == store else 0))
                if given.motor:
                    by_motor = Bars(f"{store}, Motor", SYNCED, STEP_BAR, RATE_AIM)
                    asyncio.run(measure(server.url, by_motor, "motor", 0))
                    asyncio.run(drivers(server.url))


if __name__ == "__main__":
    main()
