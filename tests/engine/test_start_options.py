"""Starts that are put off, and starts that are refused while another run goes on."""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pyworkflow import (
    ConfigurationError,
    DeduplicationError,
    InMemoryStorageBackend,
    Worker,
    cancel_workflow,
    continue_as_new,
    get_workflow_run,
    resume,
    sleep,
    start,
    step,
    workflow,
)
from pyworkflow.engine.clock import VirtualClock
from pyworkflow_core.events import from_micros

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from simulated_runs import SECOND, finish, log_of, make_engine
from storage_wrappers import DisturbedStorage, Killed, KillingStorage, Wrapper

sys.path.pop(0)

seen: list[Any] = []


@step(name="options.note")
async def note(what: Any) -> Any:
    seen.append(what)
    return what


@workflow(name="options.notes")
async def notes(what: Any) -> Any:
    return await note(what)


@workflow(name="options.sleeps")
async def sleeps(what: Any) -> Any:
    await sleep(10)
    return await note(what)


@workflow(name="options.chain")
async def chain(left: int) -> Any:
    await sleep(10)
    if left:
        continue_as_new(left - 1)
    return "end"


@workflow(name="options.limited", max_duration=5)
async def limited() -> Any:
    await sleep(3)
    return "in time"


@pytest.fixture(autouse=True)
def _nothing_seen() -> None:
    seen.clear()


@pytest.mark.parametrize("queue", [None, "q"])
@pytest.mark.parametrize("how", ["delay", "start_at"])
def test_a_run_that_is_put_off_begins_at_its_time_and_not_before(how: str, queue: str | None) -> None:
    async def main() -> None:
        storage, clock = InMemoryStorageBackend(), VirtualClock()
        engine = make_engine(storage, clock)
        when: dict[str, Any] = {"delay": "1h"}
        if how == "start_at":
            when = {"start_at": from_micros(clock.now() + 3600 * SECOND)}
        run_id = await start(notes, 1, storage=storage, queue=queue, **when)
        run = await get_workflow_run(run_id, storage)
        assert run is not None
        assert (str(run.status), run.wake_at) == ("pending", from_micros(clock.now() + 3600 * SECOND))
        clock.advance(3599 * SECOND)
        await Worker(storage, engine=engine, once=True).run()
        assert await resume(run_id, storage=storage) is None
        assert seen == []
        clock.advance(SECOND)
        await Worker(storage, engine=engine, once=True).run()
        assert await resume(run_id, storage=storage) == 1
        assert seen == [1]

    asyncio.run(main())


def test_a_start_that_waits_waits_out_the_delay_too() -> None:
    async def main() -> None:
        storage, clock = InMemoryStorageBackend(), VirtualClock(auto=True)
        make_engine(storage, clock)
        begun = clock.now()
        run_id = await start(notes, 1, storage=storage, delay=90, wait=True)
        assert await resume(run_id, storage=storage) == 1
        assert clock.now() - begun >= 90 * SECOND

    asyncio.run(main())


def test_the_time_before_the_beginning_is_none_of_the_longest_duration() -> None:
    async def main() -> None:
        storage, clock = InMemoryStorageBackend(), VirtualClock(auto=True)
        make_engine(storage, clock)
        run_id = await start(limited, storage=storage, delay="1h", wait=True)
        assert await resume(run_id, storage=storage) == "in time"

    asyncio.run(main())


def test_a_moment_that_has_passed_puts_nothing_off() -> None:
    async def main() -> None:
        storage, clock = InMemoryStorageBackend(), VirtualClock()
        make_engine(storage, clock)
        for when in ({"delay": 0}, {"start_at": datetime(2001, 1, 1, tzinfo=UTC)}):
            await start(notes, 1, storage=storage, **when)  # type: ignore[arg-type]
        assert seen == [1, 1]

    asyncio.run(main())


def test_a_run_that_has_not_begun_can_be_cancelled() -> None:
    async def main() -> None:
        storage, clock = InMemoryStorageBackend(), VirtualClock()
        engine = make_engine(storage, clock)
        run_id = await start(notes, 1, storage=storage, delay=60)
        assert await cancel_workflow(run_id, "no longer wanted", storage=storage)
        clock.advance(60 * SECOND)
        await Worker(storage, engine=engine, once=True).run()
        assert (await storage.get(run_id)).status == "cancelled"  # type: ignore[union-attr]
        assert seen == []

    asyncio.run(main())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"delay": 1, "start_at": datetime(2001, 1, 1, tzinfo=UTC)}, "not both"),
        ({"delay": -1}, "negative"),
        ({"delay": "soon"}, "is not a duration"),
        ({"start_at": timedelta(seconds=1)}, "start_at= is a datetime, not timedelta"),
        ({"idempotency_key": "k", "deduplication_id": "d"}, "not both"),
        ({"concurrency_key": "k"}, "needs queue="),
        ({"deduplication_id": ""}, "deduplication id is empty"),
        ({"concurrency_key": 1, "queue": "q"}, "concurrency key must be text"),
    ],
)
def test_options_that_cannot_work_are_refused_before_anything_is_written(
    options: dict[str, Any], words: str
) -> None:
    async def main() -> None:
        storage = InMemoryStorageBackend()
        make_engine(storage, VirtualClock())
        with pytest.raises((ConfigurationError, ValueError), match=words):
            await start(notes, 1, storage=storage, **options)
        assert await storage.list_runs() == []

    asyncio.run(main())


