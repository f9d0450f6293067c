"""Families killed at every append: the outcome is that of a calm run, and nothing starts twice."""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

import pytest

from pyworkflow import (
    InMemoryStorageBackend,
    delete_workflow_run,
    resume,
    start,
    start_child_workflow,
    step,
    workflow,
)
from pyworkflow.definitions import WorkflowDefinition
from pyworkflow.engine.clock import VirtualClock
from pyworkflow.engine.engine import Engine
from pyworkflow_core.storage import Answer, Append, StorageBackend

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from families import outcomes, take_up_due, work_off
from family_programs import PROGRAMS
from simulated_runs import LEASE, make_engine
from storage_wrappers import NOISE, DisturbedStorage, Killed, KillingStorage, Wrapper, append_from_outside

sys.path.pop(0)

Program = WorkflowDefinition[Any, Any]
each_program = pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.name)


async def begin(storage: StorageBackend, program: Program, *, here: bool) -> None:
    """Start the program as an application does: for workers, or to be driven to its end here."""
    with contextlib.suppress(Exception):
        await start(
            program,
            storage=storage,
            idempotency_key="program",
            queue=None if here else "default",
            wait=here and program.name != "family.asking",
        )


async def calm(program: Program, *, here: bool = False) -> tuple[list[str], int]:
    """The outcomes when nothing happens, and how many commits they take."""
    clock = VirtualClock(auto=True)
    storage = Wrapper(InMemoryStorageBackend())
    engine = make_engine(storage, clock, 1)
    await begin(storage, program, here=here)
    await work_off(engine, clock)
    return await outcomes(storage), storage.commits


@each_program
@pytest.mark.parametrize("here", [False, True], ids=["workers", "start"])
def test_a_family_that_is_killed_at_any_append_ends_as_if_nothing_had_happened(
    program: Program, here: bool
) -> None:
    async def main() -> None:
        expected, commits = await calm(program, here=here)
        for n in range(1, commits + 1):
            for acknowledged in (False, True):
                clock = VirtualClock(auto=True)
                storage = InMemoryStorageBackend()
                killing = KillingStorage(storage, n, acknowledged=acknowledged)
                engine = make_engine(killing, clock, 3)
                with contextlib.suppress(Killed):
                    await begin(killing, program, here=here)
                    await work_off(engine, clock)
                engine = make_engine(storage, clock, 4)
                await begin(storage, program, here=False)
                await work_off(engine, clock)
                assert await outcomes(storage) == expected, (n, acknowledged)

    asyncio.run(main())


@each_program
def test_driven_to_its_end_by_start_or_by_workers_a_family_ends_the_same(program: Program) -> None:
    async def main() -> None:
        assert (await calm(program, here=True))[0] == (await calm(program, here=False))[0]

    asyncio.run(main())


@each_program
def test_a_family_whose_appends_meet_conflicts_ends_as_if_nothing_had_happened(program: Program) -> None:
    async def main() -> None:
        expected, commits = await calm(program)
        patterns = [lambda k, n=n: k == n for n in range(2, commits + 1)]
        patterns += [lambda k: k % 2 == 0 and k < 40, lambda k: k < 12]
        for when in patterns:
            clock = VirtualClock(auto=True)
            storage = InMemoryStorageBackend()
            outsider = make_engine(storage, clock, 5)

            async def noise(run_id: str, outsider: Engine = outsider) -> None:
                await append_from_outside(outsider.storage, run_id, NOISE, outsider.ids, outsider.clock.now())

            disturbed = DisturbedStorage(storage, noise, when)
            engine = make_engine(disturbed, clock, 3)
            await begin(disturbed, program, here=False)
            await work_off(engine, clock)
            assert await outcomes(storage) == expected

    asyncio.run(main())


class DiesAsTheChildBegins(KillingStorage):
    """Its process is gone once the child is there, and before anything says so."""

    child = ""

    def __init__(self, inner: StorageBackend) -> None:
        super().__init__(inner, -1, acknowledged=True)

    async def after(self, appends: Sequence[Append], answers: list[Answer]) -> None:
        for append in appends:
            if append.record.workflow == "family.counted" and not append.expected:
                self.child, self.dead = append.run_id, True
                raise Killed


counts: list[int] = []


@step(name="family.count")
async def count() -> int:
    counts.append(1)
    return len(counts)


@workflow(name="family.counted")
async def counted() -> int:
    return await count()


@workflow(name="family.of_one_that_is_deleted")
async def of_one_that_is_deleted() -> int:
    return await start_child_workflow(counted, queue="children")


def test_a_child_that_has_ended_and_was_deleted_is_not_begun_again_by_a_parent_that_had_died() -> None:
    async def main() -> None:
        counts.clear()
        clock, storage = VirtualClock(), InMemoryStorageBackend()
        dying = DiesAsTheChildBegins(storage)
        engine = make_engine(dying, clock, 3)
        run_id = await start(of_one_that_is_deleted, storage=dying, queue="q")
        with contextlib.suppress(Killed):
            await take_up_due(engine)
        engine = make_engine(storage, clock, 4)
        while await take_up_due(engine, ["children"]):
            pass
        assert await delete_workflow_run(dying.child, storage=storage)
        clock.advance(2 * LEASE)
        while await take_up_due(engine):
            pass
        assert await resume(run_id, storage=storage) == 1
        assert counts == [1]
        assert await storage.get(dying.child) is None

    asyncio.run(main())
