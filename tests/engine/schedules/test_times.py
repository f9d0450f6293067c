"""When a schedule is due: cron, intervals and calendars, in zones whose clocks change."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice, pairwise, takewhile
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyworkflow import CalendarSpec, ScheduleSpec
from pyworkflow.schedules.spec import Times, spec_of, times_of
from pyworkflow.schedules.times import due_times, fires_at, first_look, look
from pyworkflow_core.events import from_micros, to_micros

SECOND = 1_000_000
HOUR, DAY = 3600 * SECOND, 86_400 * SECOND
BERLIN = "Europe/Berlin"
ZONES = [BERLIN, "America/New_York", "Australia/Lord_Howe", "Africa/Cairo", "Asia/Kathmandu", "UTC"]


def at(text: str, zone: str = "UTC", fold: int = 0) -> int:
    return to_micros(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold))


def due(spec: ScheduleSpec, start: str, end: str) -> list[str]:
    """Due times of a stretch in UTC, as clocks of the schedule's zone show them."""
    zone = ZoneInfo(spec.timezone)
    found = due_times(times_of(spec), at(start), at(start) - 1)
    return [
        from_micros(moment).astimezone(zone).strftime("%m-%d %H:%M%z")
        for moment in takewhile(lambda moment: moment <= at(end), found)
    ]


@pytest.mark.parametrize(
    "spec",
    [
        ScheduleSpec(cron="30 2 * * *", timezone=BERLIN),
        ScheduleSpec(calendar=CalendarSpec(hour=2, minute=30), timezone=BERLIN),
    ],
    ids=["cron", "calendar"],
)
def test_a_time_that_does_not_exist_is_due_after_the_gap_and_one_that_exists_twice_the_first_time(
    spec: ScheduleSpec,
) -> None:
    assert due(spec, "2026-03-28 00:00", "2026-03-30 12:00") == [
        "03-28 02:30+0100",
        "03-29 03:00+0200",
        "03-30 02:30+0200",
    ]
    assert due(spec, "2026-10-24 00:00", "2026-10-26 12:00") == [
        "10-24 02:30+0200",
        "10-25 02:30+0200",
        "10-26 02:30+0100",
    ]


def test_an_hourly_cron_goes_by_elapsed_time_through_both_edges() -> None:
    hourly = ScheduleSpec(cron="0 * * * *", timezone=BERLIN)
    for start, end in (("2026-03-28 23:00", "2026-03-29 03:00"), ("2026-10-24 22:00", "2026-10-25 03:00")):
        found = list(takewhile(lambda m, e=end: m <= at(e), due_times(times_of(hourly), 0, at(start) - 1)))
        assert {b - a for a, b in pairwise(found)} == {HOUR}
    assert due(hourly, "2026-10-25 00:00", "2026-10-25 02:00") == [
        "10-25 02:00+0200",
        "10-25 02:00+0100",
        "10-25 03:00+0100",
    ]


def test_several_times_in_one_gap_are_due_once_and_a_gap_at_midnight_moves_the_day_on() -> None:
    three = ScheduleSpec(cron="5,25,45 2 * * *", timezone=BERLIN)
    assert due(three, "2026-03-29 00:00", "2026-03-29 12:00") == ["03-29 03:00+0200"]
    both = [CalendarSpec(hour=2, minute=m) for m in (5, 25)] + [CalendarSpec(hour=3)]
    spec = ScheduleSpec(calendar=both, timezone=BERLIN)
    assert due(spec, "2026-03-29 00:00", "2026-03-29 12:00") == ["03-29 03:00+0200"]
    for midnight in (
        ScheduleSpec(cron="@daily", timezone="Africa/Cairo"),
        ScheduleSpec(calendar=CalendarSpec(), timezone="Africa/Cairo"),
    ):
        assert due(midnight, "2024-04-24 12:00", "2024-04-26 22:00") == [
            "04-25 00:00+0200",
            "04-26 01:00+0300",
            "04-27 00:00+0300",
        ]


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("kind", ["cron", "calendar"])
def test_a_daily_time_is_due_once_a_day_for_a_year_in_any_zone(zone: str, kind: str) -> None:
    for minute in (0, 15, 90, 150, 195):
        hour, rest = divmod(minute, 60)
        cron = ScheduleSpec(cron=f"{rest} {hour} * * *", timezone=zone)
        calendar = ScheduleSpec(calendar=CalendarSpec(hour=hour, minute=rest), timezone=zone)
        times = times_of(cron if kind == "cron" else calendar)
        start = at("2026-01-01 00:00", zone)
        days = [
            from_micros(m).astimezone(ZoneInfo(zone)).date() for m in islice(due_times(times, 0, start), 364)
        ]
        first = days[0]
        assert days == [first + timedelta(days=n) for n in range(364)]


