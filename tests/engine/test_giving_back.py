"""Runs whose code no longer fits their history: left alone at growing distances, and never stuck."""

from __future__ import annotations

import asyncio

import pytest
from simulated_runs import make_engine

from pyworkflow import (
    InMemoryStorageBackend,
    NonDeterminismError,
    RunStatus,
    StepDefinition,
    Worker,
    WorkflowDefinition,
    cancel_workflow,
    get_workflow_run,
    hook,
    resume,
    resume_hook,
    start,
    step,
    workflow,
)
from pyworkflow.engine.clock import VirtualClock
from pyworkflow.engine.engine import SECOND


@step(name="giving_back.first")
async def first() -> str:
    return "first"


@step(name="giving_back.other")
async def other() -> str:
    return "other"


def define(call: StepDefinition[[], str]) -> WorkflowDefinition[[], str]:
    """The workflow, as it is after a release: with this step."""

    @workflow(name="giving_back.flow")
    async def flow() -> str:
        answer = await call()
        await hook("go on")
        return answer

    return flow


async def broken_run(storage: InMemoryStorageBackend) -> str:
    """A run that waits for its hook, with code that was changed meanwhile."""
    run_id = await start(define(first), storage=storage)
    define(other)
    return run_id


def test_a_worker_looks_again_at_growing_distances() -> None:
    async def main() -> None:
        clock, storage = VirtualClock(), InMemoryStorageBackend()
        engine = make_engine(storage, clock)
        run_id = await broken_run(storage)
        await resume_hook(f"{run_id}:go on", "yes", storage=storage)
        pauses = []
        for _ in range(9):
            await Worker(storage, engine=engine, once=True).run()
            record = await storage.get(run_id)
            assert record is not None
            assert record.status is RunStatus.SUSPENDED
            assert record.wake_at is not None
            pauses.append((record.wake_at - clock.now()) // SECOND)
            clock.move_to(record.wake_at)
        assert pauses == [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]

    asyncio.run(main())


def test_a_person_who_resumes_it_need_not_wait_for_the_pause() -> None:
    async def main() -> None:
        clock, storage = VirtualClock(), InMemoryStorageBackend()
        engine = make_engine(storage, clock)
        run_id = await broken_run(storage)
        await resume_hook(f"{run_id}:go on", "yes", storage=storage)
        await Worker(storage, engine=engine, once=True).run()
        with pytest.raises(NonDeterminismError):
            await resume(run_id, storage=storage)
        define(first)
        assert await resume(run_id, storage=storage) == "first"

    asyncio.run(main())


def test_it_can_be_cancelled_although_its_code_cannot_run() -> None:
    async def main() -> None:
        clock, storage = VirtualClock(), InMemoryStorageBackend()
        engine = make_engine(storage, clock)
        run_id = await broken_run(storage)
        assert await cancel_workflow(run_id, "no longer needed", storage=storage)
        await Worker(storage, engine=engine, once=True).run()
        run = await get_workflow_run(run_id, storage)
        assert run is not None
        assert run.status is RunStatus.CANCELLED
        last = (await storage.get_events(run_id))[-1]
        assert last.data["reason"].startswith("no longer needed (ended without clean-up; replay failed: Non")

    asyncio.run(main())
