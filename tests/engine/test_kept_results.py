"""Somebody else appends while events of a run are not durable: what the steps returned is not lost."""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from pyworkflow import (
    CancellationError,
    InMemoryStorageBackend,
    StepContext,
    cancel_workflow,
    hook,
    resume,
    resume_hook,
    save_step_checkpoint,
    set_step_context,
    start,
    step,
    workflow,
)
from pyworkflow.durability import Durability
from pyworkflow.engine.clock import VirtualClock
from pyworkflow.engine.engine import Engine, Settings
from pyworkflow_core.ids import IdSource, derive_run_id
from pyworkflow_core.payloads import StepCompleted, StepStarted
from pyworkflow_core.storage import StorageBackend

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from simulated_runs import LEASE, check_log, log_of, make_engine, recorded, replay, take_up
from storage_wrappers import NOISE, append_from_outside
from watched_commits import WatchedCommits

sys.path.pop(0)

RUN = derive_run_id("key", "program")
LATER: list[Durability] = ["pipelined", "exit"]
both = pytest.mark.parametrize("durability", LATER)
executed: list[Any] = []
cut_off: list[Any] = []
disturbances: dict[Any, Callable[[], Awaitable[object]]] = {}
"""What happens outside while the step with this argument executes."""


@pytest.fixture(autouse=True)
def _nothing_yet() -> None:
    executed.clear()
    cut_off.clear()
    disturbances.clear()


@step(name="kept.work", max_retries=0)
async def work(what: Any) -> Any:
    executed.append(what)
    try:
        if what in disturbances:
            await disturbances.pop(what)()
    except asyncio.CancelledError:
        cut_off.append(what)
        raise
    return what


@step(name="kept.failing", max_retries=0)
async def failing(what: Any) -> None:
    executed.append(what)
    raise ValueError(what)


@workflow(name="kept.sequence")
async def sequence(count: int) -> int:
    return sum([await work(n) for n in range(count)])


async def turns(count: int = 30) -> None:
    """Let the drive do what it can."""
    for _ in range(count):
        await asyncio.sleep(0)


def disturb(engine: Engine, *, seen: bool) -> Callable[[], Awaitable[object]]:
    """Append noise from outside; `seen` if the drive is told at once, else its next append meets it."""

    async def noise() -> None:
        await append_from_outside(engine.storage, RUN, NOISE, IdSource(), engine.clock.now())
        if seen:
            engine.notify(RUN)
        await turns()

    return noise


async def run(durability: Durability, flow: Any, *args: Any, storage: Any = None) -> Any:
    """Run to the end; the log is sound and replays."""
    storage = storage or InMemoryStorageBackend()
    await start(flow, *args, storage=storage, idempotency_key="program")
    await check(storage)
    return await resume(RUN, storage=storage)


def engine_on(storage: StorageBackend, durability: Durability, seed: int = 0) -> Engine:
    return make_engine(storage, VirtualClock(auto=True), seed, Settings(durability=durability))


async def check(storage: StorageBackend) -> list[Any]:
    """The payloads of the log, which is sound and replays."""
    record = await storage.get(RUN)
    assert record is not None
    check_log(await storage.read(RUN), record)
    history = await log_of(storage, RUN)
    assert replay(history) == recorded(history)
    assert replay(history, one_by_one=True) == recorded(history)
    return [e.data for e in history]


# ---- the same path again -------------------------------------------------------------


@both
@pytest.mark.parametrize("seen", [False, True])
def test_steps_whose_results_a_conflict_made_void_are_recorded_and_not_executed_again(
    durability: Durability, seen: bool
) -> None:
    async def main() -> None:
        storage = InMemoryStorageBackend()
        engine = engine_on(storage, durability)
        for n in (3, 7, 11):
            disturbances[n] = disturb(engine, seen=seen)
        assert await run(durability, sequence, 20, storage=storage) == sum(range(20))
        assert executed == list(range(20))
        assert cut_off == []
        payloads = await check(storage)
        assert sum(isinstance(p, StepStarted) for p in payloads) == 20
        assert payloads.count(NOISE) == 3

    asyncio.run(main())


@both
def test_a_failure_that_was_not_recorded_before_a_conflict_is_not_brought_about_again(
    durability: Durability,
) -> None:
    @workflow(name="kept.failures")
    async def failures() -> str:
        await work(1)
        try:
            await failing("once")
        except ValueError:
            return "failed"
        return "never"

    async def main() -> None:
        storage = WatchedCommits()
        engine = engine_on(storage, durability)

        async def before_the_failure() -> None:
            await append_from_outside(storage.inner, RUN, NOISE, IdSource(), engine.clock.now())

        storage.hold = (2, before_the_failure)
        assert await run(durability, failures, storage=storage) == "failed"
        assert executed == [1, "once"]

    asyncio.run(main())


# ---- another path --------------------------------------------------------------------


@workflow(name="kept.answered")
async def answered() -> Any:
    waiting = asyncio.ensure_future(hook("answer"))
    found = [await work(1), await work(2)]
    found.append(await work(30 if waiting.done() else 3))
    return [*found, await work(4), await waiting]


