"""Schedules: what fires when, what becomes of overlaps, and what is done to schedules."""

from __future__ import annotations

import asyncio
import pathlib
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pyworkflow import (
    InMemoryStorageBackend,
    OverlapPolicy,
    ScheduleSpec,
    backfill_schedule,
    cancel_workflow,
    create_schedule,
    delete_schedule,
    get_schedule,
    list_schedules,
    list_workflow_runs,
    pause_schedule,
    resume_schedule,
    trigger_schedule,
    update_schedule,
)
from pyworkflow.engine.clock import VirtualClock
from pyworkflow.engine.engine import Engine
from pyworkflow.engine.signals import tell
from pyworkflow.schedules.reading import find_schedule
from pyworkflow_core.events import from_micros

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from schedules_at_work import (
    MINUTE,
    SECOND,
    at,
    check_schedule_logs,
    due_of,
    failing,
    quick,
    runs_of,
    slow,
    stubborn,
    work_until,
)
from simulated_runs import make_engine

sys.path.pop(0)

START = at("2026-01-05 10:00:00")
EVERY_MINUTE = ScheduleSpec(interval="1m")


class World:
    """A storage, a clock and an engine."""

    def __init__(self) -> None:
        self.storage = InMemoryStorageBackend()
        self.clock = VirtualClock(START)
        self.engine: Engine = make_engine(self.storage, self.clock, 1)

    async def pass_time(self, micros: int) -> None:
        await work_until(self.engine, self.clock, self.clock.now() + micros)

    async def due(self, schedule_id: str = "s") -> list[float]:
        return [(due - START) / MINUTE for due in await due_of(self.storage, schedule_id)]


def simulated(test: Callable[[World], Awaitable[None]]) -> None:
    async def main() -> None:
        world = World()
        await test(world)
        await check_schedule_logs(world.storage)

    asyncio.run(main())


def test_a_schedule_starts_its_workflow_with_its_arguments_at_every_due_time() -> None:
    async def scenario(world: World) -> None:
        made = await create_schedule(
            "schedules.quick", EVERY_MINUTE, 1, (2,), schedule_id="s", storage=world.storage, word="x"
        )
        assert (made.status, made.total_runs, made.args, made.kwargs) == (
            "active",
            0,
            (1, (2,)),
            {"word": "x"},
        )
        assert made.next_run_time == from_micros(START + MINUTE)
        await world.pass_time(3 * MINUTE)
        runs = await list_workflow_runs(storage=world.storage)
        assert [run.result for run in runs] == [[1, (2,), {"word": "x"}]] * 3
        assert [run.nesting_depth for run in runs] == [0, 0, 0]
        assert await world.due() == [1, 2, 3]
        now = await get_schedule("s", world.storage)
        assert now is not None
        assert (now.total_runs, now.successful_runs, now.failed_runs) == (3, 3, 0)
        assert [r.status for r in now.recent_runs] == ["completed"] * 3
        assert now.last_run_at == from_micros(START + 3 * MINUTE)
        assert now.next_run_time == from_micros(START + 4 * MINUTE)

    simulated(scenario)


def test_failures_and_cancellations_of_runs_are_counted() -> None:
    async def scenario(world: World) -> None:
        await create_schedule(failing, EVERY_MINUTE, schedule_id="f", storage=world.storage)
        await create_schedule(slow, EVERY_MINUTE, 3600, schedule_id="c", storage=world.storage)
        await world.pass_time(2 * MINUTE)
        (run,) = await runs_of(world.storage, "c")
        await cancel_workflow(run.run_id, storage=world.storage)
        await world.pass_time(SECOND)
        f, c = await get_schedule("f", world.storage), await get_schedule("c", world.storage)
        assert f is not None
        assert c is not None
        assert (f.total_runs, f.failed_runs) == (2, 2)
        assert (c.total_runs, c.cancelled_runs, c.skipped_runs, c.running_run_ids) == (1, 1, 1, ())

    simulated(scenario)


