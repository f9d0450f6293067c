"""Several versions of one workflow: each run stays with the one that it started on."""

from __future__ import annotations

import asyncio
import logging
import pathlib
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from pyworkflow import (
    ConfigurationError,
    InMemoryStorageBackend,
    ScheduleSpec,
    Worker,
    WorkflowNotRegisteredError,
    continue_as_new,
    create_schedule,
    get_workflow_chain,
    get_workflow_run,
    hook,
    list_workflow_runs,
    resume,
    resume_hook,
    start,
    start_child_workflow,
    workflow,
)
from pyworkflow.definitions import _workflows, get_workflow, list_workflows
from pyworkflow.engine.clock import VirtualClock
from pyworkflow.versions import newest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from families import take_up_due
from simulated_runs import log_of, make_engine

sys.path.pop(0)

NAME = "versions.order"


@pytest.fixture(autouse=True)
def no_version_is_left() -> Iterator[None]:
    yield
    _workflows.pop(NAME, None)


def define(version: Any, answer: str | None = None) -> Any:
    """A version of the workflow, which waits and then says which one it is."""

    async def order() -> Any:
        await hook("go")
        return answer or version

    return workflow(name=NAME, version=version)(order)


def test_a_run_is_driven_by_the_version_that_it_started_on() -> None:
    async def main() -> None:
        storage = InMemoryStorageBackend()
        runs = [await start(define(version), storage=storage) for version in (None, "1", 2, "10")]
        for run_id, version in zip(runs, (None, "1", 2, "10"), strict=True):
            await resume_hook(f"{run_id}:go", storage=storage)
            assert await resume(run_id, storage=storage) == version

    asyncio.run(main())


def test_the_newest_version_is_found_by_its_numbers_and_not_by_the_order_of_imports() -> None:
    assert newest(["9", None, "10", "2"]) == "10"
    assert newest(["1.10", "1.9.3", "1.9"]) == "1.10"
    assert newest(["2026-01-31", "2025-12-01"]) == "2026-01-31"
    assert newest(["v2", "2"]) == "v2"
    assert newest(["a", "1"]) == "a"
    assert newest([None]) is None
    ten, two = define("10"), define("2")
    assert (ten.version, two.version) == ("10", "2")
    assert get_workflow(NAME) is ten
    assert list_workflows()[NAME] is ten


def test_a_missing_version_is_named_and_nothing_is_lost() -> None:
    async def main() -> None:
        storage = InMemoryStorageBackend()
        run_id = await start(define("1"), storage=storage)
        await resume_hook(f"{run_id}:go", storage=storage)
        _workflows.pop(NAME)
        define("2")
        define(None)
        with pytest.raises(WorkflowNotRegisteredError) as raised:
            await resume(run_id, storage=storage)
        assert "'versions.order' of version '1' is not defined in this process, which has one without" in str(
            raised.value
        )
        assert "keep that definition beside the new one" in str(raised.value)
        define("1", "mended")
        assert await resume(run_id, storage=storage) == "mended"

    asyncio.run(main())


def test_a_run_without_a_version_is_not_driven_by_one_that_has_one() -> None:
    async def main() -> None:
        storage = InMemoryStorageBackend()
        run_id = await start(define(None), storage=storage)
        await resume_hook(f"{run_id}:go", storage=storage)
        _workflows.pop(NAME)
        define("1")
        with pytest.raises(WorkflowNotRegisteredError, match="without a version is not defined"):
            await resume(run_id, storage=storage)

    asyncio.run(main())


