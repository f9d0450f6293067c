"""The work on this project's stores.

The replayed run has done its steps, waited for an answer and left memory; the answer has come. The time is
`resume`: it reads the log, runs all steps from it, takes the answer and records the run's end.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from work import AT_ONCE, EACH, NOT_DURABLE, REPLAY, RUNS, SEQUENCE, STEPS, SYNCED, place, tell

from pyworkflow import hook, open_storage, resume, resume_hook, start, step, workflow


@step
async def work(i: int) -> dict[str, Any]:
    return {"ok": True, "i": i}


@workflow
async def many(n: int) -> int:
    for i in range(n):
        await work(i)
    return n


@workflow
async def many_and_wait(n: int) -> int:
    for i in range(n):
        await work(i)
    await hook("answer")
    return n


async def measure(store: str, url: str, durable: str) -> None:
    async with open_storage(url) as storage:
        await start(many, 20, storage=storage)
        began = time.perf_counter()
        await start(many, STEPS, storage=storage)
        tell(store, SEQUENCE, time.perf_counter() - began, durable)
        run_id = await start(many_and_wait, STEPS, storage=storage)
        await resume_hook(f"{run_id}:answer", "yes", storage=storage)
        began = time.perf_counter()
        assert await resume(run_id, storage=storage) == STEPS
        tell(store, REPLAY, time.perf_counter() - began, durable)
        began = time.perf_counter()
        await asyncio.gather(*[start(many, EACH, storage=storage) for _ in range(RUNS)])
        tell(store, AT_ONCE, time.perf_counter() - began, durable)


def main() -> None:
    with place() as here:
        asyncio.run(measure("memory", "memory://", NOT_DURABLE))
        asyncio.run(measure("file", f"file:{here.folder}/file", SYNCED))
        asyncio.run(measure("sqlite", f"sqlite:///{here.folder}/runs.db", SYNCED))
        if here.postgresql:
            asyncio.run(measure("postgresql", here.postgresql, SYNCED))


if __name__ == "__main__":
    main()