OVERLAPS: dict[OverlapPolicy, tuple[list[float], dict[str, Any]]] = {
    # A run takes two and a half minutes; the schedule is driven for seven.
    OverlapPolicy.SKIP: ([1, 4, 7], {"skipped_runs": 4, "successful_runs": 2}),
    OverlapPolicy.BUFFER_ONE: ([1, 2, 4], {"skipped_runs": 3, "successful_runs": 2, "buffered_count": 1}),
    OverlapPolicy.BUFFER_ALL: ([1, 2, 3], {"skipped_runs": 0, "successful_runs": 2, "buffered_count": 4}),
    OverlapPolicy.CANCEL_OTHER: (
        [1, 2, 3, 4, 5, 6, 7],
        {"cancelled_runs": 6, "successful_runs": 0, "skipped_runs": 0},
    ),
    OverlapPolicy.ALLOW_ALL: ([1, 2, 3, 4, 5, 6, 7], {"successful_runs": 4, "skipped_runs": 0}),
}


@pytest.mark.parametrize("policy", OverlapPolicy)
def test_what_is_due_while_a_run_is_under_way_follows_the_overlap_policy(policy: OverlapPolicy) -> None:
    async def scenario(world: World) -> None:
        await create_schedule(
            slow, EVERY_MINUTE, 150, overlap_policy=policy, schedule_id="s", storage=world.storage
        )
        await world.pass_time(7 * MINUTE)
        due, counts = OVERLAPS[policy]
        now = await get_schedule("s", world.storage)
        assert await world.due() == due
        assert {name: getattr(now, name) for name in counts} == counts
        at_once = 3 if policy is OverlapPolicy.ALLOW_ALL else 1
        assert now is not None
        assert len(now.running_run_ids) == at_once

    simulated(scenario)


def test_a_run_that_does_not_stop_when_it_is_asked_holds_the_newest_due_time_up() -> None:
    async def scenario(world: World) -> None:
        await create_schedule(
            stubborn, EVERY_MINUTE, 140, overlap_policy="cancel_other", schedule_id="s", storage=world.storage
        )
        await world.pass_time(6 * MINUTE)
        assert await world.due() == [1, 3, 5]
        now = await get_schedule("s", world.storage)
        assert now is not None
        assert (now.skipped_runs, now.cancelled_runs, len(now.running_run_ids)) == (2, 2, 1)

    simulated(scenario)


def test_a_paused_schedule_is_never_due_and_makes_nothing_up() -> None:
    async def scenario(world: World) -> None:
        await create_schedule(quick, EVERY_MINUTE, schedule_id="s", storage=world.storage)
        await world.pass_time(MINUTE)
        paused = await pause_schedule("s", storage=world.storage)
        assert (paused.status, paused.next_run_time) == ("paused", None)  # before anybody drove it
        assert paused.paused_at == from_micros(START + MINUTE)
        await world.pass_time(5 * MINUTE)
        assert [s.schedule_id for s in await list_schedules(status="paused", storage=world.storage)] == ["s"]
        resumed = await resume_schedule("s", storage=world.storage)
        assert (resumed.status, resumed.paused_at) == ("active", None)
        assert resumed.next_run_time == from_micros(START + 7 * MINUTE)
        await world.pass_time(2 * MINUTE)
        assert await world.due() == [1, 7, 8]
        now = await get_schedule("s", world.storage)
        assert now is not None
        assert now.missed_runs == 0

    simulated(scenario)


def test_an_updated_schedule_goes_by_its_new_times_and_keeps_its_counts() -> None:
    async def scenario(world: World) -> None:
        await create_schedule(slow, EVERY_MINUTE, 90, schedule_id="s", storage=world.storage)
        await world.pass_time(MINUTE)
        later = ScheduleSpec(interval="10m")
        changed = await update_schedule("s", later, "allow_all", storage=world.storage)
        assert (changed.spec.interval, changed.overlap_policy) == (600, "allow_all")
        assert changed.next_run_time == from_micros(START + 11 * MINUTE)
        await world.pass_time(20 * MINUTE)
        assert await world.due() == [1, 11, 21]
        now = await get_schedule("s", world.storage)
        assert now is not None
        assert (now.total_runs, now.successful_runs) == (3, 2)
        assert (now.spec.interval, now.overlap_policy) == (600, "allow_all")

    simulated(scenario)


