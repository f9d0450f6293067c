"""What things cost as a store grows (bars 6, 9): `python benchmarks/scale.py STORE_URL --runs 1000000`.

The store is filled with runs that sleep, through the public interface: each is one event, so that there are
as many events as runs. At each size it is asked for an append, a claim of due runs, a get, a page of the list
and an opening by a process of its own. The URL must be of an empty place; what is in it at the end stays.
Filling stops early, and says where, when the machine's memory or the time runs out.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import frame
from file_store import START
from frame import READS, ROUNDS, Bar, by_rounds
from msgspec import Raw
from room import bytes_used

from pyworkflow_core.events import Event, encode_body
from pyworkflow_core.payloads import WorkflowStarted
from pyworkflow_core.plugins import open_storage
from pyworkflow_core.record import evolve
from pyworkflow_core.storage import Append, StorageBackend

SIZES = (10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000, 10_000_000)
BATCH = 250
CLAIMED, CLAIMS = 50, 20
FAR = START + 10**15
TIMES = 200
TIME_LIMIT = 240  # seconds of filling
LEAST_MEMORY = 1.0  # GiB that must be free on the machine, or filling ends
OPENING = """
import asyncio, json, sys, time
import frame
from pyworkflow_core.plugins import open_storage
async def main():
    for _ in range(2):  # the first time modules are imported, too
        began = time.perf_counter()
        async with open_storage(sys.argv[1]) as store:
            await store.get("sleeper_1")
            taken = time.perf_counter() - began
    print(json.dumps([taken, frame.rss_mib()]))
asyncio.run(main())
"""


def sleeping(run_id: str, n: int, wake_at: int = FAR, queue: str = "default") -> Append:
    """The first append of a run that was enqueued for later."""
    started = WorkflowStarted("order", args=Raw(b'[["ORD-123"],{}]'), wake_at=wake_at, queue=queue)
    events = (Event(run_id, 1, "0123456789abcdef", encode_body(started, START + n)),)
    return Append(run_id, "0123456789ab", 0, events, evolve(None, events, incarnation="0123456789ab"))


async def fill(store: StorageBackend, begin: int, end: int, until: float) -> int:
    """Add runs up to ``end``; how many there are then."""
    for n in range(begin, end, BATCH):
        if time.monotonic() > until or free_gib() < LEAST_MEMORY:
            return n
        await store.commit([sleeping(f"sleeper_{k}", k) for k in range(n, min(end, n + BATCH))])
    return end


def free_gib() -> float:
    """Memory that the machine could still give, on Linux."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) / 2**20
    return LEAST_MEMORY


async def timed(work: Callable[[int], Awaitable[Any]], times: int = TIMES) -> list[float]:
    """Microseconds, one a round."""
    taken = []
    for n in range(times):
        began = time.perf_counter()
        await work(n)
        taken.append((time.perf_counter() - began) * 1e6)
    return by_rounds(taken)


async def costs(store: StorageBackend, size: int) -> dict[str, list[float]]:
    """What each thing costs among so many runs."""
    turn = f"{size}_{time.time_ns()}"
    due = [sleeping(f"due_{turn}_{n}", n, START, f"q{turn}") for n in range(CLAIMED * CLAIMS)]
    for begin in range(0, len(due), BATCH):
        await store.commit(due[begin : begin + BATCH])
    appends = [sleeping(f"new_{turn}_{n}", n) for n in range(TIMES)]

    async def claim(n: int) -> None:
        # Another moment each time, and a lease that ends with the benchmark's year.
        found = await store.claim(owner="b", now=START + n, lease=10**13, limit=CLAIMED, queues=[f"q{turn}"])
        assert len(found) == CLAIMED

    return {
        "append": await timed(lambda n: store.commit([appends[n]])),
        "claim of 50": await timed(claim, CLAIMS),
        "get": await timed(lambda n: store.get(f"sleeper_{n * 7919 % size}")),
        "page of 50": await timed(lambda n: store.find(limit=50)),
    }


def opening(url: str) -> tuple[list[float], float]:
    """Milliseconds of opening, by processes of their own, and the memory of such a process."""
    command = [sys.executable, "-c", OPENING, url]
    folder = Path(__file__).parent
    rounds = [
        json.loads(subprocess.run(command, check=True, capture_output=True, cwd=folder).stdout)
        for _ in range(ROUNDS)
    ]
    return [seconds * 1e3 for seconds, _ in rounds], max(memory for _, memory in rounds)


async def measure(url: str, runs: int, time_limit: float) -> None:
    name = urlsplit(url).scheme.replace("mysql", "mariadb")
    first: dict[str, list[float]] = {}
    there, extra, empty = 0, 0, await bytes_used(url)
    for size in [*(size for size in SIZES if size < runs), runs]:
        async with open_storage(url) as store:
            capabilities = store.capabilities
            filling = time.monotonic()
            there = await fill(store, there, size, filling + time_limit)
            if there < size:
                why = f"filling ended at {there:,} runs: no time or memory left"
                frame.say_missing(f"{name}, {size:,} runs", why)
                return
            spent = time.monotonic() - filling
            time_limit -= spent
            room = (await bytes_used(url) - empty) / (size + extra)
            taken = await costs(store, size)
            extra += TIMES + CLAIMED * CLAIMS
        durable = frame.SYNCED if capabilities.durable else "as the server is set"
        for what, rounds in taken.items():
            bar = Bar(6, 1.2, over_floor=True) if first and what in ("append", "claim of 50", "get") else None
            frame.show(what, rounds, "µs", bar=bar, floor=first.get(what, ()), store=name, size=size,
                       durable=READS if what in ("get", "page of 50") else durable,
                       floor_is="the same among 10,000 runs")  # fmt: skip
        first = first or taken
        opened, memory = opening(url)
        frame.show("opening", opened, "ms", store=name, size=size, durable=READS, memory_mib=memory)
        frame.show("room of a run with one event", room, "bytes", store=name, size=size, filling_s=spent)


def main() -> None:
    options = frame.parser(__doc__)
    options.add_argument("url", help="of an empty store")
    options.add_argument("--runs", type=int, default=1_000_000)
    options.add_argument("--time-limit", type=float, default=TIME_LIMIT, help="seconds of filling")
    with frame.kept(options) as given:
        asyncio.run(measure(given.url, given.runs, given.time_limit))


if __name__ == "__main__":
    main()
