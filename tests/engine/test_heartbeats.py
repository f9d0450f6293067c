"""Heartbeats: what is recorded of them, and attempts that give none."""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import sys
import threading
from typing import Any

import pytest

from pyworkflow import (
    ConfigurationError,
    InMemoryStorageBackend,
    StepHeartbeatTimeoutError,
    heartbeat,
    resume,
    start,
    step,
    step_info,
    workflow,
)
from pyworkflow.engine.clock import VirtualClock
from pyworkflow_core.payloads import StepHeartbeat, StepRetrying
from pyworkflow_core.storage import Limits

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from in_step_runs import checked, result_of, simulated
from simulated_runs import SECOND, log_of, make_engine
from storage_wrappers import Wrapper

sys.path.pop(0)


def test_heartbeats_are_recorded_seldom_and_the_next_attempt_has_the_last_details() -> None:
    @step(name="inside.beating", retry_delay=0)
    async def beating() -> Any:
        info = step_info()
        if info.attempt == 1:
            for n in range(100):
                heartbeat({"row": n})
                await asyncio.sleep(0)
            raise OSError
        heartbeat()
        return [info.heartbeat_details, step_info().heartbeat_details]

    @workflow(name="inside.beats")
    async def beats() -> Any:
        return await beating()

    async def main() -> None:
        storage, clock, _ = simulated()
        run_id = await start(beats, storage=storage)
        clock.advance(SECOND)
        await resume(run_id, storage=storage)
        assert await result_of(storage, run_id) == [{"row": 99}, {"row": 99}]
        payloads = await checked(storage, run_id)
        assert len([p for p in payloads if isinstance(p, StepHeartbeat)]) <= 2
        (retrying,) = [p for p in payloads if isinstance(p, StepRetrying)]
        assert bytes(retrying.details) == b'{"row":99}'

    asyncio.run(main())


def test_details_that_came_between_two_records_are_recorded_when_it_is_time() -> None:
    go = asyncio.Event()

    @step(name="inside.silent")
    async def silent() -> None:
        heartbeat(1)
        heartbeat(2)
        await go.wait()

    @workflow(name="inside.silence")
    async def silence() -> None:
        await silent()

    async def main() -> None:
        storage, clock, engine = simulated()
        task = asyncio.create_task(start(silence, storage=storage))

        async def details() -> list[bytes]:
            runs = await storage.list_runs()
            history = await log_of(storage, runs[0].run_id) if runs else []
            return [bytes(e.data.details) for e in history if isinstance(e.data, StepHeartbeat)]

        while await details() != [b"1"]:
            await asyncio.sleep(0)
        clock.advance(engine.settings.beat)
        while await details() != [b"1", b"2"]:
            await asyncio.sleep(0)
        go.set()
        await checked(storage, await task)

    asyncio.run(main())


@pytest.mark.parametrize("kind", ["async", "def"])
def test_an_attempt_that_stops_beating_fails_and_is_tried_again(kind: str) -> None:
    release = threading.Event()
    attempts: list[int] = []

    @step(name="inside.stuck", heartbeat_timeout="10s", retry_delay=0)
    async def stuck() -> Any:
        heartbeat("half way")
        attempts.append(step_info().attempt)
        if len(attempts) == 1:
            await asyncio.Event().wait()
        return step_info().heartbeat_details

    @step(name="inside.stuck_in_a_thread", heartbeat_timeout="10s", retry_delay=0)
    def stuck_in_a_thread() -> Any:
        heartbeat("half way")
        attempts.append(step_info().attempt)
        if len(attempts) == 1:
            release.wait()
            with contextlib.suppress(asyncio.CancelledError):
                heartbeat("too late")  # nobody waits for this thread any more
                attempts.append(-1)
        return step_info().heartbeat_details

    @workflow(name="inside.sticking")
    async def sticking() -> Any:
        return await (stuck() if kind == "async" else stuck_in_a_thread())

    async def main() -> None:
        storage, clock, _ = simulated()
        task = asyncio.create_task(start(sticking, storage=storage))
        try:
            while not attempts:
                await asyncio.sleep(0.001)
            clock.advance(11 * SECOND)
            run_id = await task
        finally:
            release.set()
        assert await result_of(storage, run_id) == "half way"
        assert attempts[:2] == [1, 2]
        (retrying,) = [p for p in await checked(storage, run_id) if isinstance(p, StepRetrying)]
        assert b"heartbeat_timeout of 10 s" in bytes(retrying.error)

    asyncio.run(main())
    assert -1 not in attempts


def test_heartbeats_keep_a_long_attempt_alive() -> None:
    @step(name="inside.long", heartbeat_timeout="10s", max_retries=0)
    async def long(clock_moves: int) -> str:
        for _ in range(clock_moves):
            clocks[0].advance(6 * SECOND)
            heartbeat()
            await asyncio.sleep(0)
        return "done"

    @workflow(name="inside.lasting")
    async def lasting() -> str:
        return await long(10)

    clocks: list[VirtualClock] = []

    async def main() -> None:
        storage, clock, _ = simulated()
        clocks.append(clock)
        assert await result_of(storage, await start(lasting, storage=storage)) == "done"

    asyncio.run(main())


def test_a_heartbeat_timeout_without_retries_fails_the_run() -> None:
    @step(name="inside.dead", heartbeat_timeout=1, max_retries=0)
    async def dead() -> None:
        await asyncio.Event().wait()

    @workflow(name="inside.dying")
    async def dying() -> None:
        await dead()

    async def main() -> None:
        storage, _, _ = simulated(auto=True)
        with pytest.raises(StepHeartbeatTimeoutError, match=r"'inside.dead' gave no heartbeat .* of 1 s"):
            await start(dying, storage=storage)

    asyncio.run(main())


@pytest.mark.parametrize("timeout", [0, "0s", -1, "soon"])
def test_a_heartbeat_timeout_that_is_none_is_refused_where_the_step_is_defined(timeout: Any) -> None:
    with pytest.raises(ConfigurationError, match="'wrong': heartbeat_timeout"):

        @step(heartbeat_timeout=timeout)
        async def wrong() -> None: ...


def test_details_and_an_error_that_do_not_fit_into_one_event_are_recorded_in_two() -> None:
    @step(name="inside.talkative", retry_delay=0)
    async def talkative() -> Any:
        info = step_info()
        if info.attempt == 1:
            heartbeat("first")
            heartbeat("x" * 12_000)
            raise OSError("y" * 12_000)
        return len(info.heartbeat_details)

    @workflow(name="inside.talking")
    async def talking() -> Any:
        return await talkative()

    async def main() -> None:
        limits = Limits(event_bytes=20_000, append_bytes=30_000, append_events=1000)
        storage = Wrapper(InMemoryStorageBackend(), limits=limits)
        make_engine(storage, VirtualClock())
        run_id = await start(talking, storage=storage)
        assert await result_of(storage, run_id) == 12_000

    asyncio.run(main())
