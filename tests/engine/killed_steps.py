"""A run whose process kills itself in its seventh step: ``killed_steps.py FOLDER DURABILITY EXECUTED``.

Run again it is taken up, and goes on to its end. Each execution is a line in the file EXECUTED.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from pyworkflow import WorkflowAlreadyRunningError, resume, sleep, start, step, workflow
from pyworkflow.engine.engine import Engine, Settings, use_engine
from pyworkflow_file import FileStorageBackend

KILLED_IN = 6


@step(name="killed.work", max_retries=0)
async def work(n: int) -> int:
    path = Path(sys.argv[3])
    killed_before = path.exists() and str(KILLED_IN) in path.read_text().split()
    with path.open("a") as executed:
        executed.write(f"{n}\n")
    if n == KILLED_IN and not killed_before:
        os.kill(os.getpid(), signal.SIGKILL)
    return n


@workflow(name="killed.flow", max_recovery_attempts=10)
async def flow() -> list[int]:
    found = [await work(n) for n in range(4)]
    await sleep("1ms")
    return [*found, *[await work(n) for n in range(4, 9)]]


async def main(folder: str, durability: str) -> None:
    """Start the run or take it up, until it has ended."""
    storage = FileStorageBackend(base_path=folder)
    settings = Settings(lease=300_000, poll=50_000, durability=durability)  # type: ignore[arg-type]
    use_engine(Engine(storage, settings=settings))
    run_id = await start(flow, storage=storage, idempotency_key="killed")
    while not (await storage.get(run_id)).status.is_terminal:  # type: ignore[union-attr]
        try:
            await resume(run_id, storage=storage)
        except WorkflowAlreadyRunningError:
            await asyncio.sleep(0.05)
    await storage.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
