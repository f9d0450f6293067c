"""What a step costs, end to end: `python benchmarks/step.py [steps]`.

A workflow of N small steps, one after the other, without a log, on the memory store and on the file
store beside a bare write and fdatasync of as many bytes; then 200 runs of 10 steps at once.
One JSON object a line; microseconds a step.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from itertools import pairwise
from typing import Any

from pyworkflow import FileStorageBackend, InMemoryStorageBackend, StorageBackend, start, step, workflow

MARKS: list[float] = []


@step
async def charge(number: int, currency: str) -> dict[str, Any]:
    MARKS.append(time.perf_counter())
    return {"ok": True, "id": number}


@workflow
async def charges(steps: int) -> int:
    for number in range(steps):
        await charge(number, "EUR")
    return steps


async def in_sequence(storage: StorageBackend, steps: int, *, durable: bool = True) -> tuple[float, float]:
    """Microseconds a step, and what the last tenth costs over the first."""
    MARKS.clear()
    await start(charges, steps, storage=storage, durable=durable)
    gaps = [b - a for a, b in pairwise(MARKS)]
    tenth = len(gaps) // 10
    growth = statistics.median(gaps[-tenth:]) / statistics.median(gaps[:tenth])
    return statistics.median(gaps) * 1e6, growth


async def at_once(storage: StorageBackend, runs: int, steps: int, *, durable: bool = True) -> float:
    """Steps a second of many runs together."""
    began = time.perf_counter()
    await asyncio.gather(*[start(charges, steps, storage=storage, durable=durable) for _ in range(runs)])
    return runs * steps / (time.perf_counter() - began)


def write_and_sync(folder: str, times: int = 500) -> float:
    """Microseconds of a bare append of a step's bytes."""
    fd = os.open(os.path.join(folder, "floor"), os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        os.write(fd, b"x" * 300)
        os.fdatasync(fd)
        taken.append(time.perf_counter() - began)
    os.close(fd)
    return statistics.median(taken) * 1e6


def show(what: str, **figures: Any) -> None:
    print(json.dumps({"what": what, **figures}), flush=True)


def size_of(folder: str) -> int:
    return sum(os.path.getsize(os.path.join(folder, name)) for name in os.listdir(folder))


async def transient(steps: int) -> None:
    await in_sequence(InMemoryStorageBackend(), 200, durable=False)
    us, growth = await in_sequence(InMemoryStorageBackend(), steps, durable=False)
    rate = await at_once(InMemoryStorageBackend(), 200, 10, durable=False)
    show("step without a log", steps=steps, us=round(us, 1), growth=round(growth, 2))
    show("200 runs of 10 steps at once without a log", steps_per_second=round(rate))


async def memory(steps: int) -> None:
    await in_sequence(InMemoryStorageBackend(), 200)
    us, growth = await in_sequence(InMemoryStorageBackend(), steps)
    rate = await at_once(InMemoryStorageBackend(), 200, 10)
    show("step on the memory store", steps=steps, us=round(us, 1), aim_us=30, growth=round(growth, 2))
    show("200 runs of 10 steps on the memory store", steps_per_second=round(rate))


async def file(steps: int) -> None:
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_FOLDER")) as folder:
        async with FileStorageBackend(os.path.join(folder, "a")) as store:
            before = write_and_sync(folder)
            us, growth = await in_sequence(store, steps)
            floor = (before + write_and_sync(folder)) / 2
        size = size_of(store.base_path) / steps
        async with FileStorageBackend(os.path.join(folder, "b")) as store:
            rate = await at_once(store, 200, 10)
    show(
        "step on the file store",
        steps=steps,
        us=round(us, 1),
        floor_us=round(floor, 1),
        ratio=round(us / floor, 2),
        growth=round(growth, 2),
        bytes=round(size),
    )
    show("200 runs of 10 steps on the file store", steps_per_second=round(rate))


def main() -> None:
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    asyncio.run(transient(steps))
    asyncio.run(memory(steps))
    asyncio.run(file(steps))


if __name__ == "__main__":
    main()
