"""Cancellation and sagas: what a run does when it is to stop, or has failed."""

from __future__ import annotations

import asyncio
from typing import Any

from feature_programs import Program
from pyworkflow import (
    CancellationError,
    FatalError,
    cancel_workflow,
    compensate,
    hook,
    is_cancelled,
    saga,
    shield,
    sleep,
    start_child_workflow,
    step,
    workflow,
)
from pyworkflow.engine.history import envelopes_of
from pyworkflow_core.payloads import StepCompleted
from pyworkflow_core.storage import StorageBackend

CRASHES = 1000


@step(name="stopping.work", max_retries=0)
async def work(what: Any) -> Any:
    return what


@step(name="stopping.undo", max_retries=1, retry_delay=5)
async def undo(what: Any) -> Any:
    return f"not {what}"


@step(name="stopping.hopeless", max_retries=0)
async def hopeless(what: str) -> None:
    raise FatalError(what)


@workflow(name="stopping.tidy", max_recovery_attempts=CRASHES)
async def tidy() -> Any:
    await work("begun")
    try:
        await hook("never")
    except CancellationError as request:
        async with asyncio.timeout(60):
            await sleep(20)
        return request.reason, await asyncio.gather(work("clean"), work("up"))


@workflow(name="stopping.by_pages", max_recovery_attempts=CRASHES)
async def by_pages() -> Any:
    async with shield():
        await work("begun")
        while not is_cancelled():
            await asyncio.wait([asyncio.ensure_future(hook("more", timeout=30))])
        return await work("stopped at a good place")


@workflow(name="stopping.part", max_recovery_attempts=CRASHES)
async def part(what: str) -> None:
    compensate(undo, what)
    await work(what)
    await hook("never")


@workflow(name="stopping.of_parts", max_recovery_attempts=CRASHES)
async def of_parts() -> None:
    compensate(undo, "whole")
    await work("begun")
    await asyncio.gather(start_child_workflow(part, "one"), start_child_workflow(part, "two"))


@workflow(name="stopping.trip", max_recovery_attempts=CRASHES)
async def trip(ending: str) -> Any:
    for what in ("flight", "hotel"):
        compensate(undo, what)
        await work(what)
    compensate(hopeless, "a fee that nobody pays back")
    try:
        async with saga() as seats:
            seats.compensate(undo, "seat")
            await work("seat")
            await hopeless("taken")
    except FatalError:
        await work("begun")
    if ending == "cancelled":
        await hook("never")
    raise ValueError("no luck")


@workflow(name="stopping.paid", max_recovery_attempts=CRASHES)
async def paid() -> Any:
    for what in ("flight", "hotel"):
        compensate(undo, what)
        await work(what)
    await work("begun")
    await hook("never")


async def stop(storage: StorageBackend, run_id: str) -> None:
    """Ask it to stop once it is where it waits."""
    history = envelopes_of(await storage.read(run_id))
    if any(isinstance(e.data, StepCompleted) and bytes(e.data.result) == b'"begun"' for e in history):
        await cancel_workflow(run_id, "enough", storage=storage)


PROGRAMS = (
    Program("stopping_tidy", tidy, outcome=("completed", ("enough", ["clean", "up"])), act=stop),
    Program("stopping_by_pages", by_pages, outcome=("completed", "stopped at a good place"), act=stop),
    Program("stopping_of_parts", of_parts, outcome=("cancelled", None), act=stop),
    Program("saga_fails", trip, ("failed",), outcome=("failed", "ValueError: no luck")),
    # Its error names the run, of which there is another one each time.
    Program("saga_cannot", trip, ("cancelled",), act=stop, in_numbers=False),
    Program("saga_cancelled", paid, outcome=("cancelled", None), act=stop),
)
