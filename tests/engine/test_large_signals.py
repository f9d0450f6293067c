"""A signal that would not fit on its way is refused where it is emitted, and no stream stops for one."""

from __future__ import annotations

import asyncio
import pathlib
import sys
from typing import Any

import pytest

from pyworkflow import InMemoryStorageBackend, emit, start, stream_step, stream_workflow, workflow
from pyworkflow.engine.clock import VirtualClock
from pyworkflow.engine.continuing import can_hand_on
from pyworkflow.engine.signals import tell, tell_run
from pyworkflow.streams.running import run_stream_workflow
from pyworkflow_core.errors import LimitExceeded
from pyworkflow_core.replay import current_machine
from pyworkflow_core.storage import Limits

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from families import take_up_due
from simulated_runs import make_engine
from storage_wrappers import Wrapper

sys.path.pop(0)

MOST = 40_000


@stream_workflow(name="large")
async def large() -> None: ...


@stream_step(large, ["word"])
async def hears() -> None: ...


@workflow(name="large.emitting")
async def emitting(size: int) -> str:
    try:
        await emit("large", "word", {"x": "y" * size}, stream_run_id="r")
    except LimitExceeded:
        return "too large"
    return "emitted"


@workflow(name="large.looking")
async def looking() -> tuple[bool, bool, bool]:
    machine = current_machine.get()
    assert machine is not None
    with pytest.raises(LimitExceeded, match=r"a signal 'word' of 50002 bytes; the storage takes 40000"):
        tell_run(machine, "other", "word", "y" * 50_000)
    before = can_hand_on(machine, {}), can_hand_on(machine, "y" * 30_000)
    await asyncio.sleep(10)
    return *before, can_hand_on(machine, {})


def small() -> Wrapper:
    return Wrapper(InMemoryStorageBackend(), limits=Limits(event_bytes=MOST))


def test_a_signal_that_would_stop_its_stream_is_refused_and_one_that_fits_is_passed_on() -> None:
    async def main() -> None:
        storage = small()
        engine = make_engine(storage, VirtualClock(auto=True), 1)
        task = asyncio.create_task(run_stream_workflow(large, stream_run_id="r", storage=storage))
        try:
            while not any(r.workflow == "pyworkflow.stream" for r in await storage.list_runs()):
                await asyncio.sleep(0)
            for over in (60, 3_000, 100_000):
                size = MOST - 4096 + over
                with pytest.raises(
                    LimitExceeded, match=r"stream 'large': a signal 'word' of \d+ bytes; at most 35904"
                ):
                    await emit("large", "word", {"x": "y" * size}, stream_run_id="r", storage=storage)
                ended = await start(emitting, size, storage=storage)
                assert b"too large" in (await storage.read(ended))[-1].body
            await emit("large", "word", {"x": "y" * (MOST - 4196)}, stream_run_id="r", storage=storage)
            while await take_up_due(engine):
                pass  # and nobody meets an event that is too large
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())


def test_what_a_run_hands_on_is_measured_before_it_continues_as_new() -> None:
    async def main() -> None:
        storage, clock = small(), VirtualClock()
        engine = make_engine(storage, clock, 1)
        run_id = await start(looking, storage=storage)
        await tell(engine, run_id, "word", "y" * 30_000)
        clock.advance(10_000_000)
        while await take_up_due(engine):
            pass
        found: Any = (await storage.read(run_id))[-1].body
        assert b"[true,false,false]" in found.replace(b" ", b"")

    asyncio.run(main())
