"""`patched`: code that changes while its runs are under way."""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import sys
from typing import Any

import pytest

from pyworkflow import (
    InMemoryStorageBackend,
    NonDeterminismError,
    StepOutsideWorkflowError,
    WorkflowDefinition,
    get_workflow_run,
    hook,
    patched,
    resume,
    resume_hook,
    sleep,
    start,
    step,
    workflow,
)
from pyworkflow.definitions import _workflows
from pyworkflow.engine.clock import VirtualClock
from pyworkflow_core.errors import InvalidIdError
from pyworkflow_core.payloads import PatchApplied
from pyworkflow_core.storage import StorageBackend

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from families import outcomes, work_off
from simulated_runs import finish, log_of, make_engine, recorded, replay, take_up
from storage_wrappers import NOISE, DisturbedStorage, Killed, KillingStorage, append_from_outside

sys.path.pop(0)


@step(name="patches.do")
async def do(what: Any) -> Any:
    return what


def patches_in(history: list[Any]) -> list[str]:
    return [e.data.patch for e in history if isinstance(e.data, PatchApplied)]


def shop(body: Any) -> WorkflowDefinition[Any, Any]:
    """The workflow as some deployment has it."""
    _workflows.pop("patches.shop", None)
    return workflow(name="patches.shop")(body)


async def old() -> Any:
    one = await do("pay")
    answer = await hook("approval")
    return one, answer, await do("ship")


async def new() -> Any:
    checked = patched("check") and await do("check")
    one = await do("pay")
    answer = await hook("approval")
    told = patched("tell") and await do("tell")
    return checked, one, answer, told, await do("ship")


def test_a_run_takes_the_new_way_only_where_it_had_not_gone_past_the_change() -> None:
    async def main() -> None:
        storage = InMemoryStorageBackend()
        run_id = await start(shop(old), storage=storage)
        shop(new)
        await resume_hook(f"{run_id}:approval", "yes", storage=storage)
        assert await resume(run_id, storage=storage) == (False, "pay", "yes", "tell", "ship")
        assert patches_in(await log_of(storage, run_id)) == ["tell"]
        fresh = await start(shop(new), storage=storage)
        await resume_hook(f"{fresh}:approval", "yes", storage=storage)
        assert await resume(fresh, storage=storage) == ("check", "pay", "yes", "tell", "ship")
        assert patches_in(await log_of(storage, fresh)) == ["check", "tell"]
        for each in (run_id, fresh):
            history = await log_of(storage, each)
            assert replay(history) == recorded(history)

    asyncio.run(main())


# Once no run is left that went past a change on the old way, the question may go.
async def without_questions() -> Any:
    checked = await do("check")
    one = await do("pay")
    answer = await hook("approval")
    return checked, one, answer, await do("tell"), await do("ship")


async def asked_in_another_order() -> Any:
    tell, check = patched("tell"), patched("check")
    checked = check and await do("check")
    one = await do("pay")
    answer = await hook("approval")
    return checked, one, answer, patched("tell") and tell and await do("tell"), await do("ship")


@pytest.mark.parametrize("later", [without_questions, new])
def test_a_patched_run_goes_on_on_code_that_no_longer_asks(later: Any) -> None:
    async def main() -> None:
        storage = InMemoryStorageBackend()
        run_id = await start(shop(new), storage=storage)
        shop(later)
        await resume_hook(f"{run_id}:approval", "yes", storage=storage)
        assert await resume(run_id, storage=storage) == ("check", "pay", "yes", "tell", "ship")

    asyncio.run(main())


def test_an_answer_holds_wherever_the_code_asks_again() -> None:
    async def first() -> Any:
        found = []
        for _ in range(2):
            found.append(await do(1))
            await hook("more")
        return found

    async def then() -> Any:
        found = []
        for _ in range(2):
            found.append(await do(2 if patched("other number") else 1))
            await hook("more")
        return found, patched("other number"), patched("a later change")

    async def main() -> None:
        storage = InMemoryStorageBackend()
        run_id = await start(shop(first), storage=storage)
        shop(then)
        await resume_hook(f"{run_id}:more", 1, storage=storage)
        assert await resume(run_id, storage=storage) is None
        await resume_hook(f"{run_id}:more#2", 1, storage=storage)
        assert await resume(run_id, storage=storage) == ([1, 1], False, True)

    asyncio.run(main())


