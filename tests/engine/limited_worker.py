"""A worker of a queue with limits that a test kills: run as ``limited_worker.py URL FOLDER QUEUE``.

Each step says in files of the folder that it is at work, and for how long, so that the test sees
how many were at work at once.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time

from pyworkflow import Worker, configure_queue, open_storage, step, workflow
from pyworkflow.engine.engine import Engine, Settings, use_engine

SETTINGS = Settings(lease=600_000, poll=100_000)
CONCURRENCY = 3
FOLDER = "."


def note(line: str) -> None:
    """Write a line of the shared file, in one write."""
    file = os.open(os.path.join(FOLDER, "seen"), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, f"{line}\n".encode())
    finally:
        os.close(file)


@step(name="limited.observed", max_retries=0)
async def observed(what: str, key: str) -> str:
    note(f"begin {os.getpid()} {what} {key} {time.monotonic_ns()}")
    await asyncio.sleep(0.01)
    note(f"end {os.getpid()} {what} {key} {time.monotonic_ns()}")
    return what


@workflow(name="limited.process", max_recovery_attempts=10_000)
async def process(what: str, key: str = "-") -> str:
    await observed(f"{what}.1", key)
    return await observed(f"{what}.2", key)


def configure() -> None:
    """The limits, as every process is told."""
    configure_queue("limited", concurrency=CONCURRENCY, per_key_concurrency=1)
    configure_queue("single", concurrency=1)


async def main(url: str, folder: str, queue: str) -> None:
    """Work until the file ``stop`` is there."""
    global FOLDER  # noqa: PLW0603
    FOLDER = folder
    configure()
    async with open_storage(url) as storage:
        engine = Engine(storage, settings=SETTINGS)
        use_engine(engine)
        queues = None if queue == "every" else [queue]
        worker = Worker(storage, queues=queues, engine=engine, poll_interval=0.02)
        working = asyncio.create_task(worker.run())
        print("ready", flush=True)
        while not os.path.exists(os.path.join(folder, "stop")):
            await asyncio.sleep(0.05)
        worker.stop()
        await working


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
