"""When what steps did becomes durable: which appends are made, and what has to be there before what."""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from pyworkflow import (
    ConfigurationError,
    FatalError,
    HistoryLimitError,
    HookExpiredError,
    StepContext,
    configure,
    hook,
    open_storage,
    reset_config,
    resume,
    save_step_checkpoint,
    set_step_context,
    sleep,
    start,
    start_child_workflow,
    step,
    step_hook,
    step_info,
    step_transaction,
    workflow,
)
from pyworkflow.durability import Durability
from pyworkflow.engine.clock import VirtualClock
from pyworkflow.engine.engine import Settings
from pyworkflow_core.errors import StorageUnavailable
from pyworkflow_core.ids import derive_run_id
from pyworkflow_core.record import RunRecord
from pyworkflow_core.storage import StorageBackend

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from simulated_runs import SECOND, check_log, finish, log_of, make_engine, recorded, replay
from watched_commits import WatchedCommits, types_of

sys.path.pop(0)

RUN = derive_run_id("key", "program")
executed: list[Any] = []
seen: list[list[str]] = []
LATER: list[Durability] = ["pipelined", "exit"]
STEP = ["step_completed", "step_started"]


@pytest.fixture(autouse=True)
def _nothing_yet() -> None:
    executed.clear()
    seen.clear()


@step(name="durability.work", max_retries=0)
async def work(what: Any) -> Any:
    executed.append(what)
    return what


async def look() -> None:
    """Note what is durable now."""
    seen.append(types_of(await here.read(RUN)))


@step(name="durability.sync", durability="sync")
async def careful(what: Any) -> Any:
    await look()
    return what


@workflow(name="durability.sequence")
async def sequence(count: int) -> int:
    return sum([await work(n) for n in range(count)])


here: StorageBackend


async def run(
    durability: Durability | None, flow: Any, *args: Any, storage: Any = None, **settings: Any
) -> Any:
    """Run a workflow to its end; its log is sound, replays, and holds each execution once."""
    global here  # noqa: PLW0603
    here = storage or WatchedCommits()
    clock = VirtualClock(auto=True)
    engine = make_engine(here, clock, settings=Settings(durability=durability, **settings))
    await start(flow, *args, storage=here, idempotency_key="program")
    await finish(engine, clock, RUN)
    await check(here)
    return await resume(RUN, storage=here)


async def check(storage: StorageBackend) -> None:
    record = await storage.get(RUN)
    assert isinstance(record, RunRecord)
    check_log(await storage.read(RUN), record)
    history = await log_of(storage, RUN)
    assert replay(history, run=record) == recorded(history)
    assert [e.at for e in history] == sorted(e.at for e in history)


# ---- how many commits ----------------------------------------------------------------


def test_steps_go_on_while_an_append_is_in_flight_and_what_comes_meanwhile_goes_with_the_next() -> None:
    async def all_but_the_last() -> None:
        while len(executed) < 99:
            await asyncio.sleep(0)

    async def main() -> None:
        storage = WatchedCommits()
        storage.hold = (2, all_but_the_last)
        await run("pipelined", sequence, 100, storage=storage)
        assert executed == list(range(100))
        first, held, *rest = storage.appends
        assert first == ["workflow_started", "step_started"]
        assert held == STEP
        assert 1 <= len(rest) <= 2, "all that came meanwhile is one append"

    asyncio.run(main())


def test_a_pipelined_run_makes_fewer_commits_than_it_has_steps() -> None:
    async def main() -> None:
        await run("sync", sequence, 100)
        calm = here
        await run("pipelined", sequence, 100)
        assert isinstance(calm, WatchedCommits)
        assert isinstance(here, WatchedCommits)
        assert calm.commits == 101
        assert here.commits < calm.commits

    asyncio.run(main())


def test_a_run_that_writes_at_its_exit_makes_two_commits() -> None:
    async def main() -> None:
        storage = WatchedCommits()
        await run("exit", sequence, 100, storage=storage)
        assert [len(types) for types in storage.appends] == [2, 200]

    asyncio.run(main())


@pytest.mark.parametrize("durability", LATER)
def test_what_is_kept_never_outgrows_an_append(durability: Durability) -> None:
    async def main() -> None:
        storage = WatchedCommits()
        await run(durability, sequence, 100, storage=storage, turn_events=20)
        assert executed == list(range(100))
        assert max(len(types) for types in storage.appends) <= 23
        assert len(storage.appends) >= 10

    asyncio.run(main())


@workflow(name="durability.wide")
async def wide() -> None:
    for n in range(10):
        await work(n)
    await asyncio.gather(*[sleep(1) for _ in range(15)])


@pytest.mark.parametrize("durability", LATER)
def test_what_does_not_fit_behind_what_is_kept_goes_into_an_append_of_its_own(durability: Durability) -> None:
    async def main() -> None:
        storage = WatchedCommits()
        await run(durability, wide, storage=storage, turn_events=20)
        assert max(len(types) for types in storage.appends) <= 23

    asyncio.run(main())


