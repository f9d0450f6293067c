"""Published state and queries: what is seen of a run from outside, and that looking changes nothing."""

from __future__ import annotations

import asyncio
import pathlib
import sys
from dataclasses import dataclass
from typing import Any

import pytest

from pyworkflow import (
    ConfigurationError,
    InMemoryStorageBackend,
    NonDeterminismError,
    QueryNotFoundError,
    StepOutsideWorkflowError,
    WorkflowNotFoundError,
    continue_as_new,
    get_step_context,
    get_workflow_run,
    get_workflow_state,
    hook,
    now,
    patched,
    publish,
    query,
    query_workflow,
    resume,
    resume_hook,
    set_step_context,
    sleep,
    start,
    step,
    workflow,
)
from pyworkflow.context import StepContext
from pyworkflow.definitions import _workflows
from pyworkflow.engine.clock import VirtualClock
from pyworkflow_core.codec import Opaque
from pyworkflow_core.errors import LimitExceeded, UnserializableValueError
from pyworkflow_core.payloads import StatePublished
from pyworkflow_core.storage import Limits

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from families import outcomes
from simulated_runs import log_of, make_engine
from storage_wrappers import Wrapper

sys.path.pop(0)

EXECUTED: list[Any] = []


@dataclass(frozen=True)
class Progress:
    done: int
    of: int


@step(name="queries.do")
async def do(what: Any) -> Any:
    EXECUTED.append(what)
    return what


@workflow(name="queries.told")
async def told(of: Progress | None = None) -> int:
    progress = Progress(0, 2)
    publish(progress)
    for _ in range(2):
        await do("a part")
        progress = Progress(progress.done + 1, progress.of)
        publish(progress)
        publish(progress)
        await hook("go on")
    return progress.done


@workflow(name="queries.asked")
async def asked(items: list[str], first: bool = True) -> Any:
    left = list(items)

    @query
    def remaining(prefix: str = "") -> list[str]:
        return [item for item in left if item.startswith(prefix)]

    @query(name="when")
    def moment() -> Any:
        return now()

    while left:
        await do(left[0])
        if len(left) == 1:
            await hook("last one")
        left.pop(0)
    query(lambda: "over", name="late")
    if first:
        continue_as_new(items, False)
    return "done"


def test_state_is_read_without_running_code_and_the_last_one_counts() -> None:
    async def main() -> None:
        storage = InMemoryStorageBackend()
        run_id = await start(told, storage=storage)
        assert await get_workflow_state(run_id, storage=storage) == Progress(1, 2)
        run = await get_workflow_run(run_id, storage=storage)
        assert run is not None
        assert run.state == Progress(1, 2)
        definition = _workflows.pop("queries.told")
        unknown = await get_workflow_state(run_id, storage=storage)
        assert isinstance(unknown, Opaque)
        _workflows["queries.told"] = definition
        for n in (1, 2):
            await resume_hook(f"{run_id}:go on#{n}", storage=storage)
            await resume(run_id, storage=storage)
        assert await get_workflow_state(run_id, storage=storage) == Progress(2, 2)
        states = [e.data for e in await log_of(storage, run_id) if isinstance(e.data, StatePublished)]
        assert len(states) == 3, "what was published last is not recorded again"
        assert len(await outcomes(storage)) == 1

    asyncio.run(main())


def test_the_state_of_a_chain_is_the_last_one_that_was_published() -> None:
    @workflow
    async def chain(n: int = 0) -> None:
        if n < 2:
            publish(n)
            continue_as_new(n + 1)
        await hook("go")

    @workflow
    async def silent() -> None: ...

    async def main() -> None:
        storage = InMemoryStorageBackend()
        run_id = await start(chain, storage=storage)
        assert await get_workflow_state(run_id, storage=storage) == 1
        run = await get_workflow_run(run_id, storage=storage)
        assert run is not None
        assert run.state == 0
        assert await get_workflow_state(await start(silent, storage=storage), storage=storage) is None
        with pytest.raises(WorkflowNotFoundError):
            await get_workflow_state("run_nobody", storage=storage)

    asyncio.run(main())


def test_a_query_answers_from_a_replay_that_leaves_no_trace() -> None:
    async def main() -> None:
        storage = Wrapper(InMemoryStorageBackend())
        engine = make_engine(storage, VirtualClock(auto=True))
        run_id = await start(asked, ["tea", "toast", "milk"], storage=storage)
        log, commits, executed = await storage.read(run_id), storage.commits, list(EXECUTED)
        assert await query_workflow(run_id, "remaining", storage=storage) == ["milk"]
        assert await query_workflow(run_id, "remaining", prefix="t", storage=storage) == []
        moment = await query_workflow(run_id, "when", storage=storage)
        assert moment.timestamp() * 1e6 <= engine.clock.now()
        assert (await storage.read(run_id), storage.commits, EXECUTED) == (log, commits, executed)
        await resume_hook(f"{run_id}:last one", storage=storage)
        await resume(run_id, storage=storage)
        assert await query_workflow(run_id, "remaining", storage=storage) == ["milk"], (
            "of the one that goes on"
        )
        run = await get_workflow_run(run_id, storage=storage)
        assert run is not None
        await resume_hook(f"{run.continued_to_run_id}:last one", storage=storage)
        assert await resume(run_id, storage=storage) == "done"
        assert await query_workflow(run_id, "remaining", storage=storage) == []
        assert await query_workflow(run_id, "late", storage=storage) == "over"

    asyncio.run(main())