def test_a_deduplication_id_is_taken_while_its_run_goes_on_and_free_afterwards() -> None:
    async def main() -> None:
        storage, clock = InMemoryStorageBackend(), VirtualClock()
        engine = make_engine(storage, clock)
        runs = []
        for turn in range(3):
            run_id = await start(sleeps, turn, storage=storage, deduplication_id="d")
            runs.append(run_id)
            with pytest.raises(DeduplicationError, match="suspended") as raised:
                await start(sleeps, turn, storage=storage, deduplication_id="d")
            assert raised.value.run_id == run_id
            # Other queues, and other ids, are none of its business.
            await start(notes, "other", storage=storage, deduplication_id="d", queue="other")
            await start(notes, "other", storage=storage, deduplication_id=f"e{turn}")
            await finish(engine, clock, run_id)
            await Worker(storage, engine=engine, once=True).run()
        assert [n for n in seen if n != "other"] == [0, 1, 2]
        assert len(set(runs)) == 3

    asyncio.run(main())


def test_an_id_of_a_run_that_continued_as_new_is_taken_until_the_end_of_the_chain() -> None:
    async def main() -> None:
        storage, clock = InMemoryStorageBackend(), VirtualClock()
        engine = make_engine(storage, clock)
        await start(chain, 2, storage=storage, deduplication_id="d", queue="default")
        for _ in range(3):
            with pytest.raises(DeduplicationError):
                await start(chain, 0, storage=storage, deduplication_id="d", queue="default")
            await Worker(storage, engine=engine, once=True).run()
            clock.advance(10 * SECOND)
        await Worker(storage, engine=engine, once=True).run()
        assert await start(chain, 0, storage=storage, deduplication_id="d", queue="default")

    asyncio.run(main())


def test_of_many_starts_at_once_with_one_id_one_starts() -> None:
    async def main() -> None:
        storage, clock = InMemoryStorageBackend(), VirtualClock()
        engine = make_engine(storage, clock)
        for turn in range(3):
            answers = await asyncio.gather(
                *(start(notes, turn, storage=storage, queue="q", deduplication_id="d") for _ in range(8)),
                return_exceptions=True,
            )
            started = [a for a in answers if isinstance(a, str)]
            assert len(started) == 1
            assert sum(isinstance(a, DeduplicationError) for a in answers) == 7
            await Worker(storage, engine=engine, once=True).run()
        assert seen == [0, 1, 2]

    asyncio.run(main())


def test_an_id_whose_run_was_deleted_is_free_again() -> None:
    async def main() -> None:
        storage, clock = InMemoryStorageBackend(), VirtualClock()
        make_engine(storage, clock)
        for _ in range(2):
            run_id = await start(sleeps, 1, storage=storage, deduplication_id="d")
            record = await storage.get(run_id)
            assert record is not None
            await storage.delete(run_id, expected=record.head)

    asyncio.run(main())


def test_a_start_that_is_killed_at_any_append_leaves_its_id_to_the_next() -> None:
    async def main() -> None:
        for n in range(1, 8):
            for acknowledged in (False, True):
                seen.clear()
                clock, storage = VirtualClock(), InMemoryStorageBackend()
                killing = KillingStorage(storage, n, acknowledged=acknowledged)
                make_engine(killing, clock, 3)
                with contextlib.suppress(Killed):
                    for turn in range(3):
                        await start(notes, turn, storage=killing, deduplication_id="d")
                engine = make_engine(storage, clock, 4)
                clock.advance(60 * SECOND)
                with contextlib.suppress(DeduplicationError):
                    await start(notes, "again", storage=storage, deduplication_id="d")
                await Worker(storage, engine=engine, once=True).run()
                records = [r for r in await storage.list_runs() if r.workflow]
                assert {str(r.status) for r in records} == {"completed"}
                # It can be had again: nothing of the death is left.
                await start(notes, "last", storage=storage, deduplication_id="d")
                assert seen[-1] == "last"

    asyncio.run(main())


def test_two_who_find_the_id_free_at_the_same_moment_start_one_run() -> None:
    async def main() -> None:
        storage, clock = InMemoryStorageBackend(), VirtualClock()
        outsider = make_engine(storage, clock, 5)
        others: list[str] = []

        async def steal(_: str) -> None:
            with contextlib.suppress(DeduplicationError):
                others.append(
                    await start(notes, "thief", storage=outsider.storage, queue="q", deduplication_id="d")
                )

        for when in (1, 2):
            others.clear()
            disturbed = DisturbedStorage(storage, steal, lambda n, when=when: n == when)
            make_engine(disturbed, clock, 6 + when)
            outcome: Any = None
            with contextlib.suppress(DeduplicationError):
                outcome = await start(notes, "owner", storage=disturbed, queue="q", deduplication_id="d")
            assert len(others) + (outcome is not None) == 1
            await Worker(storage, engine=outsider, once=True).run()

    asyncio.run(main())


def test_a_run_without_these_options_costs_no_more_than_its_own_appends() -> None:
    async def main() -> None:
        storage = Wrapper(InMemoryStorageBackend())
        make_engine(storage, VirtualClock())
        run_id = await start(notes, 1, storage=storage)
        assert storage.commits == 2
        assert len(await log_of(storage, run_id)) == 4

    asyncio.run(main())
