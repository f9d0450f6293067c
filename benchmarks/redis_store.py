"""What the Redis store costs beside bare Redis (bars 2, 3, 4, 6, 9): `python benchmarks/redis_store.py`.

Each figure of ours is shown with the floor taken in the same run: redis-py's asyncio client running
one script that compares the length of a run's list, appends to it and writes the run's row, as any such
store must. Without the URL of one it starts a server of its own, once syncing every second and once each
write. See `sql_stores.py` for what all servers share.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import frame
from file_store import START, first_append, step_append
from frame import SYNCED
from msgspec import Raw
from redis.asyncio import Redis
from sql_stores import EVENTS, FAR, Bars, compare, many_at_once, one_by_one

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from pyworkflow_core.events import Event, encode_body
from pyworkflow_core.payloads import StepCompleted, WorkflowStarted
from pyworkflow_core.record import evolve
from pyworkflow_core.storage import Append, StorageBackend
from pyworkflow_redis import RedisStorageBackend
from pyworkflow_redis.rows import encode_event, encode_row
from servers import serve

EVERYSEC = "synced within a second after it is acknowledged"
DUE = 5000
APPEND = """local p = 1
for k = 1, #KEYS, 2 do
  if redis.call('LLEN', KEYS[k]) ~= tonumber(ARGV[p]) then return -1 end
  redis.call('SET', KEYS[k + 1], ARGV[p + 1])
  redis.call('RPUSH', KEYS[k], ARGV[p + 2], ARGV[p + 3])
  p = p + 4
end
return 1"""
CLAIM = """local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, 50)
local rows = {}
for n, run in ipairs(due) do
  rows[n] = redis.call('GET', KEYS[2])
  redis.call('SET', KEYS[3] .. run, ARGV[2])
  redis.call('ZADD', KEYS[1], ARGV[2], run)
end
return rows"""


class Bare:
    """The client alone."""

    def __init__(self, client: Any) -> None:
        self.client = client
        append = step_append(first_append("f_sequence").record)
        self.row, self.events = encode_row(append.record), list(map(encode_event, append.events))

    async def open(self) -> None:
        self.scripts = [await self.client.script_load(script) for script in (APPEND, CLAIM)]
        await self.client.set("floor:row", self.row)
        await self.client.zadd("floor:due", {f"run_{n:020x}": START for n in range(DUE)})

    async def close(self) -> None:
        names = [name async for name in self.client.scan_iter(match="floor:*", count=1000)]
        await self.client.delete(*names)

    async def append(self, heads: dict[str, int]) -> None:
        keys = [key for run_id in heads for key in (f"floor:log:{run_id}", f"floor:row:{run_id}")]
        words = [word for head in heads.values() for word in (head - 1, self.row, *self.events)]
        assert await self.client.evalsha(self.scripts[0], len(keys), *keys, *words) == 1

    async def claim(self, now: int) -> int:
        keys = ("floor:due", "floor:row", "floor:lease:")
        return len(await self.client.evalsha(self.scripts[1], 3, *keys, now, now + 10**12))

    async def get(self, run_id: str) -> Any:
        return await self.client.get("floor:row")

    async def version(self) -> str:
        return str((await self.client.info("server"))["redis_version"])


def waiting(run_id: str, wake_at: int, queue: str, events: int) -> Append:
    """A run that sleeps, and has a few events."""
    started = WorkflowStarted("order", args=Raw(b'[["ORD-123"],{}]'), wake_at=wake_at, queue=queue)
    done = encode_body(StepCompleted("charge", ordinal=1, result=Raw(b'{"ok":true}')), START)
    bodies = [encode_body(started, START), *[done] * (events - 1)]
    made = tuple(Event(run_id, n, f"{n:016x}", body) for n, body in enumerate(bodies, 1))
    return Append(run_id, "0123456789ab", 0, made, evolve(None, made, incarnation="0123456789ab"))


async def fill(store: StorageBackend, prefix: str, count: int, *, due: int, queue: str, events: int) -> None:
    for begin in range(0, count, 250):
        names = [f"{prefix}_{n}" for n in range(begin, min(count, begin + 250))]
        await store.commit([waiting(name, due, queue, events) for name in names])


async def growth(small: StorageBackend, full: StorageBackend, bare: Bare, bars: Bars, sleeping: int) -> None:
    """The same work in a store of some ten thousand events and in one with a million, turn by turn."""
    before = (await bare.client.info("memory"))["used_memory"]
    each = max(1, EVENTS // sleeping)
    for store, count in ((full, sleeping), (small, 1000)):
        await fill(store, "sleeper", count, due=FAR, queue="default", events=each)
        if store is full:
            used = (await bare.client.info("memory"))["used_memory"] - before
            frame.show("size", used / sleeping / each, "bytes/event", store=bars.store, events_a_run=each)
        await fill(store, "due", DUE, due=START, queue="ours", events=1)
    while (await bare.client.info("persistence"))["aof_rewrite_in_progress"]:
        await asyncio.sleep(0.1)  # its process takes the server's memory apart
    await compare(small, full, bare, bars, sleeping, DUE)


async def measure(url: str, bars: Bars, sleeping: int) -> None:
    stores = [RedisStorageBackend(url, namespace=f"benchmark{end}") for end in ("", "-full")]
    async with Redis.from_url(url) as client, stores[0] as small, stores[1] as full:
        bare = Bare(client)
        await bare.open()
        frame.note_server("redis", await bare.version())
        await one_by_one(small, bare, bars)
        await many_at_once(small, bare, bars)
        if sleeping:
            await growth(small, full, bare, bars, sleeping)
        for store in stores:
            await store.drop()
        await bare.close()


def main() -> None:
    options = frame.parser(__doc__)
    options.add_argument("url", nargs="?", help="of a server of your own")
    options.add_argument("--sleeping", type=int, default=200_000, help="runs that sleep meanwhile")
    with frame.kept(options) as given:
        if given.url:
            bars = Bars("redis", "as the server is set", 2, 12_500)
            asyncio.run(measure(given.url, bars, given.sleeping))
            return
        for sync, durable in (("everysec", EVERYSEC), ("always", SYNCED)):
            bars = Bars(f"redis, {sync}", durable, 2, 12_500)
            with serve("redis", options=("--appendfsync", sync)) as server:
                asyncio.run(measure(server.url, bars, given.sleeping if sync == "everysec" else 0))


if __name__ == "__main__":
    main()
