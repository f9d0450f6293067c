"""Fixed programs whose work is counted. A log names the lines of its calls, so that moving one may count."""

from __future__ import annotations

import asyncio

from pyworkflow import hook, sleep, start_child_workflow, step, workflow


@step(name="counts.small")
async def small(number: int) -> int:
    return number


@workflow(name="counts.sequence")
async def sequence(steps: int) -> int:
    for number in range(steps):
        await small(number)
    return steps


@workflow(name="counts.at_once")
async def at_once(steps: int) -> int:
    return len(await asyncio.gather(*[small(number) for number in range(steps)]))


@workflow(name="counts.sleeps")
async def sleeps(steps: int) -> None:
    for number in range(steps):
        await small(number)
    await sleep("1h")


@workflow(name="counts.asks")
async def asks() -> object:
    return await hook("approval")


@workflow(name="counts.much_to_replay")
async def much_to_replay(gathers: int) -> None:
    for _ in range(gathers):
        await asyncio.gather(*[small(number) for number in range(100)])
    await sleep("1h")
    await sleep("1h")


@workflow(name="counts.parent")
async def parent() -> object:
    return await start_child_workflow(sequence, 0)
