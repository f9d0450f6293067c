"""The work on PyWorkflow 0.4, with its local runtime. Its logging is off: it prints lines for each step."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

from loguru import logger

logger.remove()

from pyworkflow.storage.sqlite import SQLiteStorageBackend  # noqa: E402
from work import (  # noqa: E402
    AT_ONCE,
    EACH,
    NOT_DURABLE,
    REPLAY,
    RUNS,
    SEQUENCE,
    STEPS,
    SYNCED,
    UNSYNCED,
    place,
    tell,
)

import pyworkflow  # noqa: E402
from pyworkflow.storage.file import FileStorageBackend  # noqa: E402
from pyworkflow.storage.memory import InMemoryStorageBackend  # noqa: E402

logger.disable("pyworkflow")


@pyworkflow.step()
async def work(i: int) -> dict[str, Any]:
    return {"ok": True, "i": i}


@pyworkflow.workflow()
async def many(n: int) -> int:
    for i in range(n):
        await work(i)
    return n


class Memory(InMemoryStorageBackend):
    def __bool__(self) -> bool:
        return True  # it has a length, and is not taken for a storage while that is 0


async def measure(store: str, storage: Any, durable: str) -> None:
    settings = {"runtime": "local", "durable": True, "storage": storage}
    await pyworkflow.start(many, 5, **settings)
    began = time.perf_counter()
    run_id = await pyworkflow.start(many, STEPS, **settings)
    tell(store, SEQUENCE, time.perf_counter() - began, durable)
    began = time.perf_counter()
    await pyworkflow.LocalRuntime().resume_workflow(run_id, storage)
    tell(store, REPLAY, time.perf_counter() - began, durable)
    starting = [pyworkflow.start(many, EACH, **settings) for _ in range(RUNS)]
    began = time.perf_counter()
    ended = await asyncio.gather(*starting, return_exceptions=True)
    taken = time.perf_counter() - began
    tell(store, AT_ONCE, taken, durable, failed=sum(isinstance(each, BaseException) for each in ended))


async def all_stores(folder: str) -> None:
    await measure("memory", Memory(), NOT_DURABLE)
    await measure("file", FileStorageBackend(os.path.join(folder, "file")), UNSYNCED)
    sqlite = SQLiteStorageBackend(os.path.join(folder, "runs.db"))
    await sqlite.connect()
    await measure("sqlite", sqlite, SYNCED)
    await sqlite.disconnect()


if __name__ == "__main__":
    with place() as here:
        asyncio.run(all_stores(here.folder))