def test_a_query_may_be_asked_while_the_run_is_driven_and_from_a_step() -> None:
    answers: list[Any] = []

    @step
    async def looking(run_id: str) -> None:
        answers.append(await query_workflow(run_id, "place"))

    @step
    async def name_of_the_run() -> str:
        from pyworkflow.engine.attempt import current_attempt

        attempt = current_attempt.get()
        assert attempt is not None
        return attempt.call.machine.run_id

    @workflow
    async def program() -> None:
        place = "first"

        @query
        def place_of() -> str:
            return place

        query(place_of, name="place")
        run_id = await name_of_the_run()
        place = "second"
        await looking(run_id)

    async def main() -> None:
        from pyworkflow import configure, reset_config

        configure(storage=InMemoryStorageBackend())
        try:
            await start(program)
        finally:
            reset_config()
        assert answers == ["second"]

    asyncio.run(main())


def test_a_query_by_its_function_sees_context_and_patches_of_the_run() -> None:
    class Tenant(StepContext):
        name: str

    def tenant() -> Any:
        return get_step_context(Tenant).name, patched("known")

    @workflow
    async def program() -> None:
        set_step_context(Tenant(name="acme"))
        assert patched("known")
        query(tenant)
        await sleep("1d")

    async def main() -> None:
        storage = InMemoryStorageBackend()
        run_id = await start(program, storage=storage)
        assert await query_workflow(run_id, tenant, storage=storage) == ("acme", True)

    asyncio.run(main())


def test_first_mistakes_with_queries_are_told() -> None:
    async def wrong() -> None: ...

    @workflow(name="queries.mistakes")
    async def program() -> Any:
        @query
        def publishes() -> None:
            publish(1)

        @query
        def patches() -> None:
            patched("new")

        @query
        def fails() -> None:
            raise LookupError("what the function raises")

        await hook("go")

    @workflow
    async def asynchronous() -> None:
        query(wrong)

    @workflow
    async def asks_itself() -> None:
        await query_workflow("run_x", "publishes")

    @workflow
    async def unwritable() -> None:
        publish({"a": object()})

    @workflow
    async def large() -> None:
        publish("x" * 10_000)

    async def main() -> None:
        storage = InMemoryStorageBackend()
        run_id = await start(program, storage=storage)
        with pytest.raises(
            QueryNotFoundError, match="no query 'nothing' where it stands; it has fails, patch"
        ):
            await query_workflow(run_id, "nothing", storage=storage)
        with pytest.raises(StepOutsideWorkflowError, match=r"publish\(\) was called in a query"):
            await query_workflow(run_id, "publishes", storage=storage)
        with pytest.raises(StepOutsideWorkflowError, match=r"patched\(\) was called in a query"):
            await query_workflow(run_id, "patches", storage=storage)
        with pytest.raises(LookupError, match="what the function raises"):
            await query_workflow(run_id, "fails", storage=storage)
        with pytest.raises(WorkflowNotFoundError):
            await query_workflow("run_nobody", "fails", storage=storage)
        for call in (lambda: publish(1), lambda: query(lambda: 1)):
            with pytest.raises(StepOutsideWorkflowError, match="outside a workflow"):
                call()
        with pytest.raises(ConfigurationError, match="a query is a plain function, written 'def'"):
            await start(asynchronous, storage=storage)
        with pytest.raises(StepOutsideWorkflowError, match="Ask from a @step"):
            await start(asks_itself, storage=storage)
        with pytest.raises(UnserializableValueError, match=r"state\['a'\]"):
            await start(unwritable, storage=storage)
        small = Wrapper(InMemoryStorageBackend(), limits=Limits(event_bytes=10_000))
        with pytest.raises(LimitExceeded, match="the published state takes"):
            await start(large, storage=small)

    asyncio.run(main())


def test_code_that_no_longer_fits_answers_no_query_and_harms_no_run() -> None:
    def define(what: str) -> Any:
        _workflows.pop("queries.changed", None)

        async def body() -> Any:
            query(lambda: what, name="what")
            await do(what)
            return await hook("go")

        return workflow(name="queries.changed")(body)

    async def main() -> None:
        storage = InMemoryStorageBackend()
        run_id = await start(define("one"), storage=storage)
        log = await storage.read(run_id)
        define("two")
        with pytest.raises(NonDeterminismError):
            await query_workflow(run_id, "what", storage=storage)
        assert await storage.read(run_id) == log
        define("one")
        assert await query_workflow(run_id, "what", storage=storage) == "one"

    asyncio.run(main())
