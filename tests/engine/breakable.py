"""Steps that can be broken and mended, and a memory store in virtual time to run them on."""

from __future__ import annotations

import asyncio
import pathlib
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from pyworkflow import FatalError, InMemoryStorageBackend, list_workflow_runs, start, step
from pyworkflow.engine.clock import VirtualClock
from pyworkflow.engine.engine import Engine
from pyworkflow_core.storage import StorageBackend

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from simulated_runs import check_log, log_of, make_engine, recorded, replay

sys.path.pop(0)

Test = Callable[[StorageBackend, Engine, VirtualClock], Awaitable[None]]
done: list[Any] = []
broken: set[Any] = set()


@step(name="breakable.act", max_retries=0)
async def act(what: Any) -> Any:
    done.append(what)
    if what in broken:
        raise FatalError(f"{what} is broken")
    return what


@step(name="breakable.act_twice", max_retries=1, retry_delay="1s")
async def act_twice(what: Any) -> Any:
    done.append(what)
    if what in broken:
        raise ValueError(f"{what} is broken")
    return what


def run(test: Test) -> None:
    """Run a test with nothing broken yet; afterwards every log is sound and replays."""
    done.clear()
    broken.clear()

    async def main() -> None:
        clock = VirtualClock(auto=True)
        storage = InMemoryStorageBackend()
        await test(storage, make_engine(storage, clock), clock)
        await check_logs(storage)

    asyncio.run(main())


async def check_logs(storage: StorageBackend) -> None:
    """Every log is sound, and replays to what it says."""
    for record in await storage.list_runs():
        check_log(await storage.read(record.run_id), record)
        history = await log_of(storage, record.run_id)
        ran = record.status.is_terminal and record.detail.started_at is not None
        if ran and record.status != "interrupted":
            assert replay(history, run=record) == recorded(history)
            assert replay(history, run=record, one_by_one=True) == recorded(history)


async def started(storage: StorageBackend, program: Any, *args: Any, wait: bool = True) -> str:
    """Start a run; how it ends does not matter here."""
    key = f"{program.name}{args}"
    try:
        return await start(program, *args, storage=storage, idempotency_key=key, wait=wait)
    except Exception:
        runs = await list_workflow_runs(workflow_name=program.name, storage=storage)
        return runs[-1].run_id
