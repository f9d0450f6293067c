"""A worker that a test kills at random: run as ``killable_family.py FOLDER QUEUE``."""

from __future__ import annotations

import asyncio
import sys

from pyworkflow import Worker, continue_as_new, start, start_child_workflow, step, workflow
from pyworkflow.engine.engine import Engine, Settings, use_engine
from pyworkflow_file import FileStorageBackend

SETTINGS = Settings(lease=300_000, poll=50_000)


@step(name="killable.part", max_retries=0)
async def part(n: int) -> int:
    await asyncio.sleep(0.002)
    return n


@workflow(name="killable.child", max_recovery_attempts=10_000)
async def child(n: int) -> int:
    return await part(n) + await part(10 * n)


@workflow(name="killable.family", max_recovery_attempts=10_000)
async def family(left: int, total: int) -> int:
    calls = [start_child_workflow(child, left + n, queue="children") for n in (1, 2)]
    total += sum(await asyncio.gather(*calls)) + await part(1)
    if left:
        continue_as_new(left - 1, total)
    return total


RESULT = sum(11 * (left + n) for left in range(3) for n in (1, 2)) + 3


async def main(folder: str, queue: str) -> None:
    """Work for one queue until nothing in the store is left to do."""
    async with FileStorageBackend(base_path=folder) as storage:
        engine = Engine(storage, settings=SETTINGS)
        use_engine(engine)
        print("ready", flush=True)
        await start(family, 2, 0, storage=storage, idempotency_key="family", queue="parents")
        while not all(r.status.is_terminal and not r.detail.owes for r in await storage.list_runs()):
            await Worker(storage, queues=[queue], engine=engine, once=True, poll_interval=0.02).run()
            await asyncio.sleep(0.02)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
