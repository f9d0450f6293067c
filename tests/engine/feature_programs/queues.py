"""Queues with limits, deduplication ids, starts that are put off."""

from __future__ import annotations

import asyncio
from typing import Any

from feature_programs import Program
from pyworkflow import (
    DeduplicationError,
    RetryableError,
    Worker,
    cancel_workflow,
    configure_queue,
    get_workflow_run_by_idempotency_key,
    sleep,
    start,
    step,
    workflow,
)
from pyworkflow.engine.attempt import current_attempt
from pyworkflow.engine.engine import Engine

CRASHES = 1000
QUEUE = "queues.limited"


def engine_here() -> Engine:
    attempt = current_attempt.get()
    assert attempt is not None
    return attempt.engine


@step(name="queues.part", max_retries=0)
async def part(n: int) -> int:
    await asyncio.sleep(0)
    return n


@workflow(name="queues.counted", max_recovery_attempts=CRASHES)
async def counted(n: int) -> int:
    return await part(n) + await part(10 * n)


@step(name="queues.work_off", max_retries=CRASHES, retry_delay=40)
async def work_off(keys: list[str]) -> list[Any]:
    """Enqueue runs, and let a worker drive them within the limits of their queue."""
    engine = engine_here()
    storage = engine.storage
    for n, key in enumerate(keys):
        under = {"queue": QUEUE, "idempotency_key": key, "concurrency_key": "ab"[n % 2]}
        await start(counted, n, storage=storage, priority=n, **under)  # type: ignore[arg-type]
    configure_queue(QUEUE, concurrency=2, per_key_concurrency=1, rate_limit=(100, "1s"))
    try:
        await Worker(storage, queues=[QUEUE], engine=engine, once=True).run()
    finally:
        configure_queue(QUEUE)
    runs = [await get_workflow_run_by_idempotency_key(key, storage) for key in keys]
    if not all(run is not None and run.status.is_terminal for run in runs):
        raise RetryableError("somebody who died holds one of them")
    return [run.result for run in runs if run is not None]


@workflow(name="queues.limited", max_recovery_attempts=CRASHES)
async def limited() -> Any:
    return await work_off([f"queues.limited.{n}" for n in range(4)])


@step(name="queues.deduplicate", max_retries=0)
async def deduplicate() -> list[str]:
    """Start under one id again and again; only one run that goes on has it."""
    storage = engine_here().storage
    said = []
    for _ in range(3):
        under: dict[str, Any] = {"delay": "100d", "deduplication_id": "one"}
        try:
            await start(counted, 1, storage=storage, **under)
        except DeduplicationError as left:  # by an attempt that was killed here
            await cancel_workflow(left.run_id, storage=storage)
            await start(counted, 1, storage=storage, **under)
        try:
            await start(counted, 1, storage=storage, **under)
        except DeduplicationError as taken:
            said.append("taken")
            await cancel_workflow(taken.run_id, storage=storage)
    return said


@workflow(name="queues.deduplicated", max_recovery_attempts=CRASHES)
async def deduplicated() -> Any:
    return await deduplicate()


@step(name="queues.put_one_off", max_retries=0)
async def put_one_off(key: str) -> None:
    await start(counted, 7, storage=engine_here().storage, delay="1h", idempotency_key=key)


@step(name="queues.look", max_retries=0)
async def look(key: str) -> str:
    run = await get_workflow_run_by_idempotency_key(key, engine_here().storage)
    assert run is not None
    return f"{run.status}: {run.result}"


@workflow(name="queues.put_off", max_recovery_attempts=CRASHES)
async def put_off() -> Any:
    await put_one_off("queues.put_off.one")
    before = await look("queues.put_off.one")
    await sleep("2h")
    return before, await look("queues.put_off.one")


PROGRAMS = (
    Program("queues.limited", limited, outcome=("completed", [0, 11, 22, 33]), in_numbers=False),
    Program("queues.deduplicated", deduplicated, outcome=("completed", ["taken"] * 3), in_numbers=False),
    Program(
        "queues.put_off", put_off, outcome=("completed", ("pending: None", "completed: 77")), in_numbers=False
    ),
)
