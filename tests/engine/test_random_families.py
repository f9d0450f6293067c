"""Random programs whose parts are children: killed and disturbed, each log tells one story."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pathlib
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from pyworkflow import InMemoryStorageBackend, start
from pyworkflow.engine.clock import VirtualClock
from pyworkflow_core.codec import default_codec
from pyworkflow_core.ids import derive_run_id
from pyworkflow_core.storage import Answer, Append, Committed, StorageBackend

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from families import outcomes, work_off
from random_programs import Node, World, families, interpret, world
from simulated_runs import LEASE, ask_to_stop, log_of, make_engine, places_completed, recorded
from storage_wrappers import NOISE, DisturbedStorage, Killed, KillingStorage, Wrapper, append_from_outside

sys.path.pop(0)

RUN = derive_run_id("key", "program")
EXAMPLES = {"quick": 10, "ci": 300, "nightly": 3000}
PROFILE = os.environ.get("HYPOTHESIS_PROFILE") or "quick"
pytestmark = pytest.mark.timeout(1800)
many = settings(max_examples=EXAMPLES.get(PROFILE, 15), suppress_health_check=[HealthCheck.too_slow])


class Watched(Wrapper):
    """Tells the world which completions are durable."""

    def __init__(self, inner: StorageBackend, here: World) -> None:
        super().__init__(inner)
        self._here = here

    async def after(self, appends: Sequence[Append], answers: list[Answer]) -> None:
        for append, answer in zip(appends, answers, strict=True):
            if isinstance(answer, Committed):
                self._here.completed |= set(places_completed(await log_of(self.inner, append.run_id)))


def new_world() -> tuple[World, Watched]:
    here = World(VirtualClock(auto=True))
    world.set(here)
    return here, Watched(InMemoryStorageBackend(), here)


async def begin(storage: StorageBackend, program: Node, *, here: bool = False) -> None:
    with contextlib.suppress(Exception):
        await start(
            interpret,
            program,
            storage=storage,
            idempotency_key="program",
            queue=None if here else "default",
        )


async def conclude(storage: Watched, here: World, program: Node, seed: int) -> Any:
    """Let new processes work everything off, check every log; how the first run ended, its trace aside."""
    engine = make_engine(storage, here.clock, seed)
    await begin(storage, program)
    await work_off(engine, here.clock)
    await outcomes(storage)
    assert here.again == [], "a completed step was executed again"
    kind, body = recorded(await log_of(storage, RUN))
    return (kind, default_codec.decode(body)["value"]) if kind == "completed" else (kind, body)


async def undisturbed(program: Node, *, drive: bool = False) -> tuple[Any, int]:
    here, storage = new_world()
    engine = make_engine(storage, here.clock, 1)
    await begin(storage, program, here=drive)
    await work_off(engine, here.clock)
    return await conclude(storage, here, program, 2), storage.commits


@many
@given(families)
def test_a_family_that_is_killed_at_any_append_ends_as_if_nothing_had_happened(program: Node) -> None:
    async def main() -> None:
        for drive in (False, True):
            expected, commits = await undisturbed(program, drive=drive)
            for n in range(1, commits + 1):
                here, storage = new_world()
                killing = KillingStorage(storage, n, acknowledged=bool(n % 2))
                engine = make_engine(killing, here.clock, 3)
                with contextlib.suppress(Killed):
                    await begin(killing, program, here=drive)
                    await work_off(engine, here.clock)
                assert await conclude(storage, here, program, 4) == expected

    asyncio.run(main())


@many
@given(families)
def test_a_family_that_is_killed_again_and_again_still_ends_the_same(program: Node) -> None:
    async def main() -> None:
        expected, commits = await undisturbed(program)
        here, storage = new_world()
        for n in range(4 * commits):
            killing = KillingStorage(storage, 2 + n % 3, acknowledged=bool(n % 2))
            engine = make_engine(killing, here.clock, n)
            with contextlib.suppress(Killed):
                await begin(killing, program)
                await work_off(engine, here.clock)
                break
            here.clock.advance(LEASE)
        assert await conclude(storage, here, program, 4) == expected

    asyncio.run(main())


async def _noise(outsider: Any, run_id: str) -> None:
    await append_from_outside(outsider.storage, run_id, NOISE, outsider.ids, outsider.clock.now())


@many
@given(families)
def test_whatever_comes_from_outside_at_any_append_is_the_same_story_in_a_replay(program: Node) -> None:
    async def disturbed(
        disturb: Callable[[Any, str], Awaitable[object]], when: Callable[[int], bool]
    ) -> None:
        here, storage = new_world()
        outsider = make_engine(storage, here.clock, 5)

        async def outside(run_id: str) -> None:
            await disturb(outsider, run_id)

        wrapped = DisturbedStorage(storage, outside, when)
        engine = make_engine(wrapped, here.clock, 6)
        await begin(wrapped, program)
        await work_off(engine, here.clock)
        await conclude(storage, here, program, 7)

    async def main() -> None:
        _, commits = await undisturbed(program)
        for n in range(2, commits + 1):
            for disturb in (_noise, ask_to_stop):
                await disturbed(disturb, lambda k, n=n: k == n)
        await disturbed(_noise, lambda k: 2 <= k <= 12)
        await disturbed(ask_to_stop, lambda k: k % 3 == 0)

    asyncio.run(main())
