"""Another event loop as the host changes nothing: the workflow's loop is its own."""

from __future__ import annotations

import asyncio
import pathlib
import sys
from typing import Any

import pytest

from pyworkflow import InMemoryStorageBackend, resume, sleep, start, step, workflow
from pyworkflow.engine.clock import VirtualClock
from pyworkflow_core.codec import default_codec

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from simulated_runs import log_of, make_engine, recorded, replay

sys.path.pop(0)


@step(name="loops.work", retry_delay=1)
async def work(n: int) -> int:
    await asyncio.sleep(0)
    return n


@step(name="loops.threaded")
def threaded(n: int) -> int:
    return n


@workflow(name="loops.flow")
async def flow() -> Any:
    found = await asyncio.gather(work(1), threaded(2))
    try:
        async with asyncio.timeout(5):
            async with asyncio.TaskGroup() as group:
                group.create_task(sleep(9))
                group.create_task(work(3))
    except TimeoutError:
        found.append(await asyncio.wait_for(work(4), 60))
    return found


async def _main() -> tuple[Any, list[str]]:
    storage = InMemoryStorageBackend()
    make_engine(storage, VirtualClock(auto=True))
    host, task = asyncio.get_running_loop(), asyncio.current_task()
    run_id = await start(flow, storage=storage, wait=True)
    assert asyncio.get_running_loop() is host
    assert asyncio.current_task() is task
    history = await log_of(storage, run_id)
    assert replay(history) == recorded(history)
    assert default_codec.decode(recorded(history)[1]) == await resume(run_id, storage=storage)
    return await resume(run_id, storage=storage), sorted(e.data.TYPE for e in history)


def test_uvloop_as_the_host_leads_to_the_same_history() -> None:
    uvloop = pytest.importorskip("uvloop")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(_main()) == asyncio.run(_main())
