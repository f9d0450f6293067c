"""Stream steps whose process dies by their signals: they are given up, and the others go on."""

from __future__ import annotations

import asyncio
import pathlib
import sys
from typing import Any

import pytest

from pyworkflow import (
    ConfigurationError,
    InMemoryStorageBackend,
    StorageBackend,
    StreamFailedError,
    emit,
    get_checkpoint,
    get_current_signal,
    resume,
    run_stream_workflow,
    save_checkpoint,
    set_result,
    start,
    stream_step,
    stream_workflow,
    terminate,
    workflow,
)
from pyworkflow.engine.clock import VirtualClock
from pyworkflow.engine.engine import Engine
from pyworkflow.engine.outside import append_outside
from pyworkflow_core.payloads import RunRecovered

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from families import take_up_due, work_off
from simulated_runs import LEASE, make_engine

sys.path.pop(0)


@stream_workflow(name="tests.killing")
async def killing() -> None:
    for number in (1, 2):
        await emit(killing, "number", number)


async def _count() -> None:
    if await get_current_signal() is not None:
        count = (await get_checkpoint() or 0) + 1
        await save_checkpoint(count)
        await set_result(count)
        if count == 2:
            await terminate()


@stream_step(killing, ["number"], max_recovery_attempts=1, on_failure="skip")
async def fragile() -> None:
    await _count()


@stream_step(killing, ["number"], max_recovery_attempts=5)
async def stubborn() -> None:
    await _count()


@workflow(name="tests.run_killing")
async def run_killing() -> Any:
    try:
        await run_stream_workflow(killing, stream_run_id="k")
    except StreamFailedError as error:
        return error.result.step_results, error.result.step_errors


async def die_with(engine: Engine, clock: VirtualClock, names: set[str]) -> None:
    """Take the runs of these steps up as a process that dies before it has done anything."""
    for record in await engine.storage.list_runs():
        if record.workflow.rpartition("/")[2] in names and not record.status.is_terminal:
            claims = await engine.storage.claim(owner="x", now=clock.now(), lease=LEASE, run_id=record.run_id)
            for claim in claims:
                count = claim.record.detail.recoveries + 1
                assert await append_outside(engine, claim.record, [RunRecovered("gone", count)])
    clock.move_to(clock.now() + 2 * LEASE)


async def limits(storage: StorageBackend) -> dict[str, int]:
    records = await storage.list_runs()
    return {r.workflow.rpartition("/")[2]: r.detail.max_recoveries for r in records if "/" in r.workflow}


def test_a_stream_step_is_taken_up_as_often_as_it_says_and_then_it_has_failed() -> None:
    async def main() -> None:
        clock, storage = VirtualClock(auto=True), InMemoryStorageBackend()
        engine = make_engine(storage, clock, 1)
        run_id = await start(run_killing, storage=storage, queue="q")
        while not await limits(storage):
            assert await take_up_due(engine)
        assert await limits(storage) == {"fragile": 1, "stubborn": 5}
        for _ in range(2):
            await die_with(engine, clock, {"fragile", "stubborn"})
        await work_off(engine, clock)
        results, errors = await resume(run_id, storage=storage)
        assert results == {"stubborn": 2}
        assert set(errors) == {"fragile"}
        assert "taken up 2 times after its process died" in errors["fragile"]
        assert "the limit is 1" in errors["fragile"]

    asyncio.run(main())


def test_a_number_of_recoveries_below_none_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="max_recovery_attempts must be 0 or more"):

        @stream_step(killing, ["number"], max_recovery_attempts=-1)
        async def less_than_never() -> None:
            """Nothing."""