def test_a_worker_puts_off_a_run_whose_version_it_does_not_have(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        storage = InMemoryStorageBackend()
        clock = VirtualClock(auto=True)
        engine = make_engine(storage, clock)
        run_id = await start(define("1"), storage=storage, queue="q")
        _workflows.pop(NAME)
        define("2")
        with caplog.at_level(logging.ERROR):
            await Worker(storage, engine=engine, once=True).run()
        assert "of version '1' is not defined in this process, which has '2'" in caplog.text
        assert not await take_up_due(engine), "it would claim it in a circle"
        assert [str(e.data.TYPE) for e in await log_of(storage, run_id)] == ["workflow_started"]
        define("1")
        clock.move_to(clock.now() + 61_000_000)
        assert await take_up_due(engine) == 1

    asyncio.run(main())


def test_the_result_of_a_run_outlives_its_version() -> None:
    async def main() -> None:
        storage = InMemoryStorageBackend()
        run_id = await start(define("1"), storage=storage)
        await resume_hook(f"{run_id}:go", storage=storage)
        assert await resume(run_id, storage=storage) == "1"
        _workflows.pop(NAME)
        define("2")
        assert await resume(run_id, storage=storage) == "1"
        run = await get_workflow_run(run_id, storage=storage)
        assert run is not None
        assert run.result == "1"

    asyncio.run(main())


def test_a_run_continues_on_the_newest_version_unless_one_is_given() -> None:
    @workflow(name=NAME, version="1")
    async def first(pin: bool = False, round_: int = 0) -> Any:
        await hook("go")
        if round_ == 0:
            continue_as_new(first, pin, 1) if pin else continue_as_new(round_=1)
        return "first"

    @workflow(name=NAME, version="2", tags=["new"])
    async def second(pin: bool = False, round_: int = 0) -> Any:
        return "second", round_

    async def main() -> None:
        storage = InMemoryStorageBackend()
        for pin, result in ((False, ("second", 1)), (True, "first")):
            run_id = await start(first, pin, storage=storage)
            for _ in range(1 + pin):
                chain = await get_workflow_chain(run_id, storage=storage)
                await resume_hook(f"{chain[-1].run_id}:go", storage=storage)
                found = await resume(run_id, storage=storage)
            assert found == result
            chain = await get_workflow_chain(run_id, storage=storage)
            assert chain[-1].tags == (() if pin else ("new",))
        history = await log_of(storage, chain[-1].run_id)
        assert history[0].data.workflow_version == "1"

    asyncio.run(main())


def test_no_run_continues_as_another_workflow() -> None:
    @workflow(name="versions.other")
    async def other() -> None: ...

    @workflow(name=NAME)
    async def order() -> None:
        continue_as_new(other)

    async def main() -> None:
        with pytest.raises(ConfigurationError, match=r"cannot continue as 'versions\.other'"):
            await start(order, storage=InMemoryStorageBackend())

    asyncio.run(main())


def test_a_child_is_of_the_version_that_is_given() -> None:
    @workflow
    async def parent() -> Any:
        return await start_child_workflow(old, wait_for_completion=False)

    old = define("1")
    define("2")

    async def main() -> None:
        storage = InMemoryStorageBackend()
        handle = await resume(await start(parent, storage=storage), storage=storage)
        assert (await log_of(storage, handle.run_id))[0].data.workflow_version == "1"

    asyncio.run(main())


def test_a_schedule_starts_the_newest_version_there_is_when_it_fires() -> None:
    define("1")

    async def main() -> None:
        storage, clock = InMemoryStorageBackend(), VirtualClock(auto=True)
        engine = make_engine(storage, clock)
        await create_schedule(NAME, ScheduleSpec(interval="1h"), schedule_id="s", storage=storage)
        _workflows.pop(NAME)
        define("2")
        clock.move_to(clock.now() + 3_700_000_000)
        while await take_up_due(engine):
            pass
        (run,) = await list_workflow_runs(workflow_name=NAME, storage=storage)
        assert (await log_of(storage, run.run_id))[0].data.workflow_version == "2"
        assert run.status == "suspended"

    asyncio.run(main())


@pytest.mark.parametrize("version", [1.5, "", True, ["1"]])
def test_a_version_is_a_text_or_a_whole_number(version: Any) -> None:
    with pytest.raises(ConfigurationError, match="version is a text such as '2', or a whole number"):
        define(version)


def test_one_version_is_defined_once() -> None:
    def of(module: str) -> Any:
        async def order() -> None: ...

        order.__qualname__ = "order"
        order.__module__ = module
        return workflow(name=NAME, version="1")(order)

    of("one")
    with pytest.raises(ConfigurationError, match=r"one\.order and two\.order.*another version"):
        of("two")
