"""What is measured of a store beside its bare driver (bars 2, 3, 4, 6, 9): see `sqlite_store.py`.

Every figure of ours stands beside the floor taken in the same run: the driver alone, with a
statement of its own that does the same to the same tables, or, for appends, writes as many
bytes and a head into two plain tables.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import frame
from file_store import START, first_append, step_append
from frame import READS, ROUNDS, Bar, by_rounds
from step import EACH, RUNS, at_once

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


@dataclass(frozen=True)
class Bars:
    """What is asked of a store.

    Attributes:
        store: its name.
        durable: what it promises as it is set up here.
        step: what a sequential step may cost over the driver's own writing.
        rate: steps a second of many runs at once.
    """

    store: str
    durable: str
    step: float
    rate: int


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
    async def version(self) -> str:
        """Of the database."""

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


async def sequence(store: StorageBackend, bare: Any, bars: Bars, steps: int = 1000) -> None:
    """A workflow of many steps, each beside the driver's own writing of as much."""
    for each in (BARE, MARKS, GAPS, FLOORS):
        each.clear()  # type: ignore[attr-defined]
    BARE.append(bare)
    MARKS.append(time.perf_counter())
    await start(charges_beside, steps, storage=store)
    bar = Bar(2, bars.step, over_floor=True)
    frame.show("sequential step", by_rounds(GAPS[1:]), "µs", bar=bar, floor=by_rounds(FLOORS[1:]),
               store=bars.store, durable=bars.durable)  # fmt: skip
    # Where the database itself grows slower; one that grows quicker, as its file is laid out, excuses nobody.
    bar, floor = Bar(2, 1.1, over_floor=True), max(1.0, frame.growth(FLOORS[1:]))
    frame.show("last 100 steps over the first 100", frame.growth(GAPS[1:]), "x", bar=bar, floor=floor,
               store=bars.store)  # fmt: skip


async def measure(bare: Bare, url: str, bars: Bars, sleeping: int) -> None:
    """Show everything."""
    namespaces = [f"{url}?namespace={NAMESPACE}{end}" for end in ("", "_full")]
    async with open_storage(namespaces[0]) as small, open_storage(namespaces[1]) as full:
        await bare.open()
        try:
            frame.note_server(bars.store, await bare.version())
            await writing(small, bare, bars)
            await growth(small, full, bare, bars, sleeping)
        finally:
            await bare.close()
            for store in (small, full):
                await store.drop()  # type: ignore[attr-defined]


async def one_by_one(store: StorageBackend, bare: Any, bars: Bars) -> None:
    """Steps and appends."""
    await in_turns(100, Runs(store, 1).step, Rows(bare, 1).step)  # nobody's first statements count
    await sequence(store, bare, bars)
    lone, floor = await in_turns(1000, Runs(store, 1).step, Rows(bare, 1).step)
    frame.show("lone append", by_rounds(lone), "µs", floor=by_rounds(floor), store=bars.store,
               durable=bars.durable)  # fmt: skip


async def many_at_once(store: StorageBackend, bare: Any, bars: Bars, rounds: int = 200) -> None:
    """Steps and appends of many runs."""
    rates = [await at_once(store) for _ in range(ROUNDS)]
    frame.show(f"{RUNS} runs of {EACH} steps", rates, "steps/s", bar=Bar(3, bars.rate, least=True),
               store=bars.store, durable=bars.durable)  # fmt: skip
    taken = await in_turns(rounds, Runs(store, 64).step, Rows(bare, 64).step)
    ours, floor = ([128e6 / middle for middle in by_rounds(times)] for times in taken)
    frame.show("append in commits of 64", ours, "events/s", bar=Bar(4, 0.5, least=True, over_floor=True),
               floor=floor, store=bars.store, durable=bars.durable)  # fmt: skip


