"""Random workflow programs: small trees, the strategy that draws them, one workflow that runs them.

A program's *value* does not depend on time, on who won a race or on a crash, so that it can be
compared between executions. Its *trace* does; it is compared between a run and its replay.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from pyworkflow import (
    ChildWorkflowFailedError,
    FatalError,
    HookExpiredError,
    hook,
    shield,
    sleep,
    start_child_workflow,
    step,
    workflow,
)
from pyworkflow.engine.clock import VirtualClock, wait_until

Node = list[Any]
SECOND = 1_000_000


class World:
    """What is outside the workflow, and survives the death of its process.

    Attributes:
        clock: everybody's time.
        executions: places of the steps that were executed, in order.
        completed: places whose completion is in the log.
        again: places that were executed although their completion was in the log.
        outside: called with each place that is executed.
        quick: places of steps that are executed once, unless something happens.
    """

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.executions: list[str] = []
        self.completed: set[str] = set()
        self.again: list[str] = []
        self.outside: Callable[[str], object] | None = None
        self.quick: set[str] = set()

    def execute(self, place: str) -> int:
        """Note an execution; how many there have been of this place."""
        if place in self.completed:
            self.again.append(place)
        self.executions.append(place)
        if self.outside is not None:
            self.outside(place)
        return self.executions.count(place)


world: contextvars.ContextVar[World] = contextvars.ContextVar("world")


@step(name="programs.quick")
async def quick(place: str) -> str:
    here = world.get()
    here.quick.add(place)
    here.execute(place)
    await asyncio.sleep(0)
    return place


@step(name="programs.slow", max_retries=0)
async def slow(place: str, seconds: int) -> str:
    here = world.get()
    here.execute(place)
    await wait_until(here.clock, here.clock.now() + seconds * SECOND)
    return place


@step(name="programs.flaky", max_retries=3, retry_delay=["1s", "3s"])
async def flaky(place: str, failures: int) -> str:
    if world.get().execute(place) <= failures:
        raise ValueError(f"{place} fails a few times")
    return place


@step(name="programs.fatal")
async def fatal(place: str) -> str:
    world.get().execute(place)
    raise FatalError("it cannot be done")


async def _in_parallel(children: list[Node], place: str, trace: list[str]) -> Any:
    parts = [_run(child, f"{place}.{i}", trace) for i, child in enumerate(children)]
    return await asyncio.gather(*parts)


async def _in_group(children: list[Node], place: str, trace: list[str]) -> Any:
    tasks = []
    try:
        async with asyncio.TaskGroup() as group:
            for i, child in enumerate(children):
                tasks.append(group.create_task(_run(child, f"{place}.{i}", trace)))
    except* FatalError:
        raise FatalError("it cannot be done") from None
    return [task.result() for task in tasks]


async def _racing(children: list[Node], place: str, trace: list[str]) -> Any:
    tasks = [asyncio.create_task(_run(c, f"{place}.{i}", trace)) for i, c in enumerate(children)]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    trace.append(f"{place} {[tasks.index(task) for task in done]}")
    for task in pending:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return len(children)


async def _within(seconds: int, child: Node, place: str, trace: list[str]) -> Any:
    try:
        async with asyncio.timeout(seconds):
            await _run(child, f"{place}.0", trace)
    except (TimeoutError, FatalError) as error:
        trace.append(f"{place} {type(error).__name__}")
    return "within"


async def _asking(timeout: int | None, place: str, trace: list[str]) -> Any:
    try:
        trace.append(f"{place} {await hook('ask', timeout=timeout)}")
    except HookExpiredError:
        trace.append(f"{place} expired")
    return "asked"


async def _as_child(child: Node, place: str, trace: list[str], *, wait: bool) -> Any:
    if place.count("c") == 3:  # as deep as children go
        return await _run(child, f"{place}.0", trace)
    try:
        found = await start_child_workflow(interpret, child, f"{place}c", wait_for_completion=wait)
        return (found if wait else await found.result())["value"]
    except ChildWorkflowFailedError as error:
        if error.error_type == "FatalError":
            raise FatalError("it cannot be done") from None
        raise


async def _run(node: Node, place: str, trace: list[str]) -> Any:
    value = await _RUN[node[0]](node[1:], place, trace)
    trace.append(place)
    return value


async def _caught(child: Node, place: str, trace: list[str]) -> Any:
    try:
        return await _run(child, f"{place}.0", trace)
    except FatalError:
        return "caught"


async def _shielded(child: Node, place: str, trace: list[str]) -> Any:
    async with shield():
        return await _run(child, f"{place}.0", trace)


async def _in_order(children: list[Node], place: str, trace: list[str]) -> Any:
    return [await _run(child, f"{place}.{i}", trace) for i, child in enumerate(children)]


_RUN: dict[str, Callable[[list[Any], str, list[str]], Any]] = {
    "quick": lambda rest, place, trace: quick(place),
    "slow": lambda rest, place, trace: slow(place, rest[0]),
    "flaky": lambda rest, place, trace: flaky(place, rest[0]),
    "fatal": lambda rest, place, trace: fatal(place),
    "sleep": lambda rest, place, trace: sleep(rest[0]),
    "asyncio.sleep": lambda rest, place, trace: asyncio.sleep(rest[0]),
    "hook": lambda rest, place, trace: _asking(rest[0], place, trace),
    "order": lambda rest, place, trace: _in_order(rest, place, trace),  # noqa: PLW0108
    "gather": lambda rest, place, trace: _in_parallel(rest, place, trace),  # noqa: PLW0108
    "group": lambda rest, place, trace: _in_group(rest, place, trace),  # noqa: PLW0108
    "race": lambda rest, place, trace: _racing(rest, place, trace),  # noqa: PLW0108
    "timeout": lambda rest, place, trace: _within(rest[0], rest[1], place, trace),
    "catch": lambda rest, place, trace: _caught(rest[0], place, trace),
    "shield": lambda rest, place, trace: _shielded(rest[0], place, trace),
    "child": lambda rest, place, trace: _as_child(rest[0], place, trace, wait=True),
    "handle": lambda rest, place, trace: _as_child(rest[0], place, trace, wait=False),
}


@workflow(name="programs.interpret", max_recovery_attempts=1000)
async def interpret(program: Node, place: str = "0") -> dict[str, Any]:
    trace: list[str] = []
    return {"value": await _run(program, place, trace), "trace": trace}


_leaves = st.one_of(
    st.just(["quick"]),
    st.integers(1, 5).map(lambda n: ["slow", n]),
    st.integers(1, 3).map(lambda n: ["flaky", n]),
    st.just(["fatal"]),
    st.integers(0, 5).map(lambda n: ["sleep", n]),
    st.integers(0, 5).map(lambda n: ["asyncio.sleep", n]),
    st.sampled_from([None, 2, 60]).map(lambda n: ["hook", n]),
)


def _grow(children: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    some = st.lists(children, min_size=1, max_size=4)
    return st.one_of(
        some.map(lambda c: ["order", *c]),
        some.map(lambda c: ["gather", *c]),
        some.map(lambda c: ["group", *c]),
        some.map(lambda c: ["race", *c]),
        st.tuples(st.integers(0, 4), children).map(lambda c: ["timeout", *c]),
        children.map(lambda c: ["catch", c]),
        children.map(lambda c: ["shield", c]),
    )


programs: st.SearchStrategy[Node] = st.recursive(_leaves, _grow, max_leaves=7)


def _grow_families(children: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    kinds = st.sampled_from(["child", "handle"])
    return st.one_of(_grow(children), st.tuples(kinds, children).map(list))


families: st.SearchStrategy[Node] = st.recursive(_leaves, _grow_families, max_leaves=6)
"""Programs whose parts may be children."""
