"""What is measured of a SQL store beside its bare driver: see `sqlite_store.py` and its like.

Every figure of ours stands beside the floor taken in the same run: the driver alone, with a
statement of its own that does the same to the same tables, or, for appends, writes as many
bytes and a head into two plain tables. One JSON object a line; where there is a bar, whether
it was met.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import statistics
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Any

from file_store import START, first_append, step_append
from step import at_once

from pyworkflow import start, step, workflow
from pyworkflow_core.plugins import open_storage
from pyworkflow_core.storage import StorageBackend

NAMESPACE = "pyworkflow_bench"
BODY = b"x" * 130  # about what an event of a small step has
EVENTS = 1_000_000
FAR = START + 10**15
RECORD = (
    "run_id", "incarnation", "head", "status", "workflow", "queue", "priority",
    "created_at", "updated_at", "wake_at", "parent", "attributes", "rest",
)  # fmt: skip
GAPS: list[float] = []
FLOORS: list[float] = []
MARKS: list[float] = []
BARE: list[Bare] = []
TURNS = itertools.count()
NUMBERS = "WITH RECURSIVE t(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM t WHERE n < 999)"


class Bare(ABC):
    """The driver alone. Its appends go to the tables ``floor_runs`` and ``floor_events``."""

    word = "CONCAT('{prefix}', {number})"

    @abstractmethod
    async def open(self) -> None:
        """Connect, and make the two tables."""

    @abstractmethod
    async def close(self) -> None:
        """Remove the two tables."""

    @abstractmethod
    async def execute(self, sql: str) -> None:
        """A statement without parameters, committed."""

    @abstractmethod
    async def append(self, heads: dict[str, int]) -> None:
        """Two events for each of these runs, and its new head, in one durable transaction."""

    @abstractmethod
    async def claim(self, now: int) -> int:
        """Lease due runs of the queue ``floor``; how many."""

    @abstractmethod
    async def fetch(self, sql: str, *values: Any) -> list[Any]:
        """Rows."""

    @abstractmethod
    async def size(self) -> int:
        """Bytes that the small store takes on disk."""

    def names(self, end: str = "") -> tuple[str, str]:
        """The tables of runs and events of a namespace."""
        return f"{NAMESPACE}{end}_runs", f"{NAMESPACE}{end}_events"

    @property
    def full(self) -> str:
        """The runs of the full store."""
        return self.names("_full")[0]

    async def settle(self) -> None:  # noqa: B027 - some have nothing to do
        """Do what the database would do by itself in a while."""

    parameter = "%s"

    async def get(self, run_id: str) -> int:
        sql = f"SELECT {', '.join(RECORD)} FROM {self.full} WHERE run_id = {self.parameter} AND head > 0"
        return len(await self.fetch(sql, run_id))

    async def page(self) -> int:
        found = f"SELECT {', '.join(RECORD)} FROM {self.full} WHERE created_at IS NOT NULL"
        return len(await self.fetch(f"{found} ORDER BY created_at DESC, run_id LIMIT 50"))

    async def copy_run(self, names: tuple[str, str], prefix: str, count: int, **columns: str) -> None:
        """Many runs like the one called template, in other columns as given."""
        name = self.word.format(prefix=f"{prefix}_", number="a.n * 1000 + b.n")
        new = {column: f"r.{column}" for column in RECORD}
        new |= {"run_id": name, "created_at": "r.created_at - a.n * 1000 - b.n", **columns}
        await self._in_parts(
            f"INSERT INTO {names[0]} ({', '.join(new)}) {NUMBERS} SELECT {', '.join(new.values())} "
            f"FROM {names[0]} r, t a, t b WHERE r.run_id = 'template'",
            count,
        )

    async def copy_event(self, names: tuple[str, str], prefix: str, count: int, each: int) -> None:
        """For each of those runs as many events like the first one of template."""
        name = self.word.format(prefix=f"{prefix}_", number="a.n * 1000 + b.n")
        await self._in_parts(
            f"INSERT INTO {names[1]} (run_id, sequence, event_id, body) {NUMBERS} "
            f"SELECT {name}, c.n + 1, '0123456789abcdef', e.body "
            f"FROM {names[1]} e, t a, t b, t c WHERE c.n < {each} AND e.run_id = 'template'",
            count,
        )

    async def _in_parts(self, sql: str, count: int) -> None:
        for begin in range(0, count // 1000, 20):
            end = min(begin + 20, count // 1000)
            await self.execute(f"{sql} AND a.n >= {begin} AND a.n < {end}")


def show(what: str, **figures: Any) -> None:
    rounded = {k: round(v, 2) if isinstance(v, float) else v for k, v in figures.items()}
    print(json.dumps({"what": what, **rounded}), flush=True)


def verdict(value: float, bar: float, *, least: bool = False) -> dict[str, Any]:
    met = value >= bar if least else value <= bar
    return {"bar": f"{'>=' if least else '<='} {bar}", "verdict": "met" if met else "MISSED"}


async def timed(work: Awaitable[Any]) -> float:
    began = time.perf_counter()
    await work
    return (time.perf_counter() - began) * 1e6


async def in_turns(times: int, *works: Callable[[int], Awaitable[Any]]) -> list[list[float]]:
    """Microseconds of each, turn by turn, so that a change of the machine's mood hits all of them."""
    taken: list[list[float]] = [[] for _ in works]
    for n in range(times):
        for work, own in zip(works, taken, strict=True):
            own.append(await timed(work(n)))
    return taken


