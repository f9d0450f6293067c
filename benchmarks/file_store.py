"""What the file store costs beside the disk it stands on: `python benchmarks/file_store.py [folder]`.

Each figure of ours is printed with the floor taken in the same run: a bare write of as many
bytes and fdatasync. Prints one JSON object a line.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable

from msgspec import Raw

from pyworkflow_core.events import Event, encode_body
from pyworkflow_core.payloads import StepCompleted, StepStarted, WorkflowStarted
from pyworkflow_core.record import RunRecord, evolve
from pyworkflow_core.storage import Append
from pyworkflow_file import FileStorageBackend

START = 1_763_820_000_000_000


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


def floor(folder: str, size: int, times: int) -> Callable[[], float]:
    fd = os.open(os.path.join(folder, "floor"), os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    data = b"x" * size

    def one() -> float:
        began = time.perf_counter()
        os.write(fd, data)
        os.fdatasync(fd)
        return time.perf_counter() - began

    return one


async def sequential(folder: str, steps: int = 1000) -> dict[str, object]:
    """Appends of one run, one after the other, turn by turn with the bare write."""
    async with FileStorageBackend(os.path.join(folder, "sequential")) as store:
        append = first_append("run_0123456789abcdef0123")
        await store.commit([append])
        bare = floor(folder, 330, steps)
        ours, floors = [], []
        for _ in range(steps):
            append = step_append(append.record)
            began = time.perf_counter()
            await store.commit([append])
            ours.append(time.perf_counter() - began)
            floors.append(bare())
    a, b = statistics.median(ours), statistics.median(floors)
    growth = statistics.median(ours[-100:]) / statistics.median(ours[:100])
    return {
        "what": "lone append", "us": round(a * 1e6, 1), "floor_us": round(b * 1e6, 1),
        "ratio": round(a / b, 2),
        "last_100_over_first_100": round(growth, 2),
    }  # fmt: skip


async def batches(folder: str, size: int = 64, rounds: int = 400) -> dict[str, object]:
    """Commits of `size` appends of two events, the index's catch-up included."""
    async with FileStorageBackend(os.path.join(folder, "batches")) as store:
        appends = [first_append(f"run_{n:020x}") for n in range(size)]
        await store.commit(appends)
        spent = 0.0
        for _ in range(rounds):
            appends = [step_append(append.record) for append in appends]
            began = time.perf_counter()
            await store.commit(appends)
            spent += time.perf_counter() - began
        began = time.perf_counter()
        await store.find(limit=1)  # whatever is not indexed yet
        spent += time.perf_counter() - began
        used = sum(
            os.path.getsize(os.path.join(store.base_path, name)) for name in os.listdir(store.base_path)
        )
    disk = sum(os.path.getsize(os.path.join(store.base_path, name)) for name in os.listdir(store.base_path))
    return {
        "what": f"commits of {size}", "events_per_s": round(2 * size * rounds / spent),
        "bytes_a_step_open": round(used / size / rounds), "bytes_a_step": round(disk / size / rounds),
    }  # fmt: skip


async def reading(folder: str, steps: int) -> dict[str, object]:
    """Reading one long run back."""
    store = FileStorageBackend(os.path.join(folder, f"reading{steps}"))
    store._disk.sync = lambda fd: None  # type: ignore[method-assign]  # only the filling
    async with store:
        append = first_append("run_0123456789abcdef0123")
        await store.commit([append])
        for _ in range(steps):
            append = step_append(append.record)
            await store.commit([append])
    async with FileStorageBackend(store.base_path) as store:
        times = []
        for _ in range(5):
            began = time.perf_counter()
            events = await store.read("run_0123456789abcdef0123")
            times.append(time.perf_counter() - began)
            assert len(events) == 2 * steps + 1
            del events
    size = os.path.getsize(os.path.join(store.base_path, "journal-00000001.jsonl"))
    return {
        "what": f"read a run of {steps} steps", "us_a_step": round(statistics.median(times) / steps * 1e6, 2),
        "best_us_a_step": round(min(times) / steps * 1e6, 2), "journal_bytes_a_step": round(size / steps),
    }  # fmt: skip


async def opening(folder: str, runs: int, steps: int) -> dict[str, object]:
    """Opening a store with many events; then one append, get and claim in it."""
    path = os.path.join(folder, f"opening{runs}")
    store = FileStorageBackend(path)
    store._disk.sync = lambda fd: None  # type: ignore[method-assign]  # only the filling
    async with store:
        for begin in range(0, runs, 200):
            appends = [first_append(f"run_{n:020x}", START + n) for n in range(begin, min(runs, begin + 200))]
            await store.commit(appends)
            for _ in range(steps):
                appends = [step_append(append.record) for append in appends]
                await store.commit(appends)
    began = time.perf_counter()
    async with FileStorageBackend(path) as store:
        opened = time.perf_counter() - began
        gets, claims, commits = [], [], []
        for n in range(300):
            began = time.perf_counter()
            await store.get(f"run_{n * 7919 % runs:020x}")
            gets.append(time.perf_counter() - began)
            began = time.perf_counter()
            assert len(await store.claim(owner="bench", now=START + runs, lease=10**9)) == 1
            claims.append(time.perf_counter() - began)
            append = first_append(f"new_{n}")
            began = time.perf_counter()
            await store.commit([append])
            commits.append(time.perf_counter() - began)
    began = time.perf_counter()
    for name in os.listdir(path):
        if name.startswith("index"):
            os.unlink(os.path.join(path, name))
    async with FileStorageBackend(path) as store:
        rebuilt = time.perf_counter() - began
    return {
        "what": f"a store of {runs * (2 * steps + 1)} events", "open_ms": round(opened * 1e3, 1),
        "get_us": round(statistics.median(gets) * 1e6), "claim_us": round(statistics.median(claims) * 1e6),
        "append_us": round(statistics.median(commits) * 1e6), "rebuild_s": round(rebuilt, 1),
    }  # fmt: skip


def main() -> None:
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else ".") as folder:
        for bench in (
            sequential(folder),
            batches(folder),
            reading(folder, 10_000),
            reading(folder, 100_000),
            opening(folder, 1000, 5),
            opening(folder, 20_000, 25),
        ):
            print(json.dumps(asyncio.run(bench)), flush=True)


if __name__ == "__main__":
    main()
