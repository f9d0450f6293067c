"""A program of 20 steps that a test kills at random: run as ``killable_program.py FOLDER RUN ACKS``."""

from __future__ import annotations

import asyncio
import os
import pathlib
import sys
from collections.abc import Sequence

from pyworkflow import WorkflowAlreadyRunningError, resume, start, step, workflow
from pyworkflow.engine.engine import Engine, Settings, use_engine
from pyworkflow_core.storage import Answer, Append, Committed, StorageBackend
from pyworkflow_file import FileStorageBackend

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from storage_wrappers import Wrapper

sys.path.pop(0)

STEPS = 20
SETTINGS = Settings(lease=300_000, poll=50_000)


class Acknowledged(Wrapper):
    """Writes down what was acknowledged, in one write each, as a caller that relies on it would."""

    def __init__(self, inner: StorageBackend, path: str) -> None:
        super().__init__(inner)
        self._acks = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    async def after(self, appends: Sequence[Append], answers: list[Answer]) -> None:
        for append, answer in zip(appends, answers, strict=True):
            if isinstance(answer, Committed):
                lines = [f"{append.run_id} {e.sequence} {e.event_id}\n" for e in append.events]
                os.write(self._acks, "".join(lines).encode())


@step(name="killable.one", max_retries=0)
async def one(n: int) -> int:
    await asyncio.sleep(0.002)
    return n


@step(name="killable.threaded", max_retries=0)
def threaded(n: int) -> int:
    return n


@workflow(name="killable.program", max_recovery_attempts=10_000)
async def program() -> int:
    total = 0
    for n in range(STEPS // 4):
        total += await one(n)
        total += sum(await asyncio.gather(one(10 * n), threaded(100 * n), one(1000 * n)))
    return total


RESULT = sum(n + 10 * n + 100 * n + 1000 * n for n in range(STEPS // 4))


async def main(folder: str, key: str, acks: str) -> None:
    """Start the run or take it up, until it has ended."""
    storage = Acknowledged(FileStorageBackend(base_path=folder), acks)
    use_engine(Engine(storage, settings=SETTINGS))
    print("ready", flush=True)
    run_id = await start(program, storage=storage, idempotency_key=key)
    while not (await storage.get(run_id)).status.is_terminal:  # type: ignore[union-attr]
        try:
            await resume(run_id, storage=storage)
        except WorkflowAlreadyRunningError:
            await asyncio.sleep(0.02)
    await storage.inner.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
