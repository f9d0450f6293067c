"""Who drives schedules: `LocalScheduler`, and every worker, whatever queues it serves."""

from __future__ import annotations

import asyncio
import pathlib
import sys
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from pyworkflow import (
    InMemoryStorageBackend,
    LocalScheduler,
    ScheduleSpec,
    Worker,
    create_schedule,
    get_schedule,
    list_workflow_runs,
    pause_schedule,
    trigger_schedule,
    workflow,
)
from pyworkflow.engine.clock import VirtualClock
from pyworkflow.schedules import code
from pyworkflow.schedules.times import look
from pyworkflow_core.events import from_micros, to_micros
from pyworkflow_core.storage import Append, RunQuery

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))
from families import take_up_due
from schedules_at_work import DAY, MINUTE, SECOND, at, check_schedule_logs, due_of, quick, runs_of, work_until
from simulated_runs import make_engine
from storage_wrappers import Wrapper

sys.path.pop(0)

BERLIN = ZoneInfo("Europe/Berlin")


def test_a_local_scheduler_drives_schedules_and_their_runs_for_as_long_as_it_is_told() -> None:
    async def main() -> None:
        clock, storage = VirtualClock(at("2026-01-01 00:00"), auto=True), InMemoryStorageBackend()
        engine = make_engine(storage, clock, 1)
        await create_schedule(
            quick, ScheduleSpec(interval="1m"), "x", schedule_id="s", storage=storage, queue="any"
        )
        await LocalScheduler(storage, engine=engine).run("150s")
        assert clock.now() == at("2026-01-01 00:02:30")
        runs = await list_workflow_runs(storage=storage)
        assert [run.result for run in runs] == [["x"], ["x"]]
        scheduler = LocalScheduler(storage, engine=engine)
        task = asyncio.create_task(scheduler.run())
        while len(await due_of(storage, "s")) < 4:
            await asyncio.sleep(0)
        scheduler.stop()
        await task
        assert scheduler.driven >= 4

    asyncio.run(main())


def test_for_a_year_in_a_zone_with_summer_time_a_local_scheduler_fires_once_a_day_at_its_hour() -> None:
    begin = at("2026-01-01 12:00")

    async def main() -> None:
        clock, storage = VirtualClock(begin, auto=True), InMemoryStorageBackend()
        engine = make_engine(storage, clock, 1)
        spec = ScheduleSpec(cron="30 2 * * *", timezone="Europe/Berlin")
        await create_schedule(quick, spec, schedule_id="s", storage=storage)
        await LocalScheduler(storage, "6h", engine=engine).run("365d")
        runs = await runs_of(storage, "s")
        fired = [from_micros(int(r.attributes["scheduled_for"])).astimezone(BERLIN) for r in runs]
        assert [moment.date() for moment in fired] == [
            datetime(2026, 1, 2).date() + timedelta(days=n) for n in range(365)
        ]
        odd = {moment.strftime("%m-%d %H:%M") for moment in fired if (moment.hour, moment.minute) != (2, 30)}
        assert odd == {"03-29 03:00"}
        late = [r.created_at - int(r.attributes["scheduled_for"]) for r in runs]
        assert 0 <= min(late) <= max(late) <= DAY // 4, "a firing was later than the next look"
        schedule = await get_schedule("s", storage)
        assert schedule is not None
        assert (schedule.successful_runs, schedule.missed_runs) == (365, 0)
        await check_schedule_logs(storage)

    asyncio.run(main())


def test_a_worker_of_another_queue_drives_a_schedule_without_knowing_its_workflow() -> None:
    async def main() -> None:
        clock, storage = VirtualClock(at("2026-01-01 00:00")), InMemoryStorageBackend()
        engine = make_engine(storage, clock, 1)
        await create_schedule(
            "somebody.elses", ScheduleSpec(interval="1m"), schedule_id="s", queue="theirs", storage=storage
        )
        run_id = await trigger_schedule("s", storage=storage)
        clock.move_to(clock.now() + MINUTE)
        await Worker(storage, queues=["mine"], engine=engine, once=True).run()
        runs = await runs_of(storage, "s")
        # At the trigger nothing was due yet; so the due time meets the run of the trigger, and is left out.
        assert [(r.run_id, r.workflow, r.queue, r.status) for r in runs] == [
            (run_id, "somebody.elses", "theirs", "pending")
        ]
        schedule = await get_schedule("s", storage)
        assert schedule is not None
        assert (schedule.running_run_ids, schedule.skipped_runs) == ((run_id,), 1)

    asyncio.run(main())


def test_runs_start_on_the_newest_version_of_their_workflow_that_is_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from pyworkflow import definitions

    monkeypatch.setattr(definitions, "_workflows", dict(definitions._workflows))

    def define(version: int) -> None:
        @workflow(name="schedules.versioned", version=version, tags=[f"v{version}"])
        async def versioned() -> int:
            return version

    async def main() -> None:
        clock, storage = VirtualClock(at("2026-01-01 00:00")), InMemoryStorageBackend()
        engine = make_engine(storage, clock, 1)
        await create_schedule(
            "schedules.versioned", ScheduleSpec(interval="1m"), schedule_id="s", storage=storage
        )
        define(1)
        await trigger_schedule("s", storage=storage)
        await work_until(engine, clock, clock.now() + SECOND)
        define(2)
        await work_until(engine, clock, clock.now() + MINUTE)
        runs = await list_workflow_runs(storage=storage)
        assert [(run.result, run.tags) for run in runs] == [(2, ("v2",)), (1, ("v1",))]

    asyncio.run(main())


