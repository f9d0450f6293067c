"""What the MongoDB store costs beside the bare driver: `python benchmarks/mongodb_store.py [sleepers]`.

Runs on a server that it starts itself, alone and as a replica set, with both drivers. Each figure of
ours is printed with the floor of the same run: the bare driver writing the events' documents and the
run's head. Prints one JSON object a line.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from bson.binary import Binary
from pymongo import InsertOne, UpdateOne

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from file_store import START, first_append, step_append

from pyworkflow_core.storage import Append
from pyworkflow_mongodb import MongoStorageBackend
from servers import serve

BATCH = 64


class Floor:
    """The bare driver doing what every store must: the events' documents, and the run's head."""

    def __init__(self, database: Any) -> None:
        self.events, self.heads = database["floor.events"], database["floor.heads"]

    async def begin(self, runs: int) -> None:
        await self.heads.insert_many([{"_id": f"r{n}", "head": 0} for n in range(runs)])
        await self.events.insert_one({"_id": {"r": "warm", "s": 0}})

    async def commit(self, appends: list[Append]) -> None:
        events = [
            {"_id": {"r": e.run_id, "s": e.sequence}, "id": e.event_id, "body": Binary(e.body)}
            for append in appends
            for e in append.events
        ]
        heads = [
            UpdateOne({"_id": f"r{n}"}, {"$set": {"head": append.record.head}})
            for n, append in enumerate(appends)
        ]
        if len(appends) == 1:
            await self.events.insert_many(events)
            await self.heads.update_one({"_id": "r0"}, {"$set": {"head": appends[0].record.head}})
            return
        await self.events.bulk_write([InsertOne(e) for e in events], ordered=False)
        await self.heads.bulk_write(heads, ordered=False)


async def appends(store: MongoStorageBackend, floor: Floor, size: int, rounds: int) -> dict[str, object]:
    """Commits of `size` steps, turn by turn with the bare driver."""
    batch = [first_append(f"run_{size}_{n:016x}") for n in range(size)]
    await store.commit(batch)
    ours, floors = [], []
    for _ in range(rounds):
        batch = [step_append(append.record) for append in batch]
        began = time.perf_counter()
        await store.commit(batch)
        ours.append(time.perf_counter() - began)
        began = time.perf_counter()
        await floor.commit(batch)
        floors.append(time.perf_counter() - began)
    # Means: every fourth commit of ours also copies a tail.
    a, b = statistics.mean(ours) / size, statistics.mean(floors) / size
    tenth = rounds // 10
    return {
        "what": f"commits of {size}", "us_an_append": round(a * 1e6, 1), "appends_per_s": round(1 / a),
        "floor_us": round(b * 1e6, 1), "ratio": round(a / b, 2),
        "last_tenth_over_first": round(statistics.mean(ours[-tenth:]) / statistics.mean(ours[:tenth]), 2),
    }  # fmt: skip


async def claiming(store: MongoStorageBackend, sleepers: int, due: int = 5000) -> dict[str, object]:
    """Claims in batches of 50 while many runs sleep."""
    for begin in range(0, sleepers, 1000):
        await store.commit([first_append(f"s_{n:016x}", START * 2) for n in range(begin, begin + 1000)])
    for begin in range(0, due, 1000):
        await store.commit([first_append(f"d_{n:016x}", START) for n in range(begin, begin + 1000)])
    began, claimed = time.perf_counter(), 0
    while claimed < due:
        claims = await store.claim(owner="o", now=START + 1, lease=10**9, limit=50, queues=["default"])
        claimed += len(claims)
    spent = time.perf_counter() - began
    began = time.perf_counter()
    for n in range(100):
        await store.get(f"s_{n:016x}")
    return {
        "what": f"claims of 50, {sleepers} asleep", "claims_per_s": round(claimed / spent),
        "get_us": round((time.perf_counter() - began) * 1e4, 1),
    }  # fmt: skip


async def measure(url: str, kind: str, driver: str, sleepers: int) -> None:
    async with MongoStorageBackend(url, namespace=f"bench_{driver}", driver=driver) as store:
        collections = store._here.collections
        floor = Floor(collections.database)
        await floor.begin(BATCH)
        for size, rounds in ((1, 400), (BATCH, 100)):
            await floor.events.drop()
            told = await appends(store, floor, size, rounds)
            print(json.dumps({"server": kind, "driver": driver, **told}), flush=True)
        if kind == "mongodb":
            told = await claiming(store, sleepers)
            print(json.dumps({"server": kind, "driver": driver, **told}), flush=True)
        await store.drop()
        await floor.heads.drop()


def main(sleepers: int) -> None:
    for kind in ("mongodb", "mongodb-replica"):
        with serve(kind) as server:
            for driver in ("pymongo", "motor"):
                asyncio.run(measure(server.url, kind, driver, sleepers))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 50_000)
