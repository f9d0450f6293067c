"""What the Redis store costs beside bare Redis: `python benchmarks/redis_store.py [sleeping runs] [URL]`.

Each figure of ours is printed with the floor taken in the same run: redis-py's asyncio client running
one script that compares the length of a run's list, appends to it and writes the run's row, as any such
store must. Without a URL it starts a server of its own, once syncing every second and once each write.
Prints one JSON object a line.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from collections.abc import Awaitable, Iterator
from pathlib import Path
from typing import Any

from file_store import START, first_append, step_append
from redis.asyncio import Redis
from step import at_once, charges, in_sequence

from pyworkflow import start
from pyworkflow_core.storage import Append
from pyworkflow_redis import RedisStorageBackend
from pyworkflow_redis.rows import encode_event, encode_row

ONE = """if redis.call('LLEN', KEYS[1]) ~= tonumber(ARGV[1]) then return -1 end
redis.call('SET', KEYS[2], ARGV[2])
return redis.call('RPUSH', KEYS[1], unpack(ARGV, 3))"""
MANY = """local p = 1
for k = 1, #KEYS, 2 do
  if redis.call('LLEN', KEYS[k]) ~= tonumber(ARGV[p]) then return -1 end
  redis.call('SET', KEYS[k + 1], ARGV[p + 1])
  redis.call('RPUSH', KEYS[k], ARGV[p + 2], ARGV[p + 3])
  p = p + 4
end
return 1"""


def show(what: str, **figures: Any) -> None:
    print(json.dumps({"what": what, **figures}), flush=True)


async def timed(call: Awaitable[Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    answer = await call
    return time.perf_counter() - began, answer


def both(ours: list[float], floors: list[float], each: int) -> dict[str, float]:
    a, b = statistics.median(ours), statistics.median(floors)
    return {
        "us": round(a / each * 1e6, 1), "per_second": round(each / a), "floor_us": round(b / each * 1e6, 1),
        "floor_per_second": round(each / b), "ratio": round(a / b, 2),
    }  # fmt: skip


async def lone(store: RedisStorageBackend, client: Any, sync: str, steps: int = 1000) -> float:
    """Appends of one run, one after the other, turn by turn with the floor, which is returned."""
    digest = await client.script_load(ONE)
    append = first_append("run_0123456789abcdef0123")
    await store.commit([append])
    await client.rpush("floor:log", "x")
    ours, floors = [], []
    for _ in range(steps):
        append = step_append(append.record)
        ours.append((await timed(store.commit([append])))[0])
        words = (append.expected, encode_row(append.record), *map(encode_event, append.events))
        taken, answer = await timed(client.evalsha(digest, 2, "floor:log", "floor:row", *words))
        assert answer > 0
        floors.append(taken)
    growth = statistics.median(ours[-100:]) / statistics.median(ours[:100])
    figures = both(ours, floors, 1)
    show(f"lone append, {sync}", **figures, last_100_over_first_100=round(growth, 2))
    return figures["floor_us"]


async def batches(
    store: RedisStorageBackend, client: Any, sync: str, size: int = 64, rounds: int = 200
) -> None:
    """Commits of `size` appends of two events."""
    digest = await client.script_load(MANY)
    appends = [first_append(f"run_{n:020x}") for n in range(size)]
    await store.commit(appends)
    for n in range(size):
        await client.rpush(f"floor:log{n}", "x")
    keys = [key for n in range(size) for key in (f"floor:log{n}", f"floor:row{n}")]
    ours, floors = [], []
    for _ in range(rounds):
        appends = [step_append(append.record) for append in appends]
        ours.append((await timed(store.commit(appends)))[0])
        words = [
            word
            for append in appends
            for word in (append.expected, encode_row(append.record), *map(encode_event, append.events))
        ]
        taken, answer = await timed(client.evalsha(digest, len(keys), *keys, *words))
        assert answer > 0
        floors.append(taken)
    show(f"commits of {size} appends, {sync}", **both(ours, floors, size))


async def steps(store: RedisStorageBackend, sync: str, floor: float) -> None:
    """Whole steps, engine included, over the floor of a lone append."""
    await in_sequence(store, 100)
    us, growth = await in_sequence(store, 1000)
    show(f"step, {sync}", us=round(us, 1), ratio=round(us / floor, 2), growth=round(growth, 2))
    await start(charges, 1, storage=store)
    show(f"200 runs of 10 steps, {sync}", steps_per_second=round(await at_once(store, 200, 10)))


async def sleeping(store: RedisStorageBackend, client: Any, runs: int) -> None:
    """Many runs that sleep, and what append, get and claim cost with few of them and with all."""
    kept: list[Append] = []
    before = (await client.info("memory"))["used_memory"]
    for count in (min(runs, 10_000) // 2, runs):
        filled = len(kept)
        for begin in range(filled, count, 500):
            batch = [
                first_append(f"run_{n:022x}", START + 10**12 + n)
                for n in range(begin, min(begin + 500, count))
            ]
            await store.commit(batch)
            kept += batch
        while (await client.info("persistence"))["aof_rewrite_in_progress"]:
            await asyncio.sleep(0.1)  # its process takes the server's memory apart
        used = (await client.info("memory"))["used_memory"] - before
        floor = await repeat(client.get("floor:row") for _ in range(300))
        gets = await repeat(store.get(kept[n * 7919 % count].run_id) for n in range(300))
        appends = [first_append(f"new_{count}_{n}") for n in range(300)]
        commits = await repeat(store.commit([append]) for append in appends)
        for append in appends:
            await store.delete(append.run_id, expected=1)
        polls = await repeat(store.claim(owner="w", now=START, lease=10**9, limit=50) for _ in range(300))
        claims = []
        for turn in range(50):
            now, lease = START + 10**12 + count + turn, 10**14
            taken, claimed = await timed(store.claim(owner="w", now=now, lease=lease, limit=50))
            claims.append(taken)
            for claim in claimed:
                await store.release(claim)
        show(
            f"{count} sleeping runs", bytes_a_run=round(used / count), bare_get_us=floor, get_us=gets,
            create_us=commits, empty_claim_us=polls, claims_per_second=round(50 / statistics.median(claims)),
        )  # fmt: skip


async def repeat(calls: Iterator[Awaitable[Any]]) -> float:
    """The median in microseconds."""
    taken = [(await timed(call))[0] for call in calls]
    return round(statistics.median(taken) * 1e6, 1)


async def measure(url: str, sync: str, runs: int) -> None:
    async with Redis.from_url(url) as client, RedisStorageBackend(url, namespace="benchmark") as store:
        floor = await lone(store, client, sync)
        await batches(store, client, sync)
        await steps(store, sync, floor)
        if runs:
            await sleeping(store, client, runs)
        await store.drop()
        await client.delete(*[key async for key in client.scan_iter(match="floor:*")])


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    if len(sys.argv) > 2:
        asyncio.run(measure(sys.argv[2], "as the server is set", runs))
        return
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from servers import serve

    for sync in ("everysec", "always"):
        with serve("redis", options=("--appendfsync", sync)) as server:
            asyncio.run(measure(server.url, sync, runs if sync == "everysec" else 0))


if __name__ == "__main__":
    main()