def beside(ours: list[float], floor: list[float]) -> dict[str, Any]:
    a, b = statistics.median(ours), statistics.median(floor)
    return {"us": a, "floor_us": b, "ratio": a / b}


class Runs:
    """Runs of a store that get a small step each, in one commit.

    What makes the appends is the engine's work, and is done before the clock starts.
    """

    def __init__(self, store: StorageBackend, size: int) -> None:
        turn = next(TURNS)
        self.store = store
        self.appends = [first_append(f"a{turn}_{n:010x}") for n in range(size)]
        self.fresh = True

    def step(self, n: int) -> Awaitable[Any]:
        if not self.fresh:
            self.appends = [step_append(append.record) for append in self.appends]
        self.fresh = False
        return self.store.commit(self.appends)


class Rows:
    """The same through the bare driver."""

    def __init__(self, bare: Bare, size: int) -> None:
        turn = next(TURNS)
        self.bare = bare
        self.heads = {f"a{turn}_{n:010x}": -1 for n in range(size)}

    def step(self, n: int) -> Awaitable[Any]:
        self.heads = {run_id: head + 2 for run_id, head in self.heads.items()}
        return self.bare.append(self.heads)


@step
async def charge_beside(number: int, currency: str) -> dict[str, Any]:
    """A step; the driver writes as much in it, beside what is measured."""
    GAPS.append((time.perf_counter() - MARKS[-1]) * 1e6)
    heads = {"f_sequence": 2 * number + 1}
    FLOORS.append(await timed(BARE[-1].append(heads)))
    MARKS.append(time.perf_counter())
    return {"ok": True, "id": number}


@workflow
async def charges_beside(steps: int) -> int:
    for number in range(steps):
        await charge_beside(number, "EUR")
    return steps


async def sequence(store: StorageBackend, bare: Bare, bar: float, steps: int = 1000) -> None:
    """A workflow of many steps, each beside the driver's own writing of as much."""
    BARE.append(bare)
    MARKS.append(time.perf_counter())
    await start(charges_beside, steps, storage=store)
    figures = beside(GAPS[1:], FLOORS[1:])
    growth = statistics.median(GAPS[-100:]) / statistics.median(GAPS[1:101])
    floor_growth = statistics.median(FLOORS[-100:]) / statistics.median(FLOORS[1:101])
    show("sequential step", **figures, growth=growth, floor_growth=floor_growth,
         **verdict(figures["ratio"], bar))  # fmt: skip


async def measure(bare: Bare, url: str, *, step_bar: float, rate_aim: int, sleeping: int) -> None:
    """Print everything."""
    namespaces = [f"{url}?namespace={NAMESPACE}{end}" for end in ("", "_full")]
    async with open_storage(namespaces[0]) as small, open_storage(namespaces[1]) as full:
        await bare.open()
        try:
            await writing(small, bare, step_bar, rate_aim)
            await growth(small, full, bare, sleeping)
        finally:
            await bare.close()
            for store in (small, full):
                await store.drop()  # type: ignore[attr-defined]


