"""Random programs under crashes, conflicts and thieves: whatever happens, the log tells one story."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pathlib
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pyworkflow import InMemoryStorageBackend, start
from pyworkflow.durability import Durability
from pyworkflow.engine.clock import VirtualClock
from pyworkflow_core.codec import default_codec
from pyworkflow_core.events import Envelope
from pyworkflow_core.ids import derive_run_id
from pyworkflow_core.payloads import RunRecovered
from pyworkflow_core.storage import Answer, Append, Committed, StorageBackend

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from random_programs import Node, World, interpret, programs, world
from simulated_runs import (
    LEASE,
    answer_a_hook,
    ask_to_stop,
    check_log,
    finish,
    forced,
    log_of,
    make_engine,
    places_completed,
    recorded,
    replay,
    take_up,
)
from storage_wrappers import NOISE, DisturbedStorage, Killed, KillingStorage, Wrapper, append_from_outside

sys.path.pop(0)

RUN = derive_run_id("key", "program")
EXAMPLES = {"quick": 15, "ci": 500, "nightly": 5000}
PROFILE = os.environ.get("HYPOTHESIS_PROFILE") or "quick"
# Hundreds of programs, each interrupted at each of its events, take their time.
pytestmark = pytest.mark.timeout(1800)
many = settings(max_examples=EXAMPLES.get(PROFILE, 25), suppress_health_check=[HealthCheck.too_slow])


DURABILITIES = pytest.mark.parametrize("durability", ["sync", "pipelined", "exit"])


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


async def begin(storage: StorageBackend, program: Node) -> None:
    """Start the program as an application does; its failure is in the log."""
    with contextlib.suppress(Exception):
        await start(interpret, program, storage=storage, idempotency_key="program")


async def conclude(storage: Watched, here: World, program: Node, seed: int) -> list[Envelope[Any]]:
    """Let new processes take the program up until it ends, and check its log."""
    engine = make_engine(storage, here.clock, seed)
    if await storage.get(RUN) is None:
        await begin(storage, program)
    record = await finish(engine, here.clock, RUN)
    events = await storage.read(RUN)
    check_log(events, record)
    assert here.again == [], "a completed step was executed again"
    history = await log_of(storage, RUN)
    assert replay(history) == recorded(history)
    assert replay(history, one_by_one=True) == recorded(history)
    return history


def value(history: list[Envelope[Any]]) -> Any:
    """The outcome without its trace."""
    kind, body = recorded(history)
    return (kind, default_codec.decode(body)["value"]) if kind == "completed" else (kind, body)


async def undisturbed(program: Node) -> tuple[Any, int]:
    """The outcome of the program when nothing happens to it, and how many commits that takes."""
    here, storage = new_world()
    make_engine(storage, here.clock, 1)
    await begin(storage, program)
    return value(await conclude(storage, here, program, 2)), storage.commits


@DURABILITIES
@many
@given(program=programs)
def test_a_program_that_is_killed_at_any_append_ends_as_if_nothing_had_happened(
    durability: Durability, program: Node
) -> None:
    async def main() -> None:
        forced.set(durability)
        expected, commits = await undisturbed(program)
        for n in range(1, commits + 1):
            for acknowledged in (False, True):
                here, storage = new_world()
                killing = KillingStorage(storage, n, acknowledged=acknowledged)
                engine = make_engine(killing, here.clock, 3)
                with contextlib.suppress(Killed):
                    await begin(killing, program)
                    await finish(engine, here.clock, RUN)
                assert value(await conclude(storage, here, program, 4)) == expected

    asyncio.run(main())


@DURABILITIES
@many
@given(program=programs)
def test_a_program_that_is_killed_again_and_again_still_ends_the_same(
    durability: Durability, program: Node
) -> None:
    async def main() -> None:
        forced.set(durability)
        expected, commits = await undisturbed(program)
        here, storage = new_world()
        for n in range(4 * commits):
            killing = KillingStorage(storage, 2 + n % 3, acknowledged=bool(n % 2))
            engine = make_engine(killing, here.clock, n)
            with contextlib.suppress(Killed):
                if await storage.get(RUN) is None:
                    await begin(killing, program)
                await finish(engine, here.clock, RUN)
                break
            here.clock.advance(LEASE)
        assert value(await conclude(storage, here, program, 4)) == expected

    asyncio.run(main())


async def _with_a_disturbance(
    program: Node, disturb: Callable[[Any, str], Awaitable[object]], when: Callable[[int], bool]
) -> None:
    here, storage = new_world()

    async def outside(run_id: str) -> None:
        await disturb(outsider, run_id)

    disturbed = DisturbedStorage(storage, outside, when)
    outsider = make_engine(storage, here.clock, 5)
    engine = make_engine(disturbed, here.clock, 6)
    await begin(disturbed, program)
    if await storage.get(RUN) is not None:
        await finish(engine, here.clock, RUN)
    await conclude(storage, here, program, 7)


async def _noise(outsider: Any, run_id: str) -> None:
    await append_from_outside(outsider.storage, run_id, NOISE, outsider.ids, outsider.clock.now())


@DURABILITIES
@many
@given(program=programs)
@example(program=["shield", ["gather", ["fatal"], ["group", ["fatal"], ["quick"]]]])
def test_whatever_comes_from_outside_at_any_append_is_the_same_story_in_a_replay(
    durability: Durability, program: Node
) -> None:
    async def main() -> None:
        forced.set(durability)
        _, commits = await undisturbed(program)
        for n in range(2, commits + 1):
            for disturb in (_noise, answer_a_hook, ask_to_stop):
                await _with_a_disturbance(program, disturb, lambda k, n=n: k == n)
        # A conflict at each append for a while, so that the careful path is taken, too.
        await _with_a_disturbance(program, _noise, lambda k: 2 <= k <= 12)
        await _with_a_disturbance(program, _noise, lambda k: k % 3 != 1)
        await _with_a_disturbance(program, answer_a_hook, lambda k: k % 2 == 0)

    asyncio.run(main())


@DURABILITIES
@pytest.mark.parametrize("disturb", [_noise, answer_a_hook, ask_to_stop])
@many
@given(program=programs, number=st.integers(1, 12), often=st.booleans(), told=st.booleans())
def test_whatever_comes_from_outside_while_a_step_executes_is_the_same_story_in_a_replay(
    durability: Durability, disturb: Any, program: Node, number: int, often: bool, told: bool
) -> None:
    async def main() -> None:
        forced.set(durability)
        here, storage = new_world()
        engine = make_engine(storage, here.clock, 5)
        tasks: list[asyncio.Task[None]] = []

        async def disturbance() -> None:
            await disturb(engine, RUN)
            if told:
                engine.notify(RUN)

        def outside(place: str) -> None:
            executions = len(here.executions)
            if executions == number or (often and executions % number == 0 and executions < 40):
                tasks.append(asyncio.create_task(disturbance()))

        here.outside = outside
        await begin(storage, program)
        await finish(engine, here.clock, RUN)
        await asyncio.gather(*tasks)
        await conclude(storage, here, program, 7)
        if disturb is _noise:
            counts = {place: here.executions.count(place) for place in here.quick}
            assert [place for place, count in counts.items() if count > 1] == [], "its result was lost"

    asyncio.run(main())


@DURABILITIES
@many
@given(program=programs)
def test_a_program_that_is_killed_amid_conflicts_ends_as_if_nothing_had_happened(
    durability: Durability, program: Node
) -> None:
    async def main() -> None:
        forced.set(durability)
        expected, commits = await undisturbed(program)
        for n in range(1, 2 * commits + 1):
            here, storage = new_world()
            killing = KillingStorage(storage, n, acknowledged=bool(n % 3))

            async def noise(run_id: str, storage: Watched = storage, here: World = here) -> None:
                await append_from_outside(storage, run_id, NOISE, ids, here.clock.now())  # noqa: B023

            disturbed = DisturbedStorage(killing, noise, lambda k: 1 < k < 12)
            engine = make_engine(disturbed, here.clock, 3)
            ids = engine.ids
            with contextlib.suppress(Killed):
                await begin(disturbed, program)
                await finish(engine, here.clock, RUN)
            assert value(await conclude(storage, here, program, 4)) == expected

    asyncio.run(main())


@DURABILITIES
@many
@given(program=programs)
def test_a_program_that_is_stopped_by_ctrl_c_at_any_append_goes_on_later(
    durability: Durability, program: Node
) -> None:
    async def main() -> None:
        forced.set(durability)
        expected, commits = await undisturbed(program)
        for n in range(2, commits + 1):
            for lines in (1, 2, 3):
                here, storage = new_world()

                async def some_noise(
                    run_id: str, storage: Watched = storage, here: World = here, lines: int = lines
                ) -> None:
                    if lines == 3:
                        await append_from_outside(storage, run_id, NOISE, engine.ids, here.clock.now())  # noqa: B023
                    asyncio.get_running_loop().call_soon(task.cancel)  # noqa: B023
                    if lines == 2:
                        await asyncio.sleep(0)

                disturbed = DisturbedStorage(storage, some_noise, lambda k, n=n: k == n)
                engine = make_engine(disturbed, here.clock, 3)
                task = asyncio.create_task(_all_of_it(disturbed, engine, here, program))
                with contextlib.suppress(asyncio.CancelledError):
                    await task
                history = await conclude(storage, here, program, 4)
                assert value(history) == expected
                assert not any(isinstance(e.data, RunRecovered) for e in history), "it was not left cleanly"

    asyncio.run(main())


async def _all_of_it(storage: StorageBackend, engine: Any, here: World, program: Node) -> None:
    await begin(storage, program)
    await finish(engine, here.clock, RUN)


@DURABILITIES
@many
@given(program=programs)
def test_a_run_whose_lease_ends_in_mid_drive_is_driven_on_by_one_of_two_engines(
    durability: Durability, program: Node
) -> None:
    async def steal(outsider: Any, run_id: str) -> None:
        outsider.clock.advance(LEASE + 1)
        await take_up(outsider, run_id)

    async def main() -> None:
        forced.set(durability)
        _, commits = await undisturbed(program)
        for n in range(2, commits + 1):
            await _with_a_disturbance(program, steal, lambda k, n=n: k == n)
        await _with_a_disturbance(program, steal, lambda k: k % 2 == 0 and k < 40)

    asyncio.run(main())