def test_a_trigger_starts_a_run_at_once_whatever_the_schedule_says() -> None:
    async def scenario(world: World) -> None:
        await create_schedule(slow, ScheduleSpec(interval="1h"), 600, schedule_id="s", storage=world.storage)
        await pause_schedule("s", storage=world.storage)
        run_ids = [await trigger_schedule("s", storage=world.storage) for _ in range(2)]
        await world.pass_time(SECOND)
        assert sorted(r.run_id for r in await runs_of(world.storage, "s")) == sorted(run_ids)
        now = await get_schedule("s", world.storage)
        assert now is not None
        assert (now.status, now.total_runs, sorted(now.running_run_ids)) == ("paused", 2, sorted(run_ids))

    simulated(scenario)


def test_a_backfill_starts_a_run_for_every_due_time_of_a_stretch() -> None:
    async def scenario(world: World) -> None:
        await create_schedule(quick, ScheduleSpec(cron="*/5 * * * *"), schedule_id="s", storage=world.storage)
        start, end = datetime(2026, 1, 4, 12, 0), datetime(2026, 1, 4, 13, 0, tzinfo=UTC)
        run_ids = await backfill_schedule("s", start, end, storage=world.storage)
        assert len(run_ids) == 13
        await world.pass_time(SECOND)
        runs = await runs_of(world.storage, "s")
        assert [r.run_id for r in runs] == run_ids
        assert int(runs[0].attributes["scheduled_for"]) == at("2026-01-04 12:00")
        again = await backfill_schedule("s", start, end, storage=world.storage)
        assert not set(again) & set(run_ids)

    simulated(scenario)


def test_many_runs_at_once_do_not_swell_the_log_of_their_schedule() -> None:
    async def scenario(world: World) -> None:
        made = await create_schedule(slow, EVERY_MINUTE, 1, schedule_id="s", storage=world.storage)
        before = from_micros(START)
        await backfill_schedule("s", before - timedelta(minutes=299), before, storage=world.storage)
        await work_until(world.engine, world.clock, world.clock.now())
        now = await get_schedule("s", world.storage)
        assert now is not None
        assert (now.running_count, len(now.running_run_ids)) == (300, 20)
        await world.pass_time(2 * SECOND)
        now = await get_schedule("s", world.storage)
        assert now is not None
        assert (now.running_count, now.successful_runs) == (0, 300)
        events = await world.storage.read(made.run_id)
        assert max(len(event.body) for event in events if event.type == "schedule_changed") < 3000

    simulated(scenario)


def test_a_schedule_is_found_although_its_first_runs_were_deleted_from_the_storage() -> None:
    async def scenario(world: World) -> None:
        made = await create_schedule(quick, EVERY_MINUTE, schedule_id="s", storage=world.storage)
        await world.pass_time(60 * MINUTE)
        first = await world.storage.get(made.run_id)
        assert first is not None
        assert first.status == "continued_as_new"
        await world.storage.delete(made.run_id, expected=first.head)
        again = await create_schedule(quick, EVERY_MINUTE, schedule_id="s", storage=world.storage)
        assert again.total_runs == 60
        await pause_schedule("s", storage=world.storage)
        await world.pass_time(5 * MINUTE)
        assert len(await world.due()) == 60

    simulated(scenario)


def test_a_schedule_whose_last_run_was_deleted_from_the_storage_is_gone_and_its_id_free() -> None:
    async def scenario(world: World) -> None:
        await create_schedule(quick, EVERY_MINUTE, schedule_id="s", storage=world.storage)
        await world.pass_time(60 * MINUTE)
        last = await find_schedule(world.engine, "s")
        assert last is not None
        await world.storage.delete(last.run_id, expected=last.head)
        gone = await get_schedule("s", world.storage)
        assert gone is not None
        assert gone.status == "deleted"
        again = await create_schedule(quick, EVERY_MINUTE, schedule_id="s", storage=world.storage)
        assert (again.status, again.total_runs) == ("active", 0)

    simulated(scenario)