def test_a_question_that_only_older_code_asked_for_more_does_not_hide_a_change() -> None:
    async def main() -> None:
        storage = InMemoryStorageBackend()
        run_id = await start(shop(old), storage=storage)
        shop(without_questions)
        await resume_hook(f"{run_id}:approval", "yes", storage=storage)
        with pytest.raises(NonDeterminismError) as raised:
            await resume(run_id, storage=storage)
        assert raised.value.sequence == 2
        shop(new)
        assert await resume(run_id, storage=storage) == (False, "pay", "yes", "tell", "ship")

    asyncio.run(main())


@pytest.mark.parametrize("where", ["before it began", "while it sleeps"])
def test_what_nobody_has_done_as_yet_is_done_the_new_way(where: str) -> None:
    async def before() -> Any:
        await sleep(60)
        return await do("old")

    async def after() -> Any:
        if where == "before it began":
            await do("new" if patched("at once") else "old")
        await sleep(60)
        return await do("new" if patched("later") else "old")

    async def main() -> None:
        storage, clock = InMemoryStorageBackend(), VirtualClock(auto=True)
        engine = make_engine(storage, clock)
        run_id = await start(shop(before), storage=storage, queue="q")
        if where == "while it sleeps":
            await take_up(engine, run_id)
        shop(after)
        await work_off(engine, clock)
        assert await resume(run_id, storage=storage) == "new"
        await outcomes(storage)

    asyncio.run(main())


def test_a_conflict_at_any_append_changes_no_answer() -> None:
    async def calm(storage: StorageBackend) -> list[str]:
        clock = VirtualClock(auto=True)
        engine = make_engine(storage, clock, 3)
        await start(shop(new), storage=storage, queue="q")
        await work_off(engine, clock)
        return await outcomes(storage)

    async def main() -> None:
        expected = await calm(InMemoryStorageBackend())
        for n in range(2, 12):
            inner = InMemoryStorageBackend()
            outsider = make_engine(inner, VirtualClock(auto=True), 5)

            async def noise(run_id: str, outsider: Any = outsider) -> None:
                await append_from_outside(outsider.storage, run_id, NOISE, outsider.ids, outsider.clock.now())

            await calm(DisturbedStorage(inner, noise, lambda k, n=n: k == n))
            assert await outcomes(inner) == expected

    asyncio.run(main())


def test_wherever_old_code_was_stopped_new_code_takes_one_way_and_keeps_to_it() -> None:
    async def go(storage: StorageBackend, seed: int, body: Any) -> None:
        """A process that has this code, until it dies or the run has ended."""
        shop(body)
        clock = VirtualClock(1_700_000_000_000_000 + seed * 60_000_000)
        engine = make_engine(storage, clock, seed)
        with contextlib.suppress(Killed):
            if not await storage.list_runs():
                await start(_workflows["patches.shop"][None], storage=storage, idempotency_key="k", queue="q")
            for record in await storage.list_runs():
                await finish(engine, clock, record.run_id)

    async def main() -> None:
        found = set()
        for n in range(1, 9):
            for m in range(1, 9):
                storage = InMemoryStorageBackend()
                await go(KillingStorage(storage, n, acknowledged=n % 2 == 0), 1, old)
                await go(KillingStorage(storage, m, acknowledged=m % 2 == 0), 2, new)
                await go(storage, 3, new)
                (record,) = await storage.list_runs()
                history = await log_of(storage, record.run_id)
                run = await get_workflow_run(record.run_id, storage=storage)
                assert run is not None
                if len(run.result) == 5:  # it was not the old code that ended it
                    assert replay(history, run=record) == recorded(history), (n, m)
                patches = patches_in(history)
                assert len(set(patches)) == len(patches)
                found.add(tuple(patches))
        assert found == {(), ("tell",), ("check", "tell")}

    asyncio.run(main())


def test_patched_is_for_workflows_and_takes_a_name() -> None:
    @step
    async def asking() -> None:
        patched("x")

    @workflow
    async def in_a_step() -> None:
        await asking()

    @workflow
    async def without_a_name() -> None:
        patched("")

    async def main() -> None:
        with pytest.raises(StepOutsideWorkflowError, match=r"patched\(\) was called outside a workflow"):
            patched("x")
        with pytest.raises(StepOutsideWorkflowError):
            await start(in_a_step, storage=InMemoryStorageBackend(), wait=True)
        with pytest.raises(InvalidIdError, match="name of a change is empty"):
            await start(without_a_name, storage=InMemoryStorageBackend())

    asyncio.run(main())
