"""Moments of the calendar: wall-clock times, each of which is due once.

A time that does not exist, because clocks were put forward, is due right after the gap. One that
exists twice is due the first time.
"""

from __future__ import annotations

import calendar
import heapq
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from itertools import product
from zoneinfo import ZoneInfo

from pyworkflow_core.events import from_micros, to_micros

Parts = tuple[tuple[int, ...] | None, ...]

_YEARS_AHEAD = 50


def calendar_times(calendars: tuple[Parts, ...], zone: ZoneInfo, after: int) -> Iterator[int]:
    """Due times later than `after`, in microseconds, in order; for the next 50 years."""
    before = after
    for due in heapq.merge(*(_times(parts, zone, after) for parts in calendars)):
        if due > before:
            yield due
            before = due


def _times(parts: Parts, zone: ZoneInfo, after: int) -> Iterator[int]:
    seconds, minutes, hours = (
        part if part is not None else tuple(range(most))
        for part, most in zip(parts[:3], (60, 60, 24), strict=True)
    )
    before = after
    for day in _days(parts, from_micros(after).astimezone(zone).date()):
        for hour, minute, second in product(hours, minutes, seconds):
            due = to_micros(_existing(datetime.combine(day, time(hour, minute, second)), zone))
            if due > before:
                yield due
                before = due


def _days(parts: Parts, first: date) -> Iterator[date]:
    """Days that fit, from the one before `first` on: a time after midnight may come of the day before."""
    days, months, weekdays, years = parts[3:]
    day = first - timedelta(days=1)
    last = date(min(first.year + _YEARS_AHEAD, 9999), 12, 31)
    while day < last:
        if (years is not None and day.year not in years) or (months is not None and day.month not in months):
            day = (day.replace(day=1) + timedelta(days=32)).replace(day=1)
            continue
        length = calendar.monthrange(day.year, day.month)[1]
        in_month = days is None or day.day in days or day.day - length - 1 in days
        if in_month and (weekdays is None or day.weekday() in weekdays):
            yield day
        day += timedelta(days=1)


def _existing(wall: datetime, zone: ZoneInfo) -> datetime:
    """The moment when clocks show this time first; if they never do, the first one after the gap."""
    moment = wall.replace(tzinfo=zone)
    early, late = moment.utcoffset(), moment.replace(fold=1).utcoffset()
    assert early is not None
    assert late is not None
    if early >= late:
        return moment
    # In a gap the earlier offset leads behind it and the later one before it; the edge lies between.
    low, high = to_micros(moment.replace(fold=1)), to_micros(moment)
    while high - low > 1:
        middle = (low + high) // 2
        if from_micros(middle).astimezone(zone).utcoffset() == late:
            high = middle
        else:
            low = middle
    return from_micros(high)