def test_an_interval_is_backfilled_by_the_times_that_it_would_have_had() -> None:
    async def scenario(world: World) -> None:
        await create_schedule(quick, ScheduleSpec(interval="7m"), schedule_id="s", storage=world.storage)
        before = from_micros(START) - timedelta(minutes=14)
        run_ids = await backfill_schedule("s", before, from_micros(START), storage=world.storage)
        await world.pass_time(SECOND)
        assert await world.due() == [-14, -7, 0]
        assert len(run_ids) == 3

    simulated(scenario)


def test_a_deleted_schedule_starts_nothing_more_and_leaves_its_runs_alone() -> None:
    async def scenario(world: World) -> None:
        await create_schedule(slow, EVERY_MINUTE, 150, schedule_id="s", storage=world.storage)
        await world.pass_time(MINUTE)
        await delete_schedule("s", storage=world.storage)
        assert await list_schedules(storage=world.storage) == []
        await world.pass_time(10 * MINUTE)
        assert [r.status for r in await runs_of(world.storage, "s")] == ["completed"]
        gone = await get_schedule("s", world.storage)
        assert gone is not None
        assert (gone.status, gone.next_run_time) == ("deleted", None)

    simulated(scenario)


def test_the_id_of_a_deleted_schedule_may_be_used_again_at_once() -> None:
    async def scenario(world: World) -> None:
        await create_schedule(quick, EVERY_MINUTE, schedule_id="s", storage=world.storage)
        await world.pass_time(MINUTE)
        for rest in range(3):
            await delete_schedule("s", storage=world.storage)
            again = await create_schedule(quick, EVERY_MINUTE, rest, schedule_id="s", storage=world.storage)
            assert (again.status, again.total_runs, again.args) == ("active", 0, (rest,))
        await world.pass_time(2 * MINUTE)
        assert await world.due() == [1, 2, 3]
        now = await get_schedule("s", world.storage)
        assert now is not None
        assert (now.total_runs, now.args) == (2, (2,))
        assert len(await list_schedules(storage=world.storage)) == 1

    simulated(scenario)


def test_after_an_outage_the_latest_due_time_is_made_up_for_and_the_others_are_counted() -> None:
    async def scenario(world: World) -> None:
        await create_schedule(quick, EVERY_MINUTE, schedule_id="s", storage=world.storage)
        await world.pass_time(MINUTE)
        world.clock.move_to(START + 90 * MINUTE + SECOND)
        await world.pass_time(2 * MINUTE)
        assert await world.due() == [1, 90, 91, 92]
        now = await get_schedule("s", world.storage)
        assert now is not None
        assert now.missed_runs == 88

    simulated(scenario)


def test_with_catch_up_the_due_times_of_that_window_are_made_up_for() -> None:
    async def scenario(world: World) -> None:
        spec = ScheduleSpec(interval="1m", catch_up="5m")
        await create_schedule(quick, spec, overlap_policy="allow_all", schedule_id="s", storage=world.storage)
        world.clock.move_to(START + 20 * MINUTE)
        await world.pass_time(MINUTE)
        assert await world.due() == [15, 16, 17, 18, 19, 20, 21]
        now = await get_schedule("s", world.storage)
        assert now is not None
        assert now.missed_runs == 14

    simulated(scenario)


def test_more_is_made_up_for_than_one_look_takes() -> None:
    async def scenario(world: World) -> None:
        spec = ScheduleSpec(interval="1s", catch_up="1d")
        await create_schedule(quick, spec, overlap_policy="allow_all", schedule_id="s", storage=world.storage)
        world.clock.move_to(START + 700 * SECOND)
        await work_until(world.engine, world.clock, world.clock.now())
        now = await get_schedule("s", world.storage)
        assert now is not None
        assert (now.total_runs, now.missed_runs, now.skipped_runs) == (700, 0, 0)

    simulated(scenario)


