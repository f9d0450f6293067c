"""Steps, retries, sleeps, answers, children and chains."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from feature_programs import Program
from pyworkflow import (
    FatalError,
    HookAlreadyReceivedError,
    HookExpiredError,
    HookNotFoundError,
    RetryableError,
    cancel_workflow,
    continue_as_new,
    hook,
    resume_hook,
    sleep,
    start_child_workflow,
    step,
    workflow,
)
from pyworkflow_core.storage import StorageBackend

CRASHES = 1000


@step(name="basic.work", max_retries=0)
async def work(what: Any) -> Any:
    return what


@step(name="basic.threaded", max_retries=0)
def threaded(what: int) -> int:
    return 2 * what


@step(name="basic.stubborn", max_retries=5, retry_delay=3)
async def stubborn(what: str) -> str:
    from pyworkflow.engine.attempt import current_attempt

    attempt = current_attempt.get()
    assert attempt is not None
    if attempt.call.failures < 2:
        raise RetryableError("not yet")
    return what


@step(name="basic.hopeless")
async def hopeless() -> None:
    raise FatalError("no hope")


@workflow(name="basic.steps", max_recovery_attempts=CRASHES)
async def steps() -> Any:
    one = await work(1)
    many = await asyncio.gather(*(work(n) for n in range(5)), threaded(21))
    return one, many, await work({"same": (1, 2)})


@workflow(name="basic.retries", max_recovery_attempts=CRASHES)
async def retries() -> Any:
    value = await stubborn("at last")
    try:
        await hopeless()
    except FatalError as error:
        return value, str(error)


@workflow(name="basic.sleeps", max_recovery_attempts=CRASHES)
async def sleeps() -> Any:
    await sleep("10m")
    async with asyncio.TaskGroup() as group:
        slow = group.create_task(_after(60, "slow"))
        fast = group.create_task(_after(5, "fast"))
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(10):
            await sleep("1d")
    return slow.result(), fast.result()


async def _after(seconds: int, what: str) -> Any:
    await asyncio.sleep(seconds)
    return await work(what)


@workflow(name="basic.asks", max_recovery_attempts=CRASHES)
async def asks() -> Any:
    first, second = await asyncio.gather(hook("first"), hook("second", timeout="1d"))
    try:
        await hook("never", timeout=60)
    except HookExpiredError:
        return first, second, await work("in vain")


async def answer(storage: StorageBackend, run_id: str) -> None:
    for name in ("first", "second"):
        with contextlib.suppress(HookNotFoundError, HookAlreadyReceivedError, HookExpiredError):
            await resume_hook(f"{run_id}:{name}", {"answer": name}, storage=storage)


@workflow(name="basic.cancelled", max_recovery_attempts=CRASHES)
async def cancelled() -> None:
    try:
        await sleep("10d")
    finally:
        await work("cleaned up")


async def stop(storage: StorageBackend, run_id: str) -> None:
    await cancel_workflow(run_id, "enough", storage=storage)


@workflow(name="basic.child", max_recovery_attempts=CRASHES)
async def child(what: int) -> int:
    await sleep(what)
    return int(await work(what * 10))


@workflow(name="basic.children", max_recovery_attempts=CRASHES)
async def children() -> Any:
    handle = await start_child_workflow(child, 7, wait_for_completion=False)
    results = await asyncio.gather(*(start_child_workflow(child, n) for n in (1, 2)))
    return results, await handle.result()


@workflow(name="basic.chain", max_recovery_attempts=CRASHES)
async def chain(count: int, total: int) -> int:
    total += await start_child_workflow(child, count)
    if count < 3:
        continue_as_new(count + 1, total)
    return total


PROGRAMS = (
    Program("steps", steps, outcome=("completed", (1, [0, 1, 2, 3, 4, 42], {"same": (1, 2)}))),
    Program("retries", retries, outcome=("completed", ("at last", "no hope"))),
    Program("sleeps", sleeps, outcome=("completed", ("slow", "fast"))),
    Program(
        "asks",
        asks,
        outcome=("completed", ({"answer": "first"}, {"answer": "second"}, "in vain")),
        act=answer,
    ),
    Program("cancelled", cancelled, outcome=("cancelled", None), act=stop),
    Program("children", children, outcome=("completed", ([10, 20], 70))),
    Program("chain", chain, (1, 0), outcome=("completed", 60)),
)
