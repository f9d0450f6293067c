"""What a step costs in Python: function calls and memory, on storages in this process. No clock is asked."""

from __future__ import annotations

import asyncio
import gc
import itertools
import pathlib
import sys
import tracemalloc
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest

from pyworkflow import InMemoryStorageBackend, StorageBackend, open_storage, resume, start
from pyworkflow.engine.clock import VirtualClock
from pyworkflow.engine.engine import Settings

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from counted_programs import at_once, sequence, sleeps
from simulated_runs import make_engine

sys.path.pop(0)

# Bounds with a tenth to spare over what was counted on Python 3.11; later Pythons need fewer calls. Lower
# one when its number falls. Raising one makes every step of every run slower, and needs a reason in the
# commit that does it. They count calls of Python functions, turns of coroutines and asyncio's own included.
# A slow disk would be given a thread, whose calls are not counted: `inline_below` keeps them here.
MOST_CALLS_OF_A_STEP = {
    "memory://": 104,  # 94 counted
    "file:{folder}/{name}?inline_below=1000000000": 152,  # 138 counted
    "sqlite:///{folder}/{name}.db?inline_below=1000000000": 169,  # 153 counted
}
MOST_CALLS_OF_A_STEP_AMONG_OTHERS = 65  # 59 counted, in a gather
MOST_CALLS_OF_A_RUN_AMONG_OTHERS = 670  # 610 counted, with three steps
MOST_CALLS_OF_A_REPLAYED_STEP = 6.6  # 6 counted, for two events
MOST_BYTES_OF_A_REPLAYED_STEP = 880  # 787 counted, of what is held when most is

HOUR = 3_600_000_000
FEW, MANY = 20, 120

Count = Counter[CodeType]


@pytest.fixture(autouse=True)
def _nobody_else_counts() -> None:
    """Coverage, debuggers and profilers make calls and memory of their own, and want the same hooks."""
    monitoring = getattr(sys, "monitoring", None)  # since Python 3.12
    tools = [] if monitoring is None else [t for t in map(monitoring.get_tool, range(6)) if t is not None]
    if sys.gettrace() or sys.getprofile() or tracemalloc.is_tracing() or tools:
        pytest.skip("somebody traces or profiles this process; what that does would be counted, too")


@contextmanager
def calls_counted() -> Iterator[Count]:
    """Count the calls of Python functions by their code."""
    calls: Count = Counter()

    def count(frame: FrameType, event: str, argument: object) -> None:
        if event == "call":
            calls[frame.f_code] += 1

    with no_collector():
        sys.setprofile(count)
        try:
            yield calls
        finally:
            sys.setprofile(None)


@contextmanager
def no_collector() -> Iterator[None]:
    """Whatever hangs on the garbage collector runs when it likes."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def clock_of(storage: StorageBackend) -> VirtualClock:
    """The clock of an engine whose time, ids and chance are given, and which never looks by itself."""
    clock = VirtualClock()
    make_engine(storage, clock, 1, Settings(lease=HOUR, poll=HOUR))
    return clock


async def calls_of_a_run(url: str, program: Any, steps: int) -> Count:
    async with open_storage(url) as storage:
        clock_of(storage)
        with calls_counted() as calls:
            await start(program, steps, storage=storage)
    return calls


async def calls_of_runs_at_once(runs: int) -> Count:
    async with open_storage("memory://") as storage:
        clock_of(storage)
        with calls_counted() as calls:
            await asyncio.gather(*[start(sequence, 3, storage=storage) for _ in range(runs)])
    return calls


async def suspended(steps: int) -> tuple[InMemoryStorageBackend, str]:
    """A run that is due, with so many recorded steps."""
    storage = InMemoryStorageBackend()
    clock = clock_of(storage)
    run_id = await start(sleeps, steps, storage=storage)
    clock.advance(HOUR)
    return storage, run_id


async def calls_of_a_replay(steps: int) -> Count:
    storage, run_id = await suspended(steps)
    with calls_counted() as calls:
        await resume(run_id, storage=storage)
    return calls


async def bytes_of_a_replay(steps: int) -> int:
    """The most bytes that are held at one time for a replay, beyond what was there."""
    storage, run_id = await suspended(steps)
    with no_collector():
        tracemalloc.start()
        try:
            await resume(run_id, storage=storage)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()


def per_step(count: Callable[[int], Coroutine[Any, Any, Count]]) -> tuple[float, str]:
    """Calls a step, beyond what a run costs whatever its length; and whose they are."""
    asyncio.run(count(FEW))  # what is made on first use is made now
    few, many = asyncio.run(count(FEW)), asyncio.run(count(MANY))
    steps = MANY - FEW
    more = Counter({code: many[code] - few[code] for code in many})
    names = [f"{calls / steps:8.2f} {code.co_qualname}" for code, calls in more.most_common(200)]
    return more.total() / steps, "\n".join(["calls of each function a step:", *names])


@pytest.mark.parametrize("url", MOST_CALLS_OF_A_STEP, ids=lambda url: url.partition(":")[0])
def test_a_step_takes_no_more_calls_than_it_did(url: str, tmp_path: Path) -> None:
    names = map(str, itertools.count())
    calls, whose = per_step(
        lambda steps: calls_of_a_run(url.format(folder=tmp_path, name=next(names)), sequence, steps)
    )
    assert calls <= MOST_CALLS_OF_A_STEP[url], whose


def test_a_step_among_others_takes_no_more_calls_than_it_did() -> None:
    calls, whose = per_step(lambda steps: calls_of_a_run("memory://", at_once, steps))
    assert calls <= MOST_CALLS_OF_A_STEP_AMONG_OTHERS, whose


def test_a_run_among_others_takes_no_more_calls_than_it_did_however_many_there_are() -> None:
    calls, whose = per_step(calls_of_runs_at_once)
    assert calls <= MOST_CALLS_OF_A_RUN_AMONG_OTHERS, whose


def test_a_replayed_step_takes_no_more_calls_than_it_did() -> None:
    calls, whose = per_step(calls_of_a_replay)
    assert calls <= MOST_CALLS_OF_A_REPLAYED_STEP, whose


def test_a_replayed_step_takes_no_more_memory_than_it_did() -> None:
    asyncio.run(bytes_of_a_replay(FEW))
    few, many = asyncio.run(bytes_of_a_replay(FEW)), asyncio.run(bytes_of_a_replay(MANY))
    assert (many - few) / (MANY - FEW) <= MOST_BYTES_OF_A_REPLAYED_STEP