def test_times_are_kept_within_start_and_end_and_then_nothing_is_due() -> None:
    async def scenario(world: World) -> None:
        start = from_micros(START + 5 * MINUTE)
        spec = ScheduleSpec(interval="2m", start_at=start, end_at=start + timedelta(minutes=4))
        await create_schedule(quick, spec, schedule_id="s", storage=world.storage)
        await world.pass_time(60 * MINUTE)
        assert await world.due() == [5, 7, 9]
        now = await get_schedule("s", world.storage)
        assert now is not None
        assert (now.status, now.next_run_time) == ("active", None)
        await update_schedule("s", EVERY_MINUTE, storage=world.storage)
        await world.pass_time(MINUTE)
        assert await world.due() == [5, 7, 9, 61]

    simulated(scenario)


def test_jitter_makes_firings_late_by_the_same_on_every_machine_and_never_drifts() -> None:
    async def scenario(world: World) -> None:
        spec = ScheduleSpec(interval="10m", jitter="2m")
        await create_schedule(quick, spec, schedule_id="s", storage=world.storage)
        await world.pass_time(100 * MINUTE + 2 * MINUTE)
        runs = await runs_of(world.storage, "s")
        late = [r.created_at - int(r.attributes["scheduled_for"]) for r in runs]
        assert await world.due() == [10 * n for n in range(1, 11)]
        assert all(0 <= one <= 2 * MINUTE for one in late)
        assert len(set(late)) > 5
        other = World()
        await create_schedule(quick, spec, schedule_id="s", storage=other.storage)
        await other.pass_time(102 * MINUTE)
        assert [r.created_at for r in await runs_of(other.storage, "s")] == [r.created_at for r in runs]

    simulated(scenario)


def test_a_schedule_continues_as_new_and_is_still_found_with_its_counts() -> None:
    async def scenario(world: World) -> None:
        await create_schedule(quick, EVERY_MINUTE, schedule_id="s", storage=world.storage)
        await create_schedule(quick, EVERY_MINUTE, schedule_id="t", storage=world.storage)
        await world.pass_time(150 * MINUTE)
        now = await get_schedule("s", world.storage)
        assert now is not None
        assert (now.total_runs, now.successful_runs) == (150, 150)
        assert await world.due() == [*range(1, 151)]
        own = await list_workflow_runs(workflow_name="pyworkflow.schedule", storage=world.storage)
        assert len(own) >= 6
        assert max(run.event_count for run in own) < 1000
        assert len(await list_schedules(storage=world.storage)) == 2
        await pause_schedule("s", storage=world.storage)
        await world.pass_time(10 * MINUTE)
        assert len(await world.due()) == 150

    simulated(scenario)


def test_what_makes_no_sense_to_a_schedule_does_not_end_it() -> None:
    async def scenario(world: World) -> None:
        made = await create_schedule(quick, EVERY_MINUTE, schedule_id="s", storage=world.storage)
        for signal, value in (("pause", "now"), ("dance", {}), ("update", {"times": 5}), ("trigger", None)):
            await tell(world.engine, made.run_id, signal, value)
        await world.pass_time(2 * MINUTE)
        now = await get_schedule("s", world.storage)
        assert now is not None
        assert (now.status, now.total_runs) == ("active", 3)

    simulated(scenario)


def test_runs_of_schedules_are_listed_and_schedules_only_where_asked_for() -> None:
    async def scenario(world: World) -> None:
        await create_schedule(quick, EVERY_MINUTE, schedule_id="s", storage=world.storage)
        await world.pass_time(MINUTE)
        listed = await list_workflow_runs(storage=world.storage)
        assert [run.workflow_name for run in listed] == ["schedules.quick"]
        own = await list_workflow_runs(workflow_name="pyworkflow.schedule", storage=world.storage)
        assert [run.status for run in own] == ["suspended"]
        assert listed[0].parent_run_id == own[0].run_id

    simulated(scenario)


def test_a_schedule_whose_run_was_cancelled_is_deleted() -> None:
    async def scenario(world: World) -> None:
        made = await create_schedule(slow, EVERY_MINUTE, 600, schedule_id="s", storage=world.storage)
        await world.pass_time(MINUTE)
        await cancel_workflow(made.run_id, storage=world.storage)
        await world.pass_time(20 * MINUTE)
        gone = await get_schedule("s", world.storage)
        assert gone is not None
        assert gone.status == "deleted"
        assert [r.status for r in await runs_of(world.storage, "s")] == ["completed"]

    simulated(scenario)