@both
def test_after_an_answer_the_new_path_takes_what_it_asks_for_and_executes_the_rest(
    durability: Durability,
) -> None:
    async def main() -> None:
        storage = InMemoryStorageBackend()
        engine_on(storage, durability)

        async def answer() -> None:
            await resume_hook(f"{RUN}:answer", "yes", storage=storage)
            # The drive is told, and rebuilds the run around this step, which goes on.
            await turns()

        disturbances[2] = answer
        assert await run(durability, answered, storage=storage) == [1, 2, 30, 4, "yes"]
        # With the answer there, it is another third step; the first two are the same.
        assert executed == [1, 2, 30, 4]
        assert cut_off == []

    asyncio.run(main())


@pytest.mark.parametrize("waits", [True, False])
def test_a_step_that_executes_goes_on_until_the_new_path_waits_for_something_else(waits: bool) -> None:
    async def main() -> None:
        storage = InMemoryStorageBackend()
        engine_on(storage, "exit")
        if waits:
            disturbances[30] = turns

        async def answer() -> None:
            await resume_hook(f"{RUN}:answer", "yes", storage=storage)
            await turns()

        disturbances[4] = answer
        assert await run("exit", answered, storage=storage) == [1, 2, 30, 4, "yes"]
        # The result of 3 answers no call with 30; if that waits, nobody has asked for 4 yet.
        assert executed == [1, 2, 3, 4, 30, *([4] if waits else [])]
        assert cut_off == ([4] if waits else [])

    asyncio.run(main())


@pytest.mark.parametrize("stubborn", [False, True])
def test_a_step_that_executes_for_a_path_that_is_gone_ends_before_its_namesake_begins(stubborn: bool) -> None:
    @step(name="kept.third", max_retries=0)
    async def third(what: int) -> int:
        executed.append(what)
        if what == 3:
            try:
                await resume_hook(f"{RUN}:answer", "yes", storage=storage)
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                await turns()
                cut_off.append(what)
                if not stubborn:
                    raise
        return what

    @workflow(name="kept.namesakes", durability="exit")
    async def namesakes() -> Any:
        waiting = asyncio.ensure_future(hook("answer"))
        await work(1)
        await work(2)
        return await third(30 if waiting.done() else 3), await waiting

    storage = InMemoryStorageBackend()

    async def main() -> None:
        make_engine(storage, VirtualClock(auto=True))
        assert await run("exit", namesakes, storage=storage) == (30, "yes")
        assert executed == [1, 2, 3, 30]
        assert cut_off == [3]
        returned = [
            p for p in await check(storage) if isinstance(p, StepCompleted) and p.step == "kept.third"
        ]
        assert [bytes(p.result) for p in returned] == [b"30"]

    asyncio.run(main())


def test_a_step_that_nobody_asks_for_after_a_request_to_stop_is_cut_off() -> None:
    @workflow(name="kept.stopped", durability="exit")
    async def stopped() -> None:
        try:
            for n in (1, 2, 3):
                await work(n)
        except CancellationError:
            await work("clean")
            raise

    async def main() -> None:
        storage = InMemoryStorageBackend()
        make_engine(storage, VirtualClock(auto=True))

        async def ask() -> None:
            await cancel_workflow(RUN, storage=storage)
            await asyncio.Event().wait()

        disturbances[3] = ask
        with contextlib.suppress(CancellationError):
            await run("exit", stopped, storage=storage)
        payloads = await check(storage)
        assert executed == [1, 2, 3, "clean"]
        assert cut_off == [3]
        started = [bytes(p.args) for p in payloads if isinstance(p, StepStarted)]
        assert len(started) == 2, "the log has the step that was durable, and the clean-up"

    asyncio.run(main())


class Place(StepContext):
    where: str = ""


def test_a_result_that_another_step_context_brought_about_is_not_taken() -> None:
    @workflow(name="kept.places", durability="exit")
    async def places() -> Any:
        waiting = asyncio.ensure_future(hook("answer"))
        await work(1)
        if waiting.done():
            await set_step_context(Place(where="there"))
        found = [await work(2), await work(3)]
        return [*found, await waiting]

    async def main() -> None:
        storage = InMemoryStorageBackend()
        make_engine(storage, VirtualClock(auto=True))

        async def answer() -> None:
            await resume_hook(f"{RUN}:answer", "yes", storage=storage)
            await turns()

        disturbances[3] = answer
        assert await run("exit", places, storage=storage) == [2, 3, "yes"]
        assert sorted(executed) == [1, 2, 2, 3, 3]

    asyncio.run(main())


# ---- what steps want in the log ------------------------------------------------------


