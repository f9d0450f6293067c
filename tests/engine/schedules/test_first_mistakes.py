"""What people get wrong about schedules at first, and what they are told."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from pyworkflow import (
    CalendarSpec,
    InMemoryStorageBackend,
    ScheduleExistsError,
    ScheduleNotFoundError,
    ScheduleSpec,
    StorageBackend,
    activate_scheduled_workflows,
    backfill_schedule,
    create_schedule,
    delete_schedule,
    get_schedule,
    list_schedules,
    pause_schedule,
    scheduled_workflow,
    start,
    trigger_schedule,
    workflow,
)
from pyworkflow.errors import StepOutsideWorkflowError
from pyworkflow.schedules import decorating
from pyworkflow_core.errors import ConfigurationError, MissingDriverError

EVERY_DAY = ScheduleSpec(interval="1d")


@workflow(name="mistakes.job")
async def job(number: int = 1) -> int:
    return number


@pytest.fixture
def storage() -> StorageBackend:
    return InMemoryStorageBackend()


def run(make: Callable[[], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        return await make()

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        (ScheduleSpec(), "exactly one of cron, interval and calendar; this one has none"),
        (ScheduleSpec(cron="@daily", interval=5), "not cron and interval"),
        (ScheduleSpec(cron="* * * *"), "has not five fields"),
        (ScheduleSpec(cron="0 0 9 * * *"), "for seconds use interval or calendar"),
        (ScheduleSpec(cron="61 * * * *"), "cron '61 \\* \\* \\* \\*': Bad minute"),
        (ScheduleSpec(cron="0 0 31 2 *"), "cron '0 0 31 2 \\*'"),
        (ScheduleSpec(cron=5), "cron is a text of five fields, not 5"),  # type: ignore[arg-type]
        (ScheduleSpec(interval="5 minutes"), "interval '5 minutes' is not a duration"),
        (ScheduleSpec(interval=0), "interval 0 is too short"),
        (ScheduleSpec(interval=5, jitter=-1), "jitter -1 is negative"),
        (ScheduleSpec(interval=5, timezone="Berlin"), "there is no time zone 'Berlin' here"),
        (ScheduleSpec(interval=5, start_at="now"), "start_at is a datetime, not 'now'"),  # type: ignore[arg-type]
        (
            ScheduleSpec(interval=5, start_at=datetime(2026, 1, 2), end_at=datetime(2026, 1, 1)),
            "end_at is before start_at",
        ),
        (ScheduleSpec(calendar=CalendarSpec(hour=24)), "hour of a CalendarSpec is a number from 0 to 23"),
        (ScheduleSpec(calendar=CalendarSpec(day_of_month=0)), "day_of_month of a CalendarSpec"),
        (ScheduleSpec(calendar=CalendarSpec(month=())), "month of a CalendarSpec"),
        (ScheduleSpec(calendar=[]), "calendar is a CalendarSpec or a list of them"),
        ("@daily", "a schedule needs a ScheduleSpec"),
    ],
)
def test_a_spec_that_is_wrong_is_refused_with_what_is_wrong(
    spec: Any, says: str, storage: StorageBackend
) -> None:
    with pytest.raises(ConfigurationError, match=says):
        run(lambda: create_schedule(job, spec, storage=storage))
    assert run(lambda: list_schedules(storage=storage)) == []


def test_a_cron_expression_without_the_library_says_what_to_install(
    storage: StorageBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cronsim", None)
    with pytest.raises(MissingDriverError, match=r"pip install 'pyworkflow-core\[schedules\]'"):
        run(lambda: create_schedule(job, ScheduleSpec(cron="@daily"), storage=storage))
    assert run(lambda: create_schedule(job, EVERY_DAY, storage=storage)).status == "active"


def test_arguments_that_do_not_fit_the_workflow_are_refused_at_once(storage: StorageBackend) -> None:
    with pytest.raises(TypeError, match=r"workflow .mistakes\.job."):
        run(lambda: create_schedule(job, EVERY_DAY, 1, 2, storage=storage))
    with pytest.raises(ConfigurationError, match="there is no overlap policy 'drop'; there are skip"):
        run(lambda: create_schedule(job, EVERY_DAY, overlap_policy="drop", storage=storage))
    with pytest.raises(ConfigurationError, match="takes a workflow or its name, not int 5"):
        run(lambda: create_schedule(5, EVERY_DAY, storage=storage))  # type: ignore[arg-type]


def test_creating_the_same_schedule_again_does_nothing_and_another_of_its_id_is_refused(
    storage: StorageBackend,
) -> None:
    async def main() -> None:
        first = await create_schedule(job, EVERY_DAY, 5, schedule_id="s", storage=storage)
        again = await create_schedule("mistakes.job", EVERY_DAY, 5, schedule_id="s", storage=storage)
        assert again == first
        for args, options in (((6,), {}), ((5,), {"overlap_policy": "allow_all"}), ((5,), {"queue": "q"})):
            with pytest.raises(ScheduleExistsError, match=r"schedule 's' exists already.*update_schedule"):
                await create_schedule(job, EVERY_DAY, *args, schedule_id="s", storage=storage, **options)
        at_once = await asyncio.gather(
            *(create_schedule(job, EVERY_DAY, schedule_id="t", storage=storage) for _ in range(5))
        )
        assert len({one.run_id for one in at_once}) == 1

    run(main)


def test_a_schedule_that_is_not_there_is_named(storage: StorageBackend) -> None:
    async def main() -> None:
        assert await get_schedule("nightly", storage) is None
        for verb in (pause_schedule, delete_schedule, trigger_schedule):
            with pytest.raises(ScheduleNotFoundError, match="there is no schedule 'nightly'"):
                await verb("nightly", storage=storage)
        await create_schedule(job, EVERY_DAY, schedule_id="nightly", storage=storage)
        await delete_schedule("nightly", storage=storage)
        with pytest.raises(ScheduleNotFoundError, match="or it was deleted"):
            await pause_schedule("nightly", storage=storage)

    run(main)


def test_a_backfill_that_is_too_long_or_turned_round_is_refused(storage: StorageBackend) -> None:
    async def main() -> None:
        await create_schedule(job, ScheduleSpec(interval="1s"), schedule_id="s", storage=storage)
        first, last = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
        with pytest.raises(ConfigurationError, match="more than 2000 times"):
            await backfill_schedule("s", first, last, storage=storage)
        with pytest.raises(ConfigurationError, match="before the start"):
            await backfill_schedule("s", last, first, storage=storage)
        with pytest.raises(ConfigurationError, match="takes two datetimes"):
            await backfill_schedule("s", "yesterday", last, storage=storage)  # type: ignore[arg-type]

    run(main)


@workflow(name="mistakes.scheduling")
async def scheduling(url: str) -> None:
    await create_schedule(job, EVERY_DAY, storage=url)


def test_a_workflow_cannot_create_schedules_itself(storage: StorageBackend) -> None:
    with pytest.raises(StepOutsideWorkflowError, match="inside a workflow: a replay would do it again"):
        run(lambda: start(scheduling, "memory://", storage=storage))


def test_a_status_that_cannot_be_listed_is_refused(storage: StorageBackend) -> None:
    with pytest.raises(ValueError, match="deleted schedules are not listed"):
        run(lambda: list_schedules(status="deleted", storage=storage))
    with pytest.raises(ValueError, match="asleep"):
        run(lambda: list_schedules(status="asleep", storage=storage))


def test_the_names_of_our_own_workflows_are_taken() -> None:
    with pytest.raises(ConfigurationError, match="pyworkflow's own; choose another"):

        @workflow(name="pyworkflow.schedule")
        async def mine() -> None: ...


@pytest.fixture
def no_decorations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decorating, "_scheduled", {})


@pytest.mark.usefixtures("no_decorations")
def test_a_decorated_workflow_is_scheduled_once_however_often_it_is_activated(
    storage: StorageBackend,
) -> None:
    def decorate(interval: str) -> None:
        @scheduled_workflow(interval=interval, overlap_policy="buffer_one", name="mistakes.tidy")
        async def tidy(what: str = "up") -> str:
            return what

    async def main() -> None:
        decorate("1h")
        assert await activate_scheduled_workflows(storage) == ["mistakes.tidy"]
        first = await get_schedule("mistakes.tidy", storage)
        assert await activate_scheduled_workflows(storage) == ["mistakes.tidy"]
        assert await get_schedule("mistakes.tidy", storage) == first
        assert first is not None
        assert (first.spec.interval, first.overlap_policy) == (3600, "buffer_one")
        decorate("2h")
        await activate_scheduled_workflows(storage)
        changed = await get_schedule("mistakes.tidy", storage)
        assert changed is not None
        assert (changed.spec.interval, changed.run_id) == (7200, first.run_id)

    run(main)


@pytest.mark.usefixtures("no_decorations")
def test_a_decorated_workflow_that_needs_arguments_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"needs arguments.*use create_schedule\(…\) with arguments"):

        @scheduled_workflow(interval="1h", name="mistakes.needy")
        async def needy(what: str) -> str:
            return what

    with pytest.raises(ConfigurationError, match="exactly one of"):
        scheduled_workflow()
