"""What the engine makes of Redis's wake-ups."""

from __future__ import annotations

import asyncio
from typing import Any

from pyworkflow import Worker, sleep, start, workflow


@workflow(name="redis.sleeps")
async def sleeps() -> str:
    await sleep(0.05)
    return "done"


async def wake(namespace: Any) -> None:
    async with namespace.open() as theirs, namespace.open() as ours:
        # It would look again in an hour.
        worker = Worker(theirs, poll_interval="1h")
        working = asyncio.create_task(worker.run())
        try:
            for turn in range(3):
                await start(sleeps, storage=ours, queue="q")
                while (await ours.list_runs())[0].status != "completed":
                    await asyncio.sleep(0.01)
                assert worker.driven >= turn + 1
        finally:
            worker.stop()
            await working


def test_an_idle_worker_is_woken_by_what_another_process_starts(any_namespace: Any) -> None:
    asyncio.run(wake(any_namespace))
