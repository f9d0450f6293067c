"""A worker that nothing but its storage's wake-ups moves."""

from __future__ import annotations

import asyncio

from pyworkflow import Worker, sleep, start, workflow
from pyworkflow_core.storage import StorageBackend


@workflow(name="woken.sleeps")
async def sleeps(seconds: float) -> str:
    await sleep(seconds)
    return "done"


async def wake_a_worker(theirs: StorageBackend, ours: StorageBackend, *, seconds: float = 0) -> None:
    """Start runs on one handle, and see an idle worker on the other take each of them to its end."""
    # It would look again in an hour.
    worker = Worker(theirs, poll_interval="1h")
    working = asyncio.create_task(worker.run())
    try:
        for turn in range(3):
            await start(sleeps, seconds, storage=ours, queue="q")
            while (await ours.list_runs())[0].status != "completed":
                await asyncio.sleep(0.01)
            assert worker.driven >= turn + 1
    finally:
        worker.stop()
        await working
