"""What a worker makes of the wake-ups."""

from __future__ import annotations

import asyncio
from typing import Any

from pyworkflow import Worker, sleep, start, workflow


@workflow(name="woken.sleeps")
async def sleeps() -> str:
    await sleep(0)
    return "done"


def test_an_idle_worker_is_woken_by_what_another_process_starts(replicated: Any, driver: str) -> None:
    async def main() -> None:
        async with replicated.open(driver=driver) as theirs, replicated.open(driver=driver) as ours:
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

    asyncio.run(main())