async def writing(store: StorageBackend, bare: Bare, step_bar: float, rate_aim: int) -> None:
    """Appends and steps, one by one and many at once."""
    await in_turns(100, Runs(store, 1).step, Rows(bare, 1).step)  # nobody's first statements count
    await sequence(store, bare, step_bar)
    lone, floor = await in_turns(1000, Runs(store, 1).step, Rows(bare, 1).step)
    show("lone append", **beside(lone, floor), **verdict(beside(lone, floor)["ratio"], step_bar))
    rate = await at_once(store, 200, 10)
    show("200 runs of 10 steps", steps_per_s=round(rate), **verdict(rate, rate_aim, least=True))
    await bare.settle()
    before, rounds = await bare.size(), 200
    many, floor = await in_turns(rounds, Runs(store, 64).step, Rows(bare, 64).step)
    ours, theirs = (128e6 / statistics.median(times) for times in (many, floor))
    show("commits of 64", events_per_s=round(ours), floor_events_per_s=round(theirs), ratio=ours / theirs,
         **verdict(ours / theirs, 0.5, least=True))  # fmt: skip
    await bare.settle()
    show("size", bytes_per_event=round((await bare.size() - before) / (128 * rounds)))


async def growth(small: StorageBackend, full: StorageBackend, bare: Bare, sleeping: int) -> None:
    """The same work in a store of some ten thousand events and in one with a million, turn by turn."""
    each, due = max(1, EVENTS // sleeping), 5000
    for store, names, count in ((small, bare.names(), 1000), (full, bare.names("_full"), sleeping)):
        await store.commit([first_append("template", FAR)])
        await bare.copy_run(names, "sleeper", count)
        await bare.copy_event(names, "sleeper", count, each)
        await bare.copy_run(names, "due", due, queue="'ours'", wake_at=str(START))
    await bare.copy_run(bare.names("_full"), "floor", due, queue="'floor'", wake_at=str(START))
    await bare.settle()
    show("now a store is full", runs=sleeping, events=sleeping * each)

    def claimer(store: StorageBackend) -> Callable[[int], Awaitable[None]]:
        async def claim(n: int) -> None:
            found = await store.claim(owner="b", now=START + n, lease=10**12, limit=50, queues=["ours"])
            assert len(found) == 50

        return claim

    a, b, floor = await in_turns(due // 50, claimer(full), claimer(small), lambda n: bare.claim(START + n))
    rate = 50e6 / statistics.median(a)
    show("claims of 50", **beside(a, floor), runs_per_s=round(rate), **verdict(rate, 5000, least=True))
    show_growth("claim", a, b)
    await in_turns(50, Runs(full, 1).step, Runs(small, 1).step)
    a, b = await in_turns(1000, Runs(full, 1).step, Runs(small, 1).step)
    show_growth("append", a, b)
    gets = (
        lambda n: full.get(f"sleeper_{n * 7919 % sleeping}"),
        lambda n: small.get(f"sleeper_{n * 7919 % 1000}"),
        lambda n: bare.get(f"sleeper_{n * 7919 % sleeping}"),
    )
    # The first look at a run is a look at a page that nobody has had in memory for a while. How
    # long that takes is the machine's matter, and no store's.
    cold, _, cold_floor = await in_turns(500, *gets)
    show("get, first look", **beside(cold, cold_floor))
    a, b, floor = await in_turns(500, *gets)
    show("get", **beside(a, floor))
    show_growth("get", a, b)
    a, floor = await in_turns(200, lambda n: full.find(limit=50), lambda n: bare.page())
    show("page of 50", **beside(a, floor))


def show_growth(what: str, full: list[float], small: list[float]) -> None:
    ratio = statistics.median(full) / statistics.median(small)
    show(f"{what}: full over small", ratio=ratio, **verdict(ratio, 1.2))


def arguments(document: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=document.splitlines()[0])
    parser.add_argument("url", nargs="?", help="of a database of your own")
    parser.add_argument("--sleeping", type=int, default=200_000, help="runs that sleep meanwhile")
    return parser.parse_args()


def run(bare: Bare, url: str, given: argparse.Namespace, *, step_bar: float, rate_aim: int) -> None:
    work = measure(bare, url, step_bar=step_bar, rate_aim=rate_aim, sleeping=given.sleeping)
    asyncio.run(work)
