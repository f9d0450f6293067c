"""A program of `feature_programs`, from its start to its end, on any storage, in simulated time."""

from __future__ import annotations

from typing import Any

from families import take_up_due
from feature_programs import Program
from simulated_runs import LEASE, check_log, make_engine

from pyworkflow import get_workflow_run, start
from pyworkflow.durability import Durability
from pyworkflow.engine.clock import VirtualClock
from pyworkflow.engine.engine import Engine, Settings
from pyworkflow.engine.outside import end_of_chain
from pyworkflow_core.ids import derive_run_id
from pyworkflow_core.record import RunRecord
from pyworkflow_core.storage import StorageBackend

BEGINNING = 1_700_000_000_000_000
MINUTE = 60_000_000
LONG_LEASE = 10 * MINUTE


async def run_program(
    storage: StorageBackend,
    program: Program,
    *,
    lives: int = 0,
    rounds: int = 400,
    durability: Durability | None = None,
    lease: int = LEASE,
) -> tuple[str, Any]:
    """Start the program, or take it up, and go on until it has ended and nobody owes anything.

    Args:
        storage: where its log is.
        program: the program.
        lives: how many processes had a hand in it before this one; each begins a minute later.
        rounds: how often to look for something to do.
        durability: of every workflow; None for what they say.
        lease: how long a run is held. With more than a minute, what a process had that died is taken
            up only when everything else has gone on as far as it can.

    Returns:
        How it ended: its status, and its result or its error.
    """
    clock = VirtualClock(BEGINNING + lives * MINUTE)
    engine = make_engine(storage, clock, lives, Settings(durability=durability, lease=lease))
    run_id = derive_run_id("key", program.name)
    await start(program.workflow, *program.args, storage=storage, idempotency_key=program.name, queue="q")
    for _ in range(rounds):
        if await take_up_due(engine):
            continue
        record = await end_of_chain(engine, run_id)
        assert record is not None
        records = await all_records(storage)
        owing = [r for r in records if r.detail.owes and r.status.is_terminal]
        if record.status.is_terminal and not owing:
            return await outcome_of(storage, engine, record)
        if program.act is not None and not record.status.is_terminal:
            before = [(r.run_id, r.head) for r in records]
            await program.act(storage, run_id)
            if before != [(r.run_id, r.head) for r in await all_records(storage)]:
                continue
        wakes = [r.wake_at for r in records if r.wake_at is not None]
        assert wakes, f"{program.name} waits for nothing that could come"
        # Either one is due later, or somebody who died holds its lease.
        now = clock.now()
        clock.move_to(min([*(wake for wake in wakes if wake > now), now + LEASE]))
    raise AssertionError(f"{program.name} has not ended after {rounds} rounds")


async def all_records(storage: StorageBackend) -> list[RunRecord]:
    """Every run there is; also those that are no workflow's."""
    return await storage.list_runs(limit=10_000)


async def outcome_of(
    storage: StorageBackend, engine: Engine, record: RunRecord, *, family: bool = True
) -> tuple[str, Any]:
    """Status, and result or error; the run's log is checked on the way, and those of all others."""
    for other in await all_records(storage) if family else [record]:
        check_log(await storage.read(other.run_id), other)
    run = await get_workflow_run(record.run_id, storage=storage)
    assert run is not None
    return str(run.status), run.result if run.error is None else str(run.error)
