"""What a step costs, end to end (bars 2, 3, 5): `python benchmarks/step.py [--steps N] [--json FILE]`.

A workflow of N small steps, one after the other, without a log, on the memory store and on the file
store beside a bare write and fdatasync of as many bytes; then 200 runs of 10 steps at once.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from itertools import pairwise
from typing import Any

import frame
from frame import NOT_DURABLE, ROUNDS, SYNCED, Bar

from pyworkflow import FileStorageBackend, InMemoryStorageBackend, StorageBackend, start, step, workflow

MARKS: list[float] = []
RUNS, EACH = 200, 10


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
    """Microseconds a step, and what the last hundred cost over the first."""
    MARKS.clear()
    await start(charges, steps, storage=storage, durable=durable)
    gaps = [b - a for a, b in pairwise(MARKS)]
    return statistics.median(gaps) * 1e6, frame.growth(gaps)


async def at_once(
    storage: StorageBackend, runs: int = RUNS, steps: int = EACH, *, durable: bool = True
) -> float:
    """Steps a second of many runs together."""
    began = time.perf_counter()
    await asyncio.gather(*[start(charges, steps, storage=storage, durable=durable) for _ in range(runs)])
    return runs * steps / (time.perf_counter() - began)


def write_and_sync(folder: str, size: int = 300, times: int = 200) -> float:
    """Microseconds of a bare append of a step's bytes."""
    fd = os.open(os.path.join(folder, "floor"), os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        os.write(fd, b"x" * size)
        os.fdatasync(fd)
        taken.append(time.perf_counter() - began)
    os.close(fd)
    return statistics.median(taken) * 1e6


async def transient(steps: int) -> None:
    await in_sequence(InMemoryStorageBackend(), 200, durable=False)
    taken = [await in_sequence(InMemoryStorageBackend(), steps, durable=False) for _ in range(ROUNDS)]
    frame.show("sequential step", [us for us, _ in taken], "µs", store="no log", durable=NOT_DURABLE,
               steps=steps)  # fmt: skip
    rates = [await at_once(InMemoryStorageBackend(), durable=False) for _ in range(ROUNDS)]
    frame.show(f"{RUNS} runs of {EACH} steps", rates, "steps/s", store="no log", durable=NOT_DURABLE)


async def memory(steps: int) -> None:
    await in_sequence(InMemoryStorageBackend(), 200)
    taken = [await in_sequence(InMemoryStorageBackend(), steps) for _ in range(ROUNDS)]
    frame.show("sequential step", [us for us, _ in taken], "µs", bar=Bar(5, 30), store="memory",
               durable=NOT_DURABLE, steps=steps)  # fmt: skip
    frame.show("last 100 steps over the first 100", [grown for _, grown in taken], "x", store="memory")
    rates = [await at_once(InMemoryStorageBackend()) for _ in range(ROUNDS)]
    frame.show(f"{RUNS} runs of {EACH} steps", rates, "steps/s", store="memory", durable=NOT_DURABLE)


async def file(steps: int) -> None:
    ours, grown, floors, rates = [], [], [], []
    with frame.folder() as folder:
        for turn in range(ROUNDS):
            before = write_and_sync(folder)
            async with FileStorageBackend(os.path.join(folder, f"a{turn}")) as store:
                us, growth = await in_sequence(store, steps)
            floors.append((before + write_and_sync(folder)) / 2)
            ours.append(us)
            grown.append(growth)
            async with FileStorageBackend(os.path.join(folder, f"b{turn}")) as store:
                rates.append(await at_once(store))
    frame.show("sequential step", ours, "µs", bar=Bar(2, 1.5, over_floor=True), floor=floors, store="file",
               durable=SYNCED, steps=steps)  # fmt: skip
    frame.show("last 100 steps over the first 100", grown, "x", bar=Bar(2, 1.1), store="file")
    frame.show(f"{RUNS} runs of {EACH} steps", rates, "steps/s", bar=Bar(3, 20_000, least=True), store="file",
               durable=SYNCED)  # fmt: skip


def main() -> None:
    options = frame.parser(__doc__)
    options.add_argument("--steps", type=int, default=1000, help="of the long run")
    with frame.kept(options) as given:
        asyncio.run(transient(given.steps))
        asyncio.run(memory(given.steps))
        asyncio.run(file(given.steps))


if __name__ == "__main__":
    main()
