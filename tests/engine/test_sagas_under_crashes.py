"""Runs that stop or undo what they did, killed at every append: each step is done once, and in order."""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import random
import sys

import pytest

from pyworkflow import InMemoryStorageBackend
from pyworkflow_core.ids import IdSource, derive_run_id
from pyworkflow_core.payloads import CancellationRequested, StepCompleted
from pyworkflow_core.storage import StorageBackend

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from feature_programs import Program
from feature_programs.stopping import PROGRAMS
from feature_runs import BEGINNING, run_program
from simulated_runs import log_of, recorded, replay
from storage_wrappers import NOISE, DisturbedStorage, Killed, KillingStorage, Wrapper, append_from_outside

sys.path.pop(0)

DONE = {
    "stopping_tidy": ["begun", "clean", "up"],
    "stopping_by_pages": ["begun", "stopped at a good place"],
    "stopping_of_parts": ["begun", "not whole"],
    "saga_fails": ["flight", "hotel", "seat", "not seat", "begun", "not hotel", "not flight"],
    "saga_cannot": ["flight", "hotel", "seat", "not seat", "begun", "not hotel", "not flight"],
    "saga_cancelled": ["flight", "hotel", "begun", "not hotel", "not flight"],
}
each_program = pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.name)


async def done_by(storage: StorageBackend, program: Program) -> list[str]:
    """What the steps of the run returned, in the log's order; the log is replayed on the way."""
    record = await storage.get(derive_run_id("key", program.name))
    assert record is not None
    history = await log_of(storage, record.run_id)
    assert replay(history, run=record) == replay(history, one_by_one=True, run=record) == recorded(history)
    assert sum(isinstance(e.data, CancellationRequested) for e in history) == (program.act is not None)
    return [bytes(e.data.result).decode().strip('"') for e in history if isinstance(e.data, StepCompleted)]


@each_program
def test_a_run_that_is_killed_while_it_stops_does_every_step_once_and_in_order(program: Program) -> None:
    async def main() -> None:
        calm = Wrapper(InMemoryStorageBackend())
        outcome = await run_program(calm, program)
        assert await done_by(calm, program) == DONE[program.name]
        for n in range(1, calm.commits + 1):
            for acknowledged in (False, True):
                storage = InMemoryStorageBackend()
                with contextlib.suppress(Killed):
                    await run_program(KillingStorage(storage, n, acknowledged=acknowledged), program)
                assert await run_program(storage, program, lives=1) == outcome, (n, acknowledged)
                assert await done_by(storage, program) == DONE[program.name], (n, acknowledged)

    asyncio.run(main())


@each_program
def test_a_run_that_stops_amid_conflicts_does_every_step_once_and_in_order(program: Program) -> None:
    async def main() -> None:
        calm = Wrapper(InMemoryStorageBackend())
        outcome = await run_program(calm, program)
        for n in range(2, calm.commits + 1):
            storage = InMemoryStorageBackend()
            ids = IdSource(random.Random(5))

            async def noise(run_id: str, inner: StorageBackend = storage, ids: IdSource = ids) -> None:
                await append_from_outside(inner, run_id, NOISE, ids, BEGINNING)

            disturbed = DisturbedStorage(storage, noise, lambda k, n=n: k == n)  # type: ignore[misc]
            assert await run_program(disturbed, program) == outcome, n
            assert await done_by(storage, program) == DONE[program.name], n

    asyncio.run(main())