def test_a_schedule_waits_where_the_cron_library_is_missing_and_goes_on_where_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> None:
        clock, storage = VirtualClock(at("2026-01-01 00:00")), InMemoryStorageBackend()
        engine = make_engine(storage, clock, 1)
        await create_schedule(quick, ScheduleSpec(cron="0 * * * *"), schedule_id="s", storage=storage)
        with monkeypatch.context() as without:
            without.setitem(sys.modules, "cronsim", None)
            await work_until(engine, clock, clock.now() + 75 * MINUTE)
            assert await due_of(storage, "s") == []
            paused = await pause_schedule("s", storage=storage)
            assert paused.status == "paused"
        await work_until(engine, clock, clock.now() + MINUTE)
        assert await due_of(storage, "s") == [at("2026-01-01 01:00")]

    asyncio.run(main())


def test_a_schedule_that_was_paused_while_somebody_drives_it_is_paused_from_then_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[str] = []

    async def main() -> None:
        clock, storage = VirtualClock(at("2026-01-01 00:00")), InMemoryStorageBackend()
        engine = make_engine(storage, clock, 1)
        spec = ScheduleSpec(interval="1m")
        await create_schedule(quick, spec, schedule_id="s", overlap_policy="allow_all", storage=storage)

        async def look_slowly(*args: Any) -> Any:
            if not seen:  # when the pause comes, something has become due that nobody has looked at
                clock.move_to(clock.now() + MINUTE)
                await pause_schedule("s", storage=storage)
            schedule = await get_schedule("s", storage)
            assert schedule is not None
            seen.append(schedule.status)
            return await look(*args)

        monkeypatch.setattr(code, "look", look_slowly)
        clock.move_to(clock.now() + MINUTE)
        await take_up_due(engine)
        assert await due_of(storage, "s") == [at("2026-01-01 00:01"), at("2026-01-01 00:02")]
        assert seen == ["paused", "paused"]
        await check_schedule_logs(storage)

    asyncio.run(main())


class PausedAsItNotes(Wrapper):
    """Pauses the schedule just before a note of it is appended that says a run has ended."""

    def __init__(self, inner: InMemoryStorageBackend, clock: VirtualClock) -> None:
        super().__init__(inner)
        self._clock = clock
        self.paused = False

    async def before(self, appends: Sequence[Append]) -> None:
        for append in appends:
            notes = any(event.type == "schedule_changed" for event in append.events)
            if notes and not self.paused and await self._has_heard_of_an_end(append.run_id):
                self.paused = True
                self._clock.move_to(self._clock.now() + MINUTE)  # to a due time that is before the pause
                await pause_schedule("s", storage=self.inner)

    async def _has_heard_of_an_end(self, run_id: str) -> bool:
        return any(event.type == "child_workflow_completed" for event in await self.inner.read(run_id))


def test_a_note_that_was_worked_out_before_a_pause_and_is_appended_behind_it_does_not_hide_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[str] = []

    async def main() -> None:
        clock = VirtualClock(at("2026-01-01 00:00"))
        storage = PausedAsItNotes(InMemoryStorageBackend(), clock)
        make_engine(storage.inner, clock, 2)
        engine = make_engine(storage, clock, 1)
        spec = ScheduleSpec(interval="1m")
        made = await create_schedule(
            quick, spec, schedule_id="s", overlap_policy="allow_all", storage=storage
        )

        async def look_and_see(*args: Any) -> Any:
            if storage.paused:
                types = [str(event.type) for event in await storage.read(made.run_id)]
                pause = max(n for n, name in enumerate(types) if name == "signal_received")
                assert "schedule_changed" in types[pause:], "this is not what the test is about"
                schedule = await get_schedule("s", storage)
                assert schedule is not None
                seen.append(schedule.status)
            return await look(*args)

        monkeypatch.setattr(code, "look", look_and_see)
        clock.move_to(clock.now() + MINUTE)
        while await take_up_due(engine):
            pass
        assert seen == ["paused"]
        await check_schedule_logs(storage)

    asyncio.run(main())


def test_schedules_cost_workers_nothing_before_they_are_due() -> None:
    async def main() -> None:
        clock, storage = VirtualClock(at("2026-01-01 00:00")), InMemoryStorageBackend()
        make_engine(storage, clock, 1)
        made: list[Any] = [
            await create_schedule(quick, ScheduleSpec(interval="1d"), schedule_id=f"s{n}", storage=storage)
            for n in range(5)
        ]
        claims = await storage.claim(owner="x", now=clock.now() + DAY - 1, lease=SECOND, limit=10)
        assert claims == []
        records = await storage.list_runs(RunQuery(workflow="pyworkflow.schedule"))
        assert {record.wake_at for record in records} == {to_micros(made[0].next_run_time)}

    asyncio.run(main())