@given(
    after=st.integers(at("2026-01-01 00:00"), at("2027-01-01 00:00")),
    edge=st.sampled_from(["2026-03-29 01:00", "2026-10-25 01:00", "2026-04-04 15:00", "2026-10-03 15:30"]),
    near=st.integers(-3 * HOUR, 3 * HOUR),
    expression=st.sampled_from(["30 2 * * *", "*/15 * * * *", "0 */2 * * *", "15,45 1-3 * * *", "0 2 * * 0"]),
    zone=st.sampled_from(ZONES),
)
def test_the_next_due_time_is_the_same_from_wherever_one_looks(
    after: int, edge: str, near: int, expression: str, zone: str
) -> None:
    times = times_of(ScheduleSpec(cron=expression, timezone=zone))
    for moment in (after, at(edge) + near):
        long_before = due_times(times, 0, moment - 9 * DAY)
        expected = next(m for m in long_before if m > moment)
        assert next(due_times(times, 0, moment)) == expected


@given(
    minutes=st.lists(st.integers(0, 59), min_size=1, max_size=3),
    hours=st.one_of(st.none(), st.lists(st.integers(0, 23), min_size=1, max_size=3)),
    days=st.one_of(st.none(), st.lists(st.sampled_from([1, 15, 28, 31, -1, -3]), min_size=1, max_size=3)),
    weekdays=st.one_of(st.none(), st.lists(st.integers(0, 6), min_size=1, max_size=4)),
    start=st.dates(date(2026, 1, 1), date(2026, 11, 1)),
)
def test_a_calendar_is_due_when_a_look_at_every_minute_says_so(
    minutes: list[int],
    hours: list[int] | None,
    days: list[int] | None,
    weekdays: list[int] | None,
    start: date,
) -> None:
    spec = CalendarSpec(minute=minutes, hour=hours, day_of_month=days, day_of_week=weekdays)
    begin = to_micros(datetime.combine(start, time(), tzinfo=UTC))
    end = begin + 40 * DAY
    expected = []
    for day in (start + timedelta(days=n) for n in range(40)):
        length = ((day.replace(day=1) + timedelta(days=32)).replace(day=1) - timedelta(days=1)).day
        if days is not None and day.day not in days and day.day - length - 1 not in days:
            continue
        if weekdays is not None and day.weekday() not in weekdays:
            continue
        expected += [
            to_micros(datetime.combine(day, time(hour, minute), tzinfo=UTC))
            for hour in (range(24) if hours is None else sorted(set(hours)))
            for minute in sorted(set(minutes))
        ]
    found = due_times(times_of(ScheduleSpec(calendar=spec)), 0, begin - 1)
    assert list(takewhile(lambda m: m < end, found)) == expected


@given(
    interval=st.integers(100_000, 40 * DAY),
    anchor=st.integers(0, 10**15),
    ahead=st.integers(-DAY, 10**14),
    start=st.one_of(st.none(), st.integers(-DAY, 10**13)),
)
def test_an_interval_is_counted_from_its_anchor_and_never_drifts(
    interval: int, anchor: int, ahead: int, start: int | None
) -> None:
    times = Times(interval=interval, start_at=None if start is None else anchor + start)
    after = anchor + ahead
    first = anchor + interval if start is None else anchor + start
    found = list(islice(due_times(times, anchor, after), 3))
    assert all((m - first) % interval == 0 and m >= first and m > after for m in found)
    assert [b - a for a, b in pairwise(found)] == [interval, interval]
    assert found[0] - interval < max(first, after + 1)


@given(
    outage=st.integers(0, 500),
    catch_up=st.integers(0, 600),
    jitter=st.integers(0, 150),
    end=st.integers(1, 600),
)
def test_a_look_deals_with_every_due_time_once(outage: int, catch_up: int, jitter: int, end: int) -> None:
    times = Times(
        interval=60 * SECOND,
        catch_up=catch_up * 60 * SECOND,
        jitter=jitter * SECOND,
        end_at=end * 60 * SECOND,
    )
    now = outage * 60 * SECOND
    found = asyncio.run(look(times, "s", 0, 0, now))
    passed = []
    for n in range(1, end + 1):
        if fires_at(times, "s", n * 60 * SECOND) > now:
            break
        passed.append(n * 60 * SECOND)
    edge = now - times.catch_up
    fired = [moment for moment in passed if moment >= edge or moment == passed[-1]]
    if len(fired) <= 500:
        assert list(found.due) == fired
        assert found.missed == len(passed) - len(fired)
        follows = (passed[-1] if passed else 0) + 60 * SECOND
        if follows <= times.end_at:  # type: ignore[operator]
            assert (found.next_at, found.wake_at) == (follows, fires_at(times, "s", follows))
        else:
            assert found.next_at is None
        assert first_look(times, "s", 0, found.after).next_at == found.next_at


def test_a_spec_becomes_plain_data_and_the_same_spec_again() -> None:
    spec = ScheduleSpec(
        calendar=[CalendarSpec(hour=(9, 17), day_of_week=range(5)), CalendarSpec(day_of_month=-1)],
        timezone=BERLIN,
        start_at=datetime(2026, 1, 1),
        end_at=datetime(2027, 1, 1, tzinfo=UTC),
        jitter="5s",
        catch_up="1h",
    )
    times = times_of(spec)
    assert times.start_at == at("2026-01-01 00:00", BERLIN)
    assert times_of(spec_of(times)) == times
    for other in (ScheduleSpec(cron="@daily"), ScheduleSpec(interval="90s")):
        assert times_of(spec_of(times_of(other))) == times_of(other)
