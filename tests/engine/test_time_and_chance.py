"""`now`, `random`, `rng` and `uuid4`: the same in every replay, and different in every run."""

from __future__ import annotations

import asyncio
import pathlib
import sys
import uuid
from datetime import UTC, datetime
from typing import Any

import pytest

from pyworkflow import (
    InMemoryStorageBackend,
    StepOutsideWorkflowError,
    now,
    random,
    resume,
    rng,
    sleep,
    start,
    step,
    uuid4,
    workflow,
)
from pyworkflow.engine.clock import VirtualClock

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from families import work_off
from simulated_runs import log_of, make_engine, recorded, replay

sys.path.pop(0)


@step(name="chance.nothing")
async def nothing() -> None: ...


@workflow(name="chance.drawing")
async def drawing() -> Any:
    async def draw() -> Any:
        await nothing()
        return random(), uuid4()

    first = [now(), random(), uuid4(), rng().randint(1, 1000), rng().sample(range(1000), 3), rng().gauss()]
    several = await asyncio.gather(draw(), draw())
    await sleep("2d")
    return first, several, now(), random(), uuid4()


async def drawn(storage: InMemoryStorageBackend, clock: VirtualClock, seed: int = 0, **options: Any) -> Any:
    engine = make_engine(storage, clock, seed)
    run_id = await start(drawing, storage=storage, queue="q", **options)
    await work_off(engine, clock)
    return run_id, await resume(run_id, storage=storage)


def test_what_is_drawn_is_the_same_in_every_replay_and_costs_no_event() -> None:
    async def main() -> None:
        storage, clock = InMemoryStorageBackend(), VirtualClock(auto=True)
        run_id, (first, several, later, _, last) = await drawn(storage, clock)
        history, record = await log_of(storage, run_id), await storage.get(run_id)
        for one_by_one in (False, True):
            assert replay(history, run=record, one_by_one=one_by_one) == recorded(history)
        assert len(history) == 11
        assert 0 <= first[1] < 1
        ids = [first[2], last, *(one[1] for one in several)]
        assert len(set(ids)) == 4
        assert {(one.version, one.variant) for one in ids} == {(4, uuid.RFC_4122)}
        assert (later - first[0]).days == 2

    asyncio.run(main())


def test_runs_draw_nothing_that_others_draw_even_under_one_id() -> None:
    async def main() -> None:
        clock = VirtualClock(auto=True)
        storages = [InMemoryStorageBackend(), InMemoryStorageBackend()]
        runs = [await drawn(s, clock, seed, idempotency_key="same") for seed, s in enumerate(storages)]
        runs.append(await drawn(storages[0], clock, 7))
        assert runs[0][0] == runs[1][0]
        values = {value for _, (first, _, _, *more) in runs for value in (first[1], *more)}
        assert len(values) == 3 * 3

    asyncio.run(main())


def test_now_is_the_time_of_what_happened_last() -> None:
    @workflow
    async def program() -> Any:
        before = now()
        await nothing()
        return before, now()

    async def main() -> None:
        storage, clock = InMemoryStorageBackend(), VirtualClock(auto=True)
        make_engine(storage, clock)
        moment = datetime.fromtimestamp(clock.now() / 1e6, UTC)
        run_id = await start(program, storage=storage)
        before, after = await resume(run_id, storage=storage)
        assert before == moment
        assert before.tzinfo is UTC
        assert after >= before

    asyncio.run(main())


@pytest.mark.parametrize(
    ("call", "instead"),
    [
        (now, r"use datetime\.now\(UTC\)"),
        (random, r"use random\.random\(\)"),
        (rng, "use the random module"),
        (uuid4, r"use uuid\.uuid4\(\)"),
    ],
)
def test_outside_of_workflows_the_real_ones_are_advised(call: Any, instead: str) -> None:
    @step(max_retries=0)
    async def in_a_step() -> None:
        call()

    @workflow
    async def program() -> None:
        await in_a_step()

    async def main() -> None:
        with pytest.raises(StepOutsideWorkflowError, match=instead):
            call()
        with pytest.raises(StepOutsideWorkflowError, match=instead):
            await start(program, storage=InMemoryStorageBackend())

    asyncio.run(main())
