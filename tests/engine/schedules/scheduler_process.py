"""A scheduler for a test that has several: ``scheduler_process.py URL``. It works until its input ends."""

from __future__ import annotations

import asyncio
import sys

from pyworkflow import LocalScheduler, open_storage, step, workflow


@step(name="many.note")
async def note(name: str) -> str:
    return name


@workflow(name="many.job")
async def job(name: str) -> str:
    return await note(name)


async def main(url: str) -> None:
    async with open_storage(url) as storage:
        scheduler = LocalScheduler(storage, poll_interval=0.2)
        work = asyncio.create_task(scheduler.run())
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.read)
        scheduler.stop()
        await work


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
