"""Runs of steps that record, in simulated time; and the checks of their logs."""

from __future__ import annotations

from typing import Any

from simulated_runs import check_log, log_of, make_engine, recorded, replay

from pyworkflow import InMemoryStorageBackend, resume
from pyworkflow.engine.clock import VirtualClock
from pyworkflow.engine.engine import Engine, Settings
from pyworkflow_core.storage import StorageBackend

QUICK = Settings(poll=2000)  # what another process appends is seen after 2 ms


def simulated(*, auto: bool = False) -> tuple[InMemoryStorageBackend, VirtualClock, Engine]:
    """A storage, a clock and an engine of their own."""
    storage, clock = InMemoryStorageBackend(), VirtualClock(auto=auto)
    return storage, clock, make_engine(storage, clock, settings=QUICK)


async def checked(storage: StorageBackend, run_id: str) -> list[Any]:
    """The payloads of a run's log, after the checks that hold of every log."""
    record = await storage.get(run_id)
    assert record is not None
    check_log(await storage.read(run_id), record)
    history = await log_of(storage, run_id)
    assert replay(history) == recorded(history)
    assert replay(history, one_by_one=True) == recorded(history)
    return [envelope.data for envelope in history]


async def result_of(storage: StorageBackend, run_id: str) -> Any:
    """What a run returned, after the checks of its log."""
    await checked(storage, run_id)
    return await resume(run_id, storage=storage)
