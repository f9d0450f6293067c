"""Hooks that a step waits for, in whatever attempt."""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import sys
from typing import Any

import pytest

from pyworkflow import (
    FatalError,
    HookAlreadyReceivedError,
    HookExpiredError,
    StepOutsideWorkflowError,
    hook,
    list_hooks,
    resume,
    resume_hook,
    start,
    step,
    step_hook,
    step_hook_blocking,
    step_info,
    workflow,
)
from pyworkflow.engine.entries import Entries
from pyworkflow_core.replay import Machine
from pyworkflow_core.storage import StorageBackend

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from in_step_runs import checked, result_of, simulated

sys.path.pop(0)


async def _open_hook(storage: StorageBackend) -> Any:
    """The first hook that is open, once there is one."""
    while True:
        found = await list_hooks(storage=storage)
        if found:
            return found[0]
        await asyncio.sleep(0)


@pytest.mark.parametrize("kind", ["async", "def"])
def test_a_step_waits_for_an_answer_from_outside(kind: str) -> None:
    told: list[str] = []

    @step(name="inside.asking")
    async def asking() -> Any:
        return await step_hook("approval", on_created=told.append, payload_schema=int)

    @step(name="inside.asking_in_a_thread")
    def asking_in_a_thread() -> Any:
        return step_hook_blocking("approval", on_created=told.append, payload_schema=int)

    @workflow(name="inside.asked")
    async def asked() -> Any:
        return await asyncio.gather(asking() if kind == "async" else asking_in_a_thread(), hook("approval"))

    async def main() -> None:
        storage, _, _ = simulated()
        task = asyncio.create_task(start(asked, storage=storage))
        while not told:
            await asyncio.sleep(0)
        waiting = {h.hook_id: h for h in await list_hooks(storage=storage)}
        name = "inside.asking" if kind == "async" else "inside.asking_in_a_thread"
        assert set(waiting) == {"approval#1", f"{name}#1/approval#1"}
        mine = waiting[f"{name}#1/approval#1"]
        assert told == [mine.token]
        with pytest.raises(ValueError, match="fit"):
            await resume_hook(mine.token, "yes", storage=storage)
        result = await resume_hook(f"{mine.run_id}:{name}#1/approval", 5, storage=storage)
        assert result.hook_id == f"{name}#1/approval#1"
        with pytest.raises(HookAlreadyReceivedError):
            await resume_hook(mine.token, 6, storage=storage)
        await task
        await resume_hook(f"{mine.run_id}:approval", "other", storage=storage)
        assert await resume(mine.run_id, storage=storage) == [5, "other"]
        await checked(storage, mine.run_id)

    asyncio.run(main())


def test_a_further_attempt_finds_the_same_hook_answered_or_not() -> None:
    told: list[str] = []

    @step(name="inside.patient", retry_delay=0)
    async def patient() -> Any:
        attempt = step_info().attempt
        if attempt == 1:
            async with asyncio.timeout(0.001):
                await step_hook("a", on_created=told.append)
        first = await step_hook("a", on_created=told.append)
        if attempt == 2:
            raise OSError
        return [first, await step_hook("a"), await step_hook("b")]

    @workflow(name="inside.patience")
    async def patience() -> Any:
        return await patient()

    async def main() -> None:
        storage, _, _ = simulated()
        task = asyncio.create_task(start(patience, storage=storage))
        while len(told) < 2:
            await asyncio.sleep(0)
        assert told[0] == told[1]
        for answer in (1, 2, 3):
            await resume_hook((await _open_hook(storage)).token, answer, storage=storage)
        run_id = await task
        assert await result_of(storage, run_id) == [1, 2, 3]
        assert len(told) == 2

    asyncio.run(main())


def test_a_hook_in_a_step_expires_and_is_closed_when_the_step_has_ended() -> None:
    @step(name="inside.hasty")
    async def hasty() -> Any:
        try:
            return await step_hook("soon", timeout="1h")
        except HookExpiredError as error:
            return str(error)

    @step(name="inside.leaving")
    async def leaving() -> None:
        task = asyncio.create_task(step_hook("left"))
        (_, pending) = await asyncio.wait([task], timeout=0.001)
        for one in pending:
            one.cancel()
        raise FatalError

    @workflow(name="inside.expiring")
    async def expiring() -> Any:
        found = await hasty()
        with contextlib.suppress(FatalError):
            await leaving()
        await hook("end")
        return found

    async def main() -> None:
        storage, _, _ = simulated(auto=True)
        run_id = await start(expiring, storage=storage)
        statuses = {h.name: h.status for h in await list_hooks(run_id, only_open=False, storage=storage)}
        assert statuses == {"soon": "expired", "left": "disposed", "end": "open"}
        for name in ("inside.hasty#1/soon", "inside.leaving#1/left"):
            with pytest.raises(HookExpiredError):
                await resume_hook(f"{run_id}:{name}", 1, storage=storage)
        await resume_hook(f"{run_id}:end", 1, storage=storage)
        await resume(run_id, storage=storage)
        assert (
            await result_of(storage, run_id) == "hook 'soon' of step 'inside.hasty#1' got no answer in time"
        )

    asyncio.run(main())


def test_a_hook_of_the_workflow_is_refused_in_a_step_which_has_one_of_its_own() -> None:
    @step(name="inside.confusing", max_retries=0)
    async def confusing() -> None:
        await hook("approval")

    @workflow(name="inside.confused")
    async def confused() -> None:
        await confusing()

    async def main() -> None:
        storage, _, _ = simulated()
        with pytest.raises(StepOutsideWorkflowError, match=r"elsewhere use step_hook\(…\), inside a step"):
            await start(confused, storage=storage)

    asyncio.run(main())


def test_a_wait_that_begins_while_the_drive_is_busy_is_news_until_it_was_looked_at() -> None:
    async def main() -> None:
        entries = Entries(lambda: None)
        waiting = asyncio.ensure_future(entries.end_of_hook(("step", 1), ("hook", 1)))
        await asyncio.sleep(0)
        assert entries.has_news
        entries.grant(Machine("run", lambda started: asyncio.sleep(0)))
        assert not entries.has_news
        entries.close()
        await asyncio.wait([waiting])
        assert waiting.cancelled()

    asyncio.run(main())
