"""What the file store costs beside the disk it stands on (bars 4, 6): `python benchmarks/file_store.py`.

Each figure of ours is printed with the floor taken in the same run: a bare write of as many bytes and
fdatasync. The data lies below $BENCH_FOLDER, which had better be a real disk.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import frame
from frame import READS, ROUNDS, SYNCED, Bar, by_rounds
from msgspec import Raw

from pyworkflow_core.events import Event, encode_body
from pyworkflow_core.payloads import StepCompleted, StepStarted, WorkflowStarted
from pyworkflow_core.record import RunRecord, evolve
from pyworkflow_core.storage import Append
from pyworkflow_file import FileStorageBackend

START = 1_763_820_000_000_000
USES = 75  # of a store by each process: the small one has 400 runs to claim


def first_append(run_id: str, wake_at: int | None = None) -> Append:
    body = encode_body(WorkflowStarted("order", args=Raw(b'[["ORD-123"],{}]'), wake_at=wake_at), START)
    events = (Event(run_id, 1, f"{1:016x}", body),)
    return Append(run_id, "0123456789ab", 0, events, evolve(None, events, incarnation="0123456789ab"))


def step_append(record: RunRecord) -> Append:
    """One step: the completion of the one before and the start of the next."""
    n = record.head + 1
    done = StepCompleted("charge", ordinal=n, result=Raw(b'{"order":"ORD-123","ok":true}'))
    next_one = StepStarted("charge", ordinal=n + 1, args=Raw(b'"0123456789abcdef"'), at="app:12")
    events = (
        Event(record.run_id, n, f"{n:016x}", encode_body(done, START + n)),
        Event(record.run_id, n + 1, f"{n + 1:016x}", encode_body(next_one, START + n)),
    )
    return Append(record.run_id, record.incarnation, record.head, events, evolve(record, events))


def floor(folder: str, size: int) -> Callable[[], float]:
    fd = os.open(os.path.join(folder, "floor"), os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    data = b"x" * size

    def one() -> float:
        began = time.perf_counter()
        os.write(fd, data)
        os.fdatasync(fd)
        return time.perf_counter() - began

    return one


async def sequential(folder: str, steps: int = 1000) -> None:
    """Appends of one run, one after the other, turn by turn with the bare write."""
    async with FileStorageBackend(os.path.join(folder, "sequential")) as store:
        append = first_append("run_0123456789abcdef0123")
        await store.commit([append])
        bare = floor(folder, 330)
        ours, floors = [], []
        for _ in range(steps):
            append = step_append(append.record)
            began = time.perf_counter()
            await store.commit([append])
            ours.append((time.perf_counter() - began) * 1e6)
            floors.append(bare() * 1e6)
    frame.show("lone append", by_rounds(ours), "µs", floor=by_rounds(floors), store="file", durable=SYNCED,
               last_100_over_first_100=frame.growth(ours))  # fmt: skip


async def batches(folder: str, size: int = 64, rounds: int = 200) -> None:
    """Commits of `size` appends of two events, the index's catch-up included."""
    async with FileStorageBackend(os.path.join(folder, "batches")) as store:
        appends = [first_append(f"run_{n:020x}") for n in range(size)]
        await store.commit(appends)
        bare = floor(folder, 330 * size)
        ours, floors = [], []
        for _ in range(ROUNDS):
            spent = spent_bare = 0.0
            for _ in range(rounds // ROUNDS):
                appends = [step_append(append.record) for append in appends]
                began = time.perf_counter()
                await store.commit(appends)
                spent += time.perf_counter() - began
                spent_bare += bare()
            began = time.perf_counter()
            await store.find(limit=1)  # whatever is not indexed yet
            spent += time.perf_counter() - began
            ours.append(2 * size * (rounds // ROUNDS) / spent)
            floors.append(2 * size * (rounds // ROUNDS) / spent_bare)
    frame.show(f"append in commits of {size}", ours, "events/s", bar=Bar(4, 0.5, least=True, over_floor=True),
               floor=floors, store="file", durable=SYNCED)  # fmt: skip
    disk = sum(os.path.getsize(os.path.join(store.base_path, name)) for name in os.listdir(store.base_path))
    frame.show("size of a step in many runs", disk / size / rounds, "bytes", store="file")


async def reading(folder: str, steps: int) -> None:
    """Reading one long run back."""
    async with unsynced(os.path.join(folder, f"reading{steps}")) as store:
        append = first_append("run_0123456789abcdef0123")
        await store.commit([append])
        for _ in range(steps):
            append = step_append(append.record)
            await store.commit([append])
    async with FileStorageBackend(store.base_path) as store:
        times = []
        for _ in range(ROUNDS):
            began = time.perf_counter()
            events = await store.read("run_0123456789abcdef0123")
            times.append((time.perf_counter() - began) / steps * 1e6)
            assert len(events) == 2 * steps + 1
            del events
    frame.show(f"read of a step, {steps:,} steps", times, "µs", store="file", durable=READS)


def unsynced(path: str) -> AbstractAsyncContextManager[FileStorageBackend]:
    """A store that is only being filled."""
    store = FileStorageBackend(path)
    store._disk.sync = lambda fd: None  # type: ignore[method-assign]
    return store


async def fill(path: str, runs: int, steps: int) -> None:
    async with unsynced(path) as store:
        for begin in range(0, runs, 200):
            appends = [first_append(f"run_{n:020x}", START + n) for n in range(begin, min(runs, begin + 200))]
            await store.commit(appends)
            for _ in range(steps):
                appends = [step_append(append.record) for append in appends]
                await store.commit(appends)


async def open_and_use(path: str, runs: int) -> dict[str, list[float]]:
    """What opening costs, and the memory then; what a get, a claim and an append cost."""
    empty = frame.rss_mib()
    began = time.perf_counter()
    async with FileStorageBackend(path) as store:
        taken: dict[str, list[float]] = {"opening": [time.perf_counter() - began]}
        taken |= {"memory": [frame.rss_mib()], "memory before": [empty], "get": [], "claim": [], "append": []}
        for n in range(USES):
            began = time.perf_counter()
            await store.get(f"run_{n * 7919 % runs:020x}")
            got = time.perf_counter()
            assert len(await store.claim(owner="bench", now=START + runs, lease=10**9)) == 1
            claimed = time.perf_counter()
            append = first_append(f"new_{os.getpid()}_{n}", START + 10**15)
            appending = time.perf_counter()
            await store.commit([append])
            taken["append"].append((time.perf_counter() - appending) * 1e6)
            taken["claim"].append((claimed - got) * 1e6)
            taken["get"].append((got - began) * 1e6)
    return taken


def growing(folder: str) -> None:
    """Stores of some ten thousand events and of a million, each opened and used by processes of their own."""
    sizes = {"small": (400, 12), "full": (20_000, 25)}
    for name, (runs, steps) in sizes.items():
        asyncio.run(fill(os.path.join(folder, name), runs, steps))
    rounds: dict[str, list[dict[str, list[float]]]] = {"small": [], "full": []}
    for _ in range(ROUNDS):
        for name, (runs, _) in sizes.items():
            command = [sys.executable, __file__, "--open", os.path.join(folder, name), "--runs", str(runs)]
            rounds[name].append(json.loads(subprocess.run(command, check=True, capture_output=True).stdout))
    events = "1,020,000 events"
    frame.show(f"opening of {events}", [taken["opening"][0] for taken in rounds["full"]], "s", bar=Bar(6, 1),
               store="file", durable=READS)  # fmt: skip
    frame.show(f"memory of a process that opened {events}", [taken["memory"][0] for taken in rounds["full"]],
               "MiB", bar=Bar(6, 300), store="file",
               before=statistics.median(taken["memory before"][0] for taken in rounds["full"]))  # fmt: skip
    for what in ("append", "claim", "get"):
        small, full = ([statistics.median(taken[what]) for taken in rounds[name]] for name in sizes)
        frame.show(f"{what} among {events}", full, "µs", bar=Bar(6, 1.2, over_floor=True), floor=small,
                   store="file", durable=READS if what == "get" else SYNCED,
                   floor_is="the same among 10,000 events")  # fmt: skip


def rebuilding(folder: str) -> None:
    """The index, which is only a cache, made anew from the journal of a million events."""

    async def opening(path: str) -> float:
        began = time.perf_counter()
        async with FileStorageBackend(path):
            return time.perf_counter() - began

    path = os.path.join(folder, "full")
    for name in os.listdir(path):
        if name.startswith("index"):
            os.unlink(os.path.join(path, name))
    frame.show("opening of 1,020,000 events without the index", asyncio.run(opening(path)), "s", store="file")


def main() -> None:
    options = frame.parser(__doc__)
    options.add_argument("--open", help="open and use that store only, and say what it cost")
    options.add_argument("--runs", type=int, help="in that store")
    with frame.kept(options) as given:
        if given.open:
            print(json.dumps(asyncio.run(open_and_use(given.open, given.runs))))
            return
        with frame.folder() as folder:
            asyncio.run(sequential(folder))
            asyncio.run(batches(folder))
            for steps in (10_000, 100_000):
                asyncio.run(reading(folder, steps))
            growing(folder)
            rebuilding(folder)


if __name__ == "__main__":
    main()
