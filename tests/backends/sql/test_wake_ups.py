"""What the engine makes of a server's wake-ups."""

from __future__ import annotations

import asyncio
import secrets
from typing import Any

from pyworkflow import Worker, sleep, start, workflow
from pyworkflow_core.plugins import open_storage


@workflow(name="pushed.sleeps")
async def sleeps() -> str:
    await sleep(0)
    return "done"


def test_an_idle_worker_is_woken_by_what_another_process_starts(postgresql: Any) -> None:
    url = f"{postgresql.url}?namespace=t_{secrets.token_hex(5)}"

    async def main() -> None:
        async with open_storage(url) as theirs, open_storage(url) as ours:
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
                await ours.drop()  # type: ignore[attr-defined]

    asyncio.run(main())