@pytest.mark.parametrize("durability", LATER)
def test_the_limit_of_a_history_counts_what_is_not_written_yet(durability: Durability) -> None:
    async def main() -> None:
        configure(history_limit=50)
        try:
            with pytest.raises(HistoryLimitError):
                await run(durability, sequence, 10**6)
        finally:
            reset_config()
        record = await here.get(RUN)
        assert record is not None
        assert record.status == "failed"
        assert 50 <= record.head <= 54

    asyncio.run(main())


def test_each_event_keeps_the_time_at_which_it_happened() -> None:
    async def main() -> None:
        clock = VirtualClock()

        @step(name="durability.lasting")
        async def lasting() -> None:
            clock.advance(SECOND)

        @workflow(name="durability.times", durability="exit")
        async def times() -> None:
            for _ in range(3):
                await lasting()

        storage = WatchedCommits()
        make_engine(storage, clock)
        await start(times, storage=storage, idempotency_key="program")
        history = await log_of(storage, RUN)
        assert len(storage.appends) == 2
        beginning = history[0].at
        assert [(e.at - beginning) // SECOND for e in history] == [0, 0, 1, 1, 2, 2, 3, 3]

    asyncio.run(main())


@pytest.mark.parametrize("durability", ["pipelined", "exit"])
def test_a_step_may_be_written_later_than_the_rest_of_its_workflow(durability: Durability) -> None:
    lax = step(name="durability.lax", durability=durability)(work.func)

    @workflow(name="durability.mixed")
    async def mixed() -> list[Any]:
        found = [await work(1)]
        found += [await lax(n) for n in (2, 3, 4)]
        return [*found, await work(5), await work(6)]

    async def until_the_last_of_them() -> None:
        while 4 not in executed:
            await asyncio.sleep(0)

    async def main() -> None:
        storage = WatchedCommits()
        # A step that waits makes durable what stands before it, with its own beginning.
        storage.hold = (3, until_the_last_of_them) if durability == "pipelined" else None
        assert await run(None, mixed, storage=storage) == [1, 2, 3, 4, 5, 6]
        sizes = [len(types) for types in storage.appends]
        assert sizes == ([2, 2, 2, 4, 2, 2] if durability == "pipelined" else [2, 2, 6, 2, 2])

    asyncio.run(main())


# ---- barriers ------------------------------------------------------------------------


class Place(StepContext):
    where: str = ""


@workflow(name="durability.child")
async def child() -> None:
    await work("child")


@step(name="durability.failing")
async def failing() -> None:
    raise FatalError("no")


@step(name="durability.checkpoints")
async def checkpoints() -> None:
    await save_step_checkpoint(1)
    await look()


@step(name="durability.asking")
async def asking() -> None:
    with contextlib.suppress(HookExpiredError):
        await step_hook("answer", timeout="1s", on_created=lambda token: look())


@step(name="durability.again", retry_delay=["1s"])
async def again() -> None:
    if step_info().attempt == 1:
        raise ValueError("not yet")


async def _hook() -> None:
    with contextlib.suppress(HookExpiredError):
        await hook("answer", timeout="1s", on_created=lambda token: look())


async def _failure() -> None:
    with contextlib.suppress(FatalError):
        await failing()


async def _nothing() -> None:
    pass


BARRIERS: dict[str, tuple[Any, list[str]]] = {
    "the end": (_nothing, ["workflow_completed"]),
    "a sleep": (lambda: sleep("1h"), ["sleep_started"]),
    "a timer": (lambda: asyncio.sleep(3600), ["workflow_suspended"]),
    "a hook": (_hook, ["hook_created"]),
    "a child": (lambda: start_child_workflow(child), ["child_workflow_started"]),
    "a note": (lambda: set_step_context(Place(where="here")), ["step_context_set", "workflow_completed"]),
    "a step that waits": (lambda: careful(1), ["step_started"]),
    "a failure": (_failure, ["step_started", "step_failed", "workflow_completed"]),
    "a retry": (again, ["step_started", "step_retrying"]),
    "a checkpoint": (checkpoints, ["step_started", "step_checkpoint_saved"]),
    "a hook in a step": (asking, ["step_started", "hook_created"]),
}


@workflow(name="durability.barrier")
async def barrier(name: str) -> None:
    await work(1)
    await work(2)
    await BARRIERS[name][0]()


@pytest.mark.parametrize("name", BARRIERS)
def test_what_leaves_the_run_makes_all_that_was_before_it_durable_in_the_same_append(name: str) -> None:
    async def main() -> None:
        storage = WatchedCommits()
        await run("exit", barrier, name, storage=storage)
        # The first one is that of the start; a child has its own.
        assert storage.appends[1] == ["step_completed", "step_started", "step_completed", *BARRIERS[name][1]]
        for types in seen:
            assert types == storage.appends[0] + storage.appends[1], "it was there when somebody was told"

    asyncio.run(main())


@pytest.mark.parametrize("durability", LATER)
def test_a_step_that_waits_has_its_beginning_and_its_completion_durable_before_anything_goes_on(
    durability: Durability,
) -> None:
    lax_look = step(name="durability.lax_look")(look)

    @workflow(name="durability.waiting")
    async def waiting() -> None:
        await work(1)
        await careful(2)
        await lax_look()

    async def main() -> None:
        await run(durability, waiting)
        started, *rest = ["workflow_started", "step_started", *STEP]
        assert seen[0] == [started, *rest]
        assert seen[1][:6] == [*seen[0], *STEP]

    asyncio.run(main())


def test_a_transaction_of_a_step_begins_when_all_that_was_before_it_is_durable(tmp_path: Path) -> None:
    paid = step(name="durability.paid")(_pay)

    @workflow(name="durability.paying", durability="exit")
    async def paying() -> None:
        await work(1)
        await paid()
        await work(2)

    async def main() -> None:
        async with open_storage(f"sqlite:///{tmp_path / 'runs.db'}") as storage:
            await run(None, paying, storage=storage)
            assert executed == [1, "paid", 2]
            assert seen == [["workflow_started", "step_started", *STEP]]
            types = types_of(await storage.read(RUN))
            assert types == [*seen[0], *STEP, "step_completed", "workflow_completed"]

    asyncio.run(main())


async def _pay() -> None:
    async with step_transaction() as connection:
        executed.append("paid")
        await connection.execute(text("CREATE TABLE own (n INTEGER)"))
    await look()


# ---- a storage that is away, or forgets to answer ------------------------------------


@pytest.mark.parametrize("durability", LATER)
def test_while_the_storage_is_away_a_run_does_no_more_than_fits_into_an_append(
    durability: Durability,
) -> None:
    async def main() -> None:
        storage = WatchedCommits()
        storage.away = 5
        while_away: list[int] = []

        async def before(appends: Any) -> None:
            while_away.append(len(executed) if storage.away else 0)
            await WatchedCommits.before(storage, appends)

        storage.before = before  # type: ignore[method-assign]
        await run(durability, sequence, 100, storage=storage, turn_events=20)
        assert executed == list(range(100))
        # One append in flight, and one that has collected; each step is two events.
        assert 10 <= max(while_away) <= 22

    asyncio.run(main())


@pytest.mark.parametrize("durability", LATER)
def test_a_storage_that_stays_away_ends_the_drive_and_the_run_goes_on_from_its_log(
    durability: Durability,
) -> None:
    async def main() -> None:
        storage = WatchedCommits()
        storage.away = 10**6
        with pytest.raises(StorageUnavailable):
            await run(durability, sequence, 5, storage=storage)
        assert storage.appends == [["workflow_started", "step_started"]]
        storage.away = 0
        clock = VirtualClock(await _after_the_lease(storage), auto=True)
        make_engine(storage, clock, 2, Settings(durability=durability))
        assert await resume(RUN, storage=storage) == 10
        await check(storage)

    asyncio.run(main())


def test_a_storage_that_stays_away_is_noticed_while_a_step_goes_on() -> None:
    @step(name="durability.waits")
    async def waits() -> None:
        await asyncio.Event().wait()

    @workflow(name="durability.endless_flow")
    async def endless() -> None:
        await work(1)
        await waits()

    async def main() -> None:
        storage = WatchedCommits()
        storage.away = 10**6
        with pytest.raises(StorageUnavailable):
            await asyncio.wait_for(run("pipelined", endless, storage=storage), 60)

    asyncio.run(main())


async def _after_the_lease(storage: StorageBackend) -> int:
    record = await storage.get(RUN)
    assert record is not None
    return record.updated_at + 3600 * SECOND


@pytest.mark.parametrize("durability", LATER)
def test_an_append_whose_outcome_is_unknown_is_in_the_log_once(durability: Durability) -> None:
    async def main() -> None:
        storage = WatchedCommits()
        storage.forgetful = {2, 4}
        assert await run(durability, sequence, 30, storage=storage, turn_events=20) == 435
        assert storage.forgetful == set()
        assert executed == list(range(30))

    asyncio.run(main())


# ---- words ---------------------------------------------------------------------------


def test_a_durability_that_does_not_exist_is_refused_where_it_is_written() -> None:
    with pytest.raises(ConfigurationError, match="'pipelined', 'exit', not 'async'"):
        step(name="durability.wrong", durability="async")(work.func)  # type: ignore[call-overload]
    with pytest.raises(ConfigurationError, match="durability is one of"):
        workflow(name="durability.wrong", durability=None)(child.func)  # type: ignore[call-overload]
