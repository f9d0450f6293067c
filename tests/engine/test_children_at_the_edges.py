"""Children at the edges: what is refused, large ones, changed code, nobody to run them."""

from __future__ import annotations

import asyncio
import pathlib
import sys
from typing import Any

import pytest

from pyworkflow import (
    ChildWorkflowError,
    ChildWorkflowFailedError,
    ChildWorkflowHandle,
    ConfigurationError,
    InMemoryStorageBackend,
    NonDeterminismError,
    StepOutsideWorkflowError,
    UnserializableValueError,
    Worker,
    cancel_workflow,
    list_workflow_runs,
    resume,
    sleep,
    start,
    start_child_workflow,
    step,
    workflow,
)
from pyworkflow.engine.clock import VirtualClock
from pyworkflow.engine.engine import Engine
from pyworkflow_core.errors import LimitExceeded
from pyworkflow_core.storage import StorageBackend

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from simulated_runs import SECOND, make_engine
from storage_wrappers import Wrapper

sys.path.pop(0)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(auto=True)


@pytest.fixture
def storage() -> StorageBackend:
    return InMemoryStorageBackend()


@step(name="edges.double", max_retries=0)
async def double(n: int) -> int:
    return 2 * n


@workflow(name="edges.doubling")
async def doubling(n: int, seconds: float = 0) -> int:
    await sleep(seconds)
    return await double(n)


async def run(storage: StorageBackend, definition: Any, *args: Any) -> Any:
    """Start a workflow, wait for its end; what it returned."""
    run_id = await start(definition, *args, storage=storage, wait=True)
    return await resume(run_id, storage=storage)


def test_what_cannot_be_a_child_is_refused_where_it_is_called(
    storage: StorageBackend, clock: VirtualClock
) -> None:
    @workflow(name="edges.refused")
    async def parent() -> list[str]:
        found = []
        calls: list[tuple[Any, tuple[Any, ...], dict[str, Any]]] = [
            (double, (1,), {}),
            (doubling, (), {}),
            (doubling, (object(),), {}),
            (doubling, ("x" * (5 << 20),), {}),
            (doubling, (1,), {"parent_close_policy": "terminate"}),
            (doubling, (1,), {"queue": ""}),
        ]
        for definition, args, options in calls:
            try:
                await start_child_workflow(definition, *args, **options)
            except Exception as error:
                found.append(type(error).__name__)
        try:
            await ChildWorkflowHandle("run_x", "other").result()
        except ChildWorkflowError as error:
            found.append(str(error)[-40:])
        return found

    async def main() -> None:
        make_engine(storage, clock)
        refused = [ConfigurationError, TypeError, UnserializableValueError, LimitExceeded]
        expected = [error.__name__ for error in [*refused, ConfigurationError]]
        found = await run(storage, parent)
        assert found[:5] == expected
        assert found[5] == "InvalidIdError"
        assert "from a step" in found[6]
        with pytest.raises(StepOutsideWorkflowError, match="outside a workflow"):
            start_child_workflow(doubling, 1)

    asyncio.run(main())


def test_many_children_with_large_arguments_span_several_appends(
    storage: StorageBackend, clock: VirtualClock
) -> None:
    @workflow(name="edges.large")
    async def large(text: str) -> int:
        return len(text)

    @workflow(name="edges.parent_of_large")
    async def parent() -> int:
        texts = [chr(97 + n) * 1_000_000 for n in range(12)]
        return sum(await asyncio.gather(*(start_child_workflow(large, text) for text in texts)))

    async def main() -> None:
        make_engine(storage, clock)
        assert await run(storage, parent) == 12_000_000

    asyncio.run(main())


def test_a_pending_child_that_is_cancelled_tells_its_parent_without_any_worker(
    storage: StorageBackend, clock: VirtualClock
) -> None:
    @workflow(name="edges.pending")
    async def parent() -> str:
        try:
            await start_child_workflow(doubling, 1, queue="nobody serves it")
        except ChildWorkflowFailedError as error:
            return f"{error.error_type}: {error.error}"
        return "nothing"

    async def main() -> None:
        engine: Engine = make_engine(storage, clock)
        run_id = await start(parent, storage=storage)
        (child,) = await list_workflow_runs(parent_run_id=run_id, storage=storage)
        await cancel_workflow(child.run_id, "not today", storage=engine.storage)
        assert await resume(run_id, storage=storage) == "CancellationError: not today"

    asyncio.run(main())


@pytest.mark.parametrize(
    ("change", "what"), [("argument", "only the arguments"), ("call", "the call itself")]
)
def test_changed_code_does_not_get_the_child_of_the_old(
    storage: StorageBackend, clock: VirtualClock, change: str, what: str
) -> None:
    def version(new: bool) -> Any:
        @workflow(name="edges.changed")
        async def parent() -> Any:
            if new and change == "call":
                return await double(1)
            return await start_child_workflow(doubling, 2 if new else 1, 60)

        return parent

    async def main() -> None:
        make_engine(storage, clock)
        run_id = await start(version(False), storage=storage)
        (child,) = await list_workflow_runs(parent_run_id=run_id, storage=storage)
        version(True)
        clock.advance(60 * SECOND)
        with pytest.raises(NonDeterminismError, match=what):
            await resume(run_id, storage=storage)
        version(False)
        assert await resume(child.run_id, storage=storage) == 2
        assert await resume(run_id, storage=storage) == 2

    asyncio.run(main())


def test_a_child_begins_while_its_parent_is_busy_with_a_step(
    storage: StorageBackend, clock: VirtualClock
) -> None:
    begun = asyncio.Event()

    @step(name="edges.begin")
    async def begin() -> None:
        begun.set()

    @step(name="edges.wait_for_the_child", max_retries=0)
    async def wait_for_the_child() -> str:
        await begun.wait()
        return "it began"

    @workflow(name="edges.beginning")
    async def beginning() -> None:
        await begin()

    @workflow(name="edges.busy")
    async def busy() -> Any:
        handle = await start_child_workflow(beginning, wait_for_completion=False)
        return await wait_for_the_child(), await handle.result()

    async def main() -> None:
        make_engine(storage, clock)
        assert await run(storage, busy) == ("it began", None)

    asyncio.run(main())


def test_many_children_that_end_at_once_tell_their_parent_in_few_appends(
    storage: StorageBackend, clock: VirtualClock
) -> None:
    @workflow(name="edges.many")
    async def many() -> int:
        return sum(await asyncio.gather(*(start_child_workflow(doubling, n) for n in range(60))))

    async def main() -> None:
        counting = Wrapper(storage)
        engine = make_engine(counting, clock)
        run_id = await start(many, storage=counting, queue="q")
        await Worker(counting, engine=engine, once=True).run()
        assert await resume(run_id, storage=counting) == sum(2 * n for n in range(60))
        # A child takes several appends of its own; the news of it is hardly ever one by itself.
        events = await counting.read(run_id)
        told = [e.timestamp for e in events if e.type == "child_workflow_completed"]
        assert len(told) == 60
        assert counting.commits < 60 * 7

    asyncio.run(main())
