"""Workflows of queues with limits, and what they saw: how many were at work at once, and of which key."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from pyworkflow import sleep, step, workflow
from pyworkflow.engine.clock import wait_until
from pyworkflow.engine.engine import Engine

at_work: Counter[str] = Counter()
most: Counter[str] = Counter()
begun: list[tuple[Any, int]] = []
engines: list[Engine] = []


def forget() -> None:
    """Begin to look anew."""
    for seen in (at_work, most):
        seen.clear()
    begun.clear()
    engines.clear()


@step(name="limited.work", max_retries=0)
async def work(what: Any, key: str = "", seconds: float = 1.0) -> Any:
    clock = engines[-1].clock
    begun.append((what, clock.now()))
    keys = ["", key] if key else [""]
    for one in keys:
        at_work[one] += 1
        most[one] = max(most[one], at_work[one])
    try:
        await wait_until(clock, clock.now() + int(seconds * 1_000_000))
    finally:
        for one in keys:
            at_work[one] -= 1
    return what


@workflow(name="limited.works", max_recovery_attempts=1000)
async def works(what: Any, key: str = "", seconds: float = 1.0) -> Any:
    return await work(what, key, seconds)


@workflow(name="limited.rests", max_recovery_attempts=1000)
async def rests(what: Any) -> Any:
    first = await work(what)
    await sleep(60)
    await asyncio.sleep(0)
    return [first, await work(what)]
