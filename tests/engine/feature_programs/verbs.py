"""The operator's verbs: runs that fail, or are cancelled, are retried until they have completed."""

from __future__ import annotations

import contextlib
from typing import Any

from feature_programs import Program
from pyworkflow import (
    FatalError,
    HookAlreadyReceivedError,
    HookExpiredError,
    HookNotFoundError,
    RetryRefusedError,
    RunStatus,
    cancel_workflow,
    get_workflow_run_by_idempotency_key,
    hook,
    resume_hook,
    retry_workflow,
    sleep,
    start,
    start_child_workflow,
    step,
    workflow,
)
from pyworkflow.engine.attempt import current_attempt
from pyworkflow_core.storage import StorageBackend


@step(name="verbs.work", max_retries=0)
async def work(what: Any) -> Any:
    return what


@step(name="verbs.fail_once", max_retries=0)
async def fail_once(what: Any) -> Any:
    attempt = current_attempt.get()
    assert attempt is not None
    if attempt.call.attempt == 1:
        raise FatalError(f"{what} fails the first time")
    return what


@workflow(name="verbs.failing", max_recovery_attempts=1000)
async def failing() -> Any:
    return [await work("a"), await fail_once("b"), await work("c")]


@workflow(name="verbs.failing_child", max_recovery_attempts=1000)
async def failing_child(what: Any) -> Any:
    return [await work(what), await fail_once(what)]


@workflow(name="verbs.slow_child", max_recovery_attempts=1000)
async def slow_child() -> Any:
    await sleep(1)
    return await work("slow")


@workflow(name="verbs.family", max_recovery_attempts=1000)
async def family() -> Any:
    handle = await start_child_workflow(slow_child, wait_for_completion=False)
    return [
        await start_child_workflow(failing_child, "child"),
        await handle.result(),
        await fail_once("self"),
    ]


@workflow(name="verbs.patient", max_recovery_attempts=1000)
async def patient() -> Any:
    return [await work("before"), await hook("answer")]


@workflow(name="verbs.operated", max_recovery_attempts=1000)
async def operated() -> Any:
    """What the operator sees to meanwhile are runs of their own."""
    return await hook("done")


async def see_to_it(storage: StorageBackend, run_id: str) -> None:
    """Start three runs, retry them when they have ended otherwise than completed, and report."""
    results = []
    for order in (failing, family, patient):
        key = f"{run_id} {order.name}"
        await start(order, storage=storage, queue="default", idempotency_key=key)
        run = await get_workflow_run_by_idempotency_key(key, storage)
        assert run is not None
        if run.status in {RunStatus.FAILED, RunStatus.CANCELLED}:
            with contextlib.suppress(RetryRefusedError):
                await retry_workflow(run.run_id, storage=storage)
        elif order is patient and run.status is RunStatus.SUSPENDED and run.wake_at is None:
            await cancel_once(storage, run.run_id)
        results.append(run.result)
    if all(results):
        with contextlib.suppress(HookNotFoundError, HookAlreadyReceivedError, HookExpiredError):
            await resume_hook(f"{run_id}:done", results, storage=storage)


async def cancel_once(storage: StorageBackend, run_id: str) -> None:
    """Cancel a run that waits; the next time, answer it."""
    if any(event.type == "run_reopened" for event in await storage.read(run_id)):
        with contextlib.suppress(HookNotFoundError, HookAlreadyReceivedError, HookExpiredError):
            await resume_hook(f"{run_id}:answer", "yes", storage=storage)
    else:
        await cancel_workflow(run_id, storage=storage)


RESULT = [["a", "b", "c"], [["child", "child"], "slow", "self"], ["before", "yes"]]
PROGRAMS = (Program("operated", operated, outcome=(RunStatus.COMPLETED, RESULT), act=see_to_it),)
