"""Programs with children and chains whose outcome does not depend on when their processes die."""

from __future__ import annotations

import asyncio
from typing import Any

from pyworkflow import (
    ChildWorkflowFailedError,
    ChildWorkflowHandle,
    FatalError,
    continue_as_new,
    hook,
    sleep,
    start_child_workflow,
    step,
    workflow,
)
from pyworkflow.definitions import WorkflowDefinition


@step(name="family.work", max_retries=0)
async def work(what: Any) -> Any:
    return what


@step(name="family.fail")
async def fail(what: str) -> None:
    raise FatalError(what)


@workflow(name="family.child", max_recovery_attempts=1000)
async def child(what: Any, seconds: int = 0) -> Any:
    try:
        if seconds:
            await sleep(seconds)
        return await work(what)
    except asyncio.CancelledError:
        await work("cleaned up")
        raise


@workflow(name="family.failing", max_recovery_attempts=1000)
async def failing(what: str) -> None:
    await fail(what)


@workflow(name="family.awaiting", max_recovery_attempts=1000)
async def awaiting() -> Any:
    one = await start_child_workflow(child, 1)
    return one, await asyncio.gather(*(start_child_workflow(child, n, n) for n in (2, 3)))


@workflow(name="family.with_a_handle", max_recovery_attempts=1000)
async def with_a_handle() -> Any:
    handle = await start_child_workflow(child, "c", 5, wait_for_completion=False)
    before = await handle.get_status()
    await work("meanwhile")
    return str(before), await handle.result(), await handle.is_terminal()


@workflow(name="family.catching", max_recovery_attempts=1000)
async def catching() -> Any:
    try:
        await start_child_workflow(failing, "no luck")
    except ChildWorkflowFailedError as error:
        return error.error_type, error.error, type(error.__cause__).__name__, error.child_workflow_name
    return "nothing"


@workflow(name="family.not_catching", max_recovery_attempts=1000)
async def not_catching() -> Any:
    await start_child_workflow(child, 1, 3600, wait_for_completion=False)
    await start_child_workflow(failing, "no luck")


@workflow(name="family.cancelling", max_recovery_attempts=1000)
async def cancelling() -> Any:
    handle = await start_child_workflow(child, 1, 3600, wait_for_completion=False)
    await sleep(5)
    asked = await handle.cancel("no longer needed")
    try:
        await handle.result()
    except ChildWorkflowFailedError as error:
        return asked, error.error_type, error.error, str(await handle.get_status()), await handle.cancel()
    return "nothing"


@workflow(name="family.abandoning", max_recovery_attempts=1000)
async def abandoning() -> Any:
    await start_child_workflow(child, 1, 10, wait_for_completion=False, parent_close_policy="abandon")
    return "gone"


@workflow(name="family.closing", max_recovery_attempts=1000)
async def closing() -> Any:
    await start_child_workflow(nesting, 1, wait_for_completion=False)
    await sleep(600)
    return "gone"


@workflow(name="family.nesting", max_recovery_attempts=1000)
async def nesting(what: Any) -> Any:
    return await start_child_workflow(child, what, 3600)


@workflow(name="family.giving_up", max_recovery_attempts=1000)
async def giving_up() -> Any:
    try:
        async with asyncio.timeout(5):
            await start_child_workflow(child, 1, 3600)
    except TimeoutError:
        return await work("too late")
    return "nothing"


@step(name="family.step_with_children", max_retries=0)
async def step_with_children() -> tuple[Any, ChildWorkflowHandle]:
    handle = await start_child_workflow(child, "handed on", 3, wait_for_completion=False)
    return await start_child_workflow(child, "awaited"), handle


@workflow(name="family.through_a_step", max_recovery_attempts=1000)
async def through_a_step() -> Any:
    awaited, handle = await step_with_children()
    return awaited, await handle.result()


@workflow(name="family.counting", max_recovery_attempts=1000)
async def counting(left: int = 2, total: int = 0) -> Any:
    total += await work(left)
    if left:
        continue_as_new(left - 1, total=total)
    return total


@workflow(name="family.waiting_for_a_chain", max_recovery_attempts=1000)
async def waiting_for_a_chain() -> Any:
    return await start_child_workflow(counting, 2)


@workflow(name="family.handing_on", max_recovery_attempts=1000)
async def handing_on(handles: tuple[ChildWorkflowHandle, ...] = ()) -> Any:
    if not handles:
        slow = await start_child_workflow(child, "slow", 10, wait_for_completion=False)
        quick = await start_child_workflow(child, "quick", wait_for_completion=False)
        await quick.result()
        continue_as_new((slow, quick))
    return [await handle.result() for handle in handles]


@workflow(name="family.asking", max_recovery_attempts=1000)
async def asking(asked: bool = False) -> Any:
    answer = asyncio.create_task(hook("approval"))  # type: ignore[arg-type]
    await sleep(1)
    if not asked:
        continue_as_new(True)
    return await answer


PROGRAMS: list[WorkflowDefinition[Any, Any]] = [
    awaiting,
    with_a_handle,
    catching,
    not_catching,
    cancelling,
    abandoning,
    closing,
    giving_up,
    through_a_step,
    counting,
    waiting_for_a_chain,
    handing_on,
    asking,
]