def test_a_checkpoint_of_a_step_that_goes_on_over_a_conflict_stands_behind_its_beginning() -> None:
    @step(name="kept.saving", max_retries=0)
    async def saving() -> None:
        executed.append("saving")
        await append_from_outside(storage, RUN, NOISE, IdSource(), engine.clock.now())
        engine.notify(RUN)
        await save_step_checkpoint("half")
        executed.append("saved")

    @workflow(name="kept.checkpoints", durability="exit")
    async def checkpoints() -> None:
        await work(1)
        await work(2)
        await saving()

    storage = InMemoryStorageBackend()
    engine: Engine

    async def main() -> None:
        nonlocal engine
        engine = make_engine(storage, VirtualClock(auto=True))
        await run("exit", checkpoints, storage=storage)
        assert executed == [1, 2, "saving", "saved"]
        types = [str(p.TYPE) for p in await check(storage) if p is not NOISE and hasattr(p, "TYPE")]
        assert types[-5:] == [
            "step_completed",
            "step_started",
            "step_checkpoint_saved",
            "step_completed",
            "workflow_completed",
        ]

    asyncio.run(main())


# ---- lost, and left ------------------------------------------------------------------


@both
def test_a_run_that_was_lost_drops_what_was_not_durable(durability: Durability) -> None:
    async def main() -> None:
        storage = InMemoryStorageBackend()
        engine = engine_on(storage, durability)
        other = Engine(storage, clock=engine.clock, settings=Settings(durability=durability))

        async def steal() -> None:
            engine.clock.advance(LEASE + 1)  # type: ignore[attr-defined]
            assert await take_up(other, RUN)
            await engine.live[RUN].keep_alive()

        disturbances[3] = steal
        await start(sequence, 6, storage=storage, idempotency_key="program")
        assert not engine.live
        payloads = await check(storage)
        assert sum(isinstance(p, StepCompleted) for p in payloads) == 6
        assert executed[:4] == [0, 1, 2, 3]
        assert executed[-3:] == [3, 4, 5], "the one that took it executed the last ones, and nobody else"
        assert executed.count(5) == 1

    asyncio.run(main())


@both
@pytest.mark.parametrize("at", [2, 3, None])
def test_a_run_that_is_left_by_ctrl_c_has_all_its_results_in_its_log(
    durability: Durability, at: int | None
) -> None:
    async def main() -> None:
        storage = WatchedCommits()
        engine = engine_on(storage, durability)
        task = asyncio.create_task(start(sequence, 10, storage=storage, idempotency_key="program"))

        async def interrupt() -> None:
            task.cancel()
            await turns()

        if at is None:
            disturbances[5] = interrupt
        else:
            storage.hold = (at, interrupt)
        try:
            await task
            left = False
        except asyncio.CancelledError:
            left = True
        before = list(executed)
        history = await log_of(storage, RUN)
        assert left or history[-1].data.TYPE == "workflow_completed"
        if left:
            assert history[-1].data.TYPE in {"workflow_suspended", "workflow_completed"}
            completed = sum(isinstance(e.data, StepCompleted) for e in history)
            assert completed >= len(before) - 1, "at most the step under way was cut off"
            await take_up(engine, RUN)
        await check(storage)
        assert sorted(set(executed)) == list(range(10))
        assert len(executed) <= 11

    asyncio.run(main())


@pytest.mark.parametrize("everything", [False, True])
def test_a_run_that_is_left_while_it_waits_for_room_has_all_its_results_in_its_log(everything: bool) -> None:
    """Its process is stopped while an append is in flight and the next one is full."""

    async def main() -> None:
        storage = WatchedCommits()
        clock = VirtualClock(auto=True)
        engine = make_engine(storage, clock, 0, Settings(durability="pipelined", turn_events=6))
        driving = asyncio.create_task(start(sequence, 20, storage=storage, idempotency_key="program"))

        async def interrupt() -> None:
            await turns(200)
            # The end of `asyncio.run` cancels what is in flight, too.
            others = asyncio.all_tasks() - {here}
            for task in others if everything else [driving]:
                task.cancel()
            await turns()

        here = asyncio.current_task()
        storage.hold = (2, interrupt)
        with pytest.raises(asyncio.CancelledError):
            await driving
        assert 3 < len(executed) < 20, "it had to wait"
        history = await log_of(storage, RUN)
        assert history[-1].data.TYPE == "workflow_suspended"
        assert sum(isinstance(e.data, StepCompleted) for e in history) == len(executed)
        await take_up(engine, RUN)
        await check(storage)
        assert executed == list(range(20))

    asyncio.run(main())


@both
def test_a_run_that_is_disturbed_at_every_step_makes_its_way_into_the_log(durability: Durability) -> None:
    async def main() -> None:
        storage = InMemoryStorageBackend()
        engine = engine_on(storage, durability)
        durable: list[int] = []

        async def count() -> None:
            await disturb(engine, seen=True)()
            history = await log_of(storage, RUN)
            durable.append(sum(isinstance(e.data, StepCompleted) for e in history))

        disturbances.update(dict.fromkeys(range(10), count))
        await run(durability, sequence, 10, storage=storage)
        assert executed == list(range(10))
        assert durable[-1] >= 7

    asyncio.run(main())
