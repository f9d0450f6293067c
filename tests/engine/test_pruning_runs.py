"""Pruning: what ended long ago goes, family by family, and a prune that is cut off goes on."""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from pyworkflow import (
    ConfigurationError,
    InMemoryStorageBackend,
    PrunedRuns,
    Worker,
    continue_as_new,
    hook,
    prune_workflow_runs,
    retry_workflow,
    sleep,
    start,
    start_child_workflow,
    workflow,
)
from pyworkflow import definitions as defined
from pyworkflow.engine.clock import VirtualClock
from pyworkflow.engine.engine import Engine
from pyworkflow.tidying import HOUR
from pyworkflow_core.storage import StorageBackend

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from breakable import act, broken, run, started
from families import work_off
from simulated_runs import make_engine
from storage_wrappers import Killed, Wrapper

sys.path.pop(0)

DAY = 24 * HOUR


@pytest.fixture(autouse=True)
def _own_workflows(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test defines here, with a retention perhaps, ends with it."""
    monkeypatch.setattr(defined, "_workflows", dict(defined._workflows))
    return


async def workflows(storage: StorageBackend) -> list[str]:
    return sorted(record.workflow for record in await storage.list_runs())


@workflow(name="pruning.leaf")
async def leaf(what: Any = None) -> Any:
    return await act(what)


@workflow(name="pruning.late")
async def late() -> Any:
    await sleep("10d")
    return await act("late")


@workflow(name="pruning.parent")
async def parent() -> Any:
    await start_child_workflow(late, wait_for_completion=False, parent_close_policy="abandon")
    return await start_child_workflow(leaf)


@workflow(name="pruning.chain")
async def chain(left: int = 2) -> Any:
    await start_child_workflow(leaf, left)
    if left:
        continue_as_new(left - 1)
    return "end"


def test_only_what_ended_long_enough_ago_is_pruned() -> None:
    async def test(storage: StorageBackend, engine: Engine, clock: VirtualClock) -> None:
        await start(leaf, storage=storage)
        clock.move_to(clock.now() + 3 * DAY)
        await start(leaf, storage=storage)
        await start(late, storage=storage)
        assert await prune_workflow_runs("3d 1s", storage=storage) == PrunedRuns(0, 0, 0)
        assert await prune_workflow_runs("3d", dry_run=True, storage=storage) == PrunedRuns(1, 1, 0)
        assert await prune_workflow_runs("3d", storage=storage) == PrunedRuns(1, 1, 0)
        assert await workflows(storage) == ["pruning.late", "pruning.leaf"]

    run(test)


def test_a_family_goes_as_a_whole_when_all_of_it_ended_long_enough_ago() -> None:
    async def test(storage: StorageBackend, engine: Engine, clock: VirtualClock) -> None:
        await start(parent, storage=storage)
        clock.move_to(clock.now() + 8 * DAY)
        assert await prune_workflow_runs("7d", storage=storage) == PrunedRuns(0, 0, 1)
        clock.move_to(clock.now() + 2 * DAY)
        await work_off(engine, clock)
        clock.move_to(clock.now() + 6 * DAY)
        assert await prune_workflow_runs("7d", storage=storage) == PrunedRuns(0, 0, 1)
        clock.move_to(clock.now() + 2 * DAY)
        assert await prune_workflow_runs("7d", storage=storage) == PrunedRuns(1, 3, 0)
        assert await workflows(storage) == []

    run(test)


def test_a_chain_goes_as_a_whole_with_the_children_of_each_link() -> None:
    async def test(storage: StorageBackend, engine: Engine, clock: VirtualClock) -> None:
        await started(storage, chain)
        await work_off(engine, clock)
        clock.move_to(clock.now() + DAY)
        assert await prune_workflow_runs("1d", status="failed", storage=storage) == PrunedRuns(0, 0, 1)
        assert await prune_workflow_runs("1d", workflow_name="pruning.leaf", storage=storage) == PrunedRuns()
        assert await prune_workflow_runs("1d", status="completed", storage=storage) == PrunedRuns(1, 6, 0)
        assert await workflows(storage) == []

    run(test)


def test_a_chain_that_goes_on_is_kept_from_its_first_link_on() -> None:
    @workflow(name="pruning.endless")
    async def endless(n: int = 0) -> Any:
        await (sleep(5) if n < 1 else hook("never"))
        continue_as_new(n + 1)

    async def test(storage: StorageBackend, engine: Engine, clock: VirtualClock) -> None:
        await start(endless, storage=storage)
        clock.move_to(clock.now() + DAY)
        (claim,) = await storage.claim(owner="x", now=clock.now(), lease=1)
        await storage.release(claim)
        from families import take_up_due

        while await take_up_due(engine):
            pass
        clock.move_to(clock.now() + 9 * DAY)
        assert await prune_workflow_runs("1d", storage=storage) == PrunedRuns(0, 0, 1)
        assert len(await workflows(storage)) == 2

    run(test)


def test_what_a_deleted_parent_left_behind_is_pruned_too() -> None:
    async def test(storage: StorageBackend, engine: Engine, clock: VirtualClock) -> None:
        await start(parent, storage=storage)
        clock.move_to(clock.now() + 10 * DAY)
        await work_off(engine, clock)
        (record,) = [r for r in await storage.list_runs() if r.workflow == "pruning.parent"]
        await storage.delete(record.run_id, expected=record.head)
        clock.move_to(clock.now() + 8 * DAY)
        assert await prune_workflow_runs("7d", storage=storage) == PrunedRuns(2, 2, 0)

    run(test)


def test_each_workflow_is_kept_as_long_as_it_says() -> None:
    @workflow(name="pruning.short", retention="1d")
    async def short() -> Any:
        return await act("short")

    @workflow(name="pruning.long", retention="30d")
    async def long() -> Any:
        return await start_child_workflow(short), await start_child_workflow(leaf)

    async def test(storage: StorageBackend, engine: Engine, clock: VirtualClock) -> None:
        await start(short, storage=storage)
        await start(leaf, storage=storage)
        await start(long, storage=storage)
        clock.move_to(clock.now() + DAY)
        assert await prune_workflow_runs(by_retention=True, storage=storage) == PrunedRuns(2, 2, 0)
        assert await workflows(storage) == ["pruning.leaf", "pruning.leaf", "pruning.long"]
        clock.move_to(clock.now() + 29 * DAY)
        found = await prune_workflow_runs(by_retention=True, workflow_name="pruning.long", storage=storage)
        assert found == PrunedRuns(1, 2, 0)
        assert await workflows(storage) == ["pruning.leaf"]

    run(test)


def test_a_worker_deletes_what_is_past_its_retention() -> None:
    @workflow(name="pruning.kept_a_day", retention="1d")
    async def kept() -> Any:
        return await act("kept")

    async def test(storage: StorageBackend, engine: Engine, clock: VirtualClock) -> None:
        await start(kept, storage=storage)
        deleted = engine.clock.now() + DAY + 2 * HOUR
        worker = Worker(storage, engine=engine, poll_interval="10m")
        clock.call_at(deleted, worker.stop)
        await worker.run()
        assert await workflows(storage) == []

    run(test)


def test_a_run_that_is_retried_while_it_is_pruned_is_kept() -> None:
    async def test(storage: StorageBackend, engine: Engine, clock: VirtualClock) -> None:
        broken.add("x")
        run_id = await started(storage, leaf, "x")
        clock.move_to(clock.now() + DAY)

        class Retried(Wrapper):
            async def _delete(self, run_id: str, expected: int) -> None:
                await retry_workflow(run_id, storage=storage)
                await super()._delete(run_id, expected)

        retrying = Retried(storage)
        make_engine(retrying, clock, 4)
        assert await prune_workflow_runs("1d", storage=retrying) == PrunedRuns(0, 0, 1)
        assert [record.run_id for record in await storage.list_runs()] == [run_id]

    run(test)


def test_a_prune_that_dies_anywhere_goes_on_where_it_was() -> None:
    class Dying(Wrapper):
        left = 0

        async def _delete(self, run_id: str, expected: int) -> None:
            if not self.left:
                raise Killed
            self.left -= 1
            await super()._delete(run_id, expected)

    async def test(storage: StorageBackend, engine: Engine, clock: VirtualClock) -> None:
        for deaths in range(9):
            await start(parent, storage=storage)
            await started(storage, chain)
            await work_off(engine, clock)
            clock.move_to(clock.now() + 30 * DAY)
            dying = Dying(storage)
            dying.left = deaths
            make_engine(dying, clock, deaths)
            with pytest.raises(Killed):
                await prune_workflow_runs("7d", storage=dying)
            assert len(await workflows(storage)) == 9 - deaths
            assert (await prune_workflow_runs("7d", storage=storage)).runs == 9 - deaths
            assert await workflows(storage) == []

    run(test)


def test_what_makes_no_sense_is_refused_before_anything_is_deleted() -> None:
    async def test(storage: StorageBackend, engine: Engine, clock: VirtualClock) -> None:
        for wrong in ({}, {"older_than": "1d", "by_retention": True}):
            with pytest.raises(ConfigurationError, match="how long ago"):
                await prune_workflow_runs(storage=storage, **wrong)
        with pytest.raises(ConfigurationError, match="only runs that have ended"):
            await prune_workflow_runs("1d", status="suspended", storage=storage)
        with pytest.raises(ValueError, match="older_than 'a month' is not a duration"):
            await prune_workflow_runs("a month", storage=storage)
        with pytest.raises(ConfigurationError, match="retention 'long' is not a duration"):
            workflow(name="pruning.wrong", retention="long")(leaf.func)

    run(test)


def test_pages_are_pruned_one_after_the_other() -> None:
    async def test(storage: StorageBackend, engine: Engine, clock: VirtualClock) -> None:
        for n in range(1100):
            await start(leaf, n, storage=storage)
        clock.move_to(clock.now() + DAY)
        assert await prune_workflow_runs("1d", storage=storage) == PrunedRuns(1100, 1100, 0)
        assert isinstance(storage, InMemoryStorageBackend)

    run(test)