async def writing(store: StorageBackend, bare: Any, bars: Bars) -> None:
    """Appends and steps, one by one and many at once, and the room that they take."""
    await one_by_one(store, bare, bars)
    await bare.settle()
    before, rounds = await bare.size(), 200
    await many_at_once(store, bare, bars, rounds)
    await bare.settle()
    events = 128 * rounds + ROUNDS * RUNS * (2 * EACH + 2)
    frame.show("size", (await bare.size() - before) / events, "bytes/event", store=bars.store)


async def growth(small: StorageBackend, full: StorageBackend, bare: Bare, bars: Bars, sleeping: int) -> None:
    """The same work in a store of some ten thousand events and in one with a million, turn by turn."""
    each, due = max(1, EVENTS // sleeping), 5000
    for store, names, count in ((small, bare.names(), 1000), (full, bare.names("_full"), sleeping)):
        await store.commit([first_append("template", FAR)])
        await bare.copy_run(names, "sleeper", count)
        await bare.copy_event(names, "sleeper", count, each)
        await bare.copy_run(names, "due", due, queue="'ours'", wake_at=str(START))
    await bare.copy_run(bare.names("_full"), "floor", due, queue="'floor'", wake_at=str(START))
    await bare.settle()
    await compare(small, full, bare, bars, sleeping, due)
    a, floor = await in_turns(200, lambda n: full.find(limit=50), lambda n: bare.page())
    frame.show(f"page of 50 among {sleeping:,} runs", by_rounds(a), "µs", floor=by_rounds(floor),
               store=bars.store, durable=READS)  # fmt: skip


async def compare(
    small: StorageBackend, full: StorageBackend, bare: Any, bars: Bars, sleeping: int, due: int
) -> None:
    """What claims, appends and gets cost in the full store, over the small one and over the driver."""

    def claimer(store: StorageBackend) -> Callable[[int], Awaitable[None]]:
        async def claim(n: int) -> None:
            found = await store.claim(owner="b", now=START + n, lease=10**12, limit=50, queues=["ours"])
            assert len(found) == 50

        return claim

    a, b, floor = await in_turns(due // 50, claimer(full), claimer(small), lambda n: bare.claim(START + n))
    rates, floors = ([50e6 / middle for middle in by_rounds(times)] for times in (a, floor))
    what, bar = f"claim in batches of 50 among {sleeping:,} sleeping", Bar(9, 5000, least=True)
    frame.show(what, rates, "runs/s", bar=bar, floor=floors, store=bars.store, durable=bars.durable)
    show_growth("claim", a, b, bars)
    await in_turns(50, Runs(full, 1).step, Runs(small, 1).step)
    a, b = await in_turns(1000, Runs(full, 1).step, Runs(small, 1).step)
    show_growth("append", a, b, bars)
    gets = (
        lambda n: full.get(f"sleeper_{n * 7919 % sleeping}"),
        lambda n: small.get(f"sleeper_{n * 7919 % 1000}"),
        lambda n: bare.get(f"sleeper_{n * 7919 % sleeping}"),
    )
    # The first look at a run is a look at a page that nobody has had in memory for a while. How
    # long that takes is the machine's matter, and no store's.
    for what in ("get, first look", "get"):
        a, b, floor = await in_turns(500, *gets)
        frame.show(f"{what}, among {sleeping:,} runs", by_rounds(a), "µs", floor=by_rounds(floor),
                   store=bars.store, durable=READS)  # fmt: skip
    show_growth("get", a, b, bars)


def show_growth(what: str, full: list[float], small: list[float], bars: Bars) -> None:
    frame.show(f"{what} among 1,000,000 events", by_rounds(full), "µs", bar=Bar(6, 1.2, over_floor=True),
               floor=by_rounds(small), store=bars.store, durable=READS if what == "get" else bars.durable,
               floor_is="the same among 10,000 events")  # fmt: skip


def options(document: str | None) -> argparse.ArgumentParser:
    parser = frame.parser(document)
    parser.add_argument("url", nargs="?", help="of a database of your own")
    parser.add_argument("--sleeping", type=int, default=200_000, help="runs that sleep meanwhile")
    return parser


def run(bare: Bare, url: str, sleeping: int, bars: Bars) -> None:
    asyncio.run(measure(bare, url, bars, sleeping))
