"""When a schedule is due, as people write it, and the same checked and as plain data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

from msgspec import Struct

from pyworkflow_core.errors import ConfigurationError
from pyworkflow_core.events import from_micros, to_micros

from ..durations import Duration, to_duration
from .cron import check_cron

_SHORTEST = 100_000

Field = int | Iterable[int] | None


class OverlapPolicy(StrEnum):
    """What happens at a due time while a run of the schedule is under way."""

    SKIP = "skip"
    """The due time is left out, and counted."""
    BUFFER_ONE = "buffer_one"
    """One due time waits for the run to end; further ones are left out."""
    BUFFER_ALL = "buffer_all"
    """Every due time waits for its turn."""
    CANCEL_OTHER = "cancel_other"
    """The run is asked to stop, and when it has ended, the newest due time starts."""
    ALLOW_ALL = "allow_all"
    """It starts at once, beside the other."""


class ScheduleStatus(StrEnum):
    """What a schedule is doing."""

    ACTIVE = "active"
    PAUSED = "paused"
    DELETED = "deleted"


@dataclass(frozen=True)
class CalendarSpec:
    """Moments of the calendar, in the schedule's time zone. All parts must fit.

    A part is a number, several numbers, or None for any.

    Attributes:
        second: 0 to 59.
        minute: 0 to 59.
        hour: 0 to 23.
        day_of_month: 1 to 31; -1 is the last day of the month, -2 the one before.
        month: 1 to 12.
        day_of_week: 0 is Monday, 6 is Sunday.
        year: such as 2030.
    """

    second: Field = 0
    minute: Field = 0
    hour: Field = 0
    day_of_month: Field = None
    month: Field = None
    day_of_week: Field = None
    year: Field = None


@dataclass(frozen=True)
class ScheduleSpec:
    """When a schedule is due: give exactly one of `cron`, `interval` and `calendar`.

    Attributes:
        cron: five fields, such as ``"0 9 * * MON-FRI"``, or ``"@daily"`` and the like.
        interval: ``"15m"`` and the like, counted from `start_at` or from the schedule's creation.
        calendar: a `CalendarSpec`, or several, each of which makes the schedule due.
        timezone: whose clocks `cron` and `calendar` mean, and naive `start_at` and `end_at`.
        start_at: nothing is due before.
        end_at: nothing is due after.
        jitter: each firing is late by up to this much; how much follows from the schedule and the
            due time.
        catch_up: if due times have passed while nobody drove the schedule, those of this long a
            time before are made up for. The latest always is.
    """

    cron: str | None = None
    interval: Duration | None = None
    calendar: CalendarSpec | Iterable[CalendarSpec] | None = None
    timezone: str = "UTC"
    start_at: datetime | None = None
    end_at: datetime | None = None
    jitter: Duration | None = None
    catch_up: Duration | None = None


class Times(Struct, frozen=True, omit_defaults=True):
    """A checked `ScheduleSpec` as plain data, times and durations in microseconds."""

    cron: str | None = None
    interval: int | None = None
    calendar: tuple[tuple[tuple[int, ...] | None, ...], ...] = ()
    timezone: str = "UTC"
    start_at: int | None = None
    end_at: int | None = None
    jitter: int = 0
    catch_up: int = 0


_PARTS = ("second", "minute", "hour", "day_of_month", "month", "day_of_week", "year")
_RANGES = {
    "second": (0, 59),
    "minute": (0, 59),
    "hour": (0, 23),
    "day_of_month": (-31, 31),
    "month": (1, 12),
    "day_of_week": (0, 6),
    "year": (1970, 9999),
}


def times_of(spec: ScheduleSpec) -> Times:
    """The spec as plain data.

    Raises:
        ConfigurationError: it is not one; the message says what is wrong.
        MissingDriverError: it holds a cron expression, and the library for that is not installed.
    """
    if not isinstance(spec, ScheduleSpec):
        raise ConfigurationError(
            f"a schedule needs a ScheduleSpec(cron=…), (interval=…) or (calendar=…), not {spec!r}"
        )
    given = [name for name in ("cron", "interval", "calendar") if getattr(spec, name) is not None]
    if len(given) != 1:
        raise ConfigurationError(
            "a ScheduleSpec has exactly one of cron, interval and calendar"
            + (f", not {' and '.join(given)}" if given else "; this one has none")
        )
    zone = zone_of(spec.timezone)
    interval = None if spec.interval is None else _duration(spec.interval, "interval")
    if interval is not None and interval < _SHORTEST:
        raise ConfigurationError(f"interval {spec.interval!r} is too short: at least 100 ms")
    start_at, end_at = (_moment(getattr(spec, name), name, zone) for name in ("start_at", "end_at"))
    if start_at is not None and end_at is not None and end_at < start_at:
        raise ConfigurationError("end_at is before start_at, so that the schedule would never be due")
    return Times(
        None if spec.cron is None else check_cron(spec.cron),
        interval,
        () if spec.calendar is None else _calendars(spec.calendar),
        spec.timezone,
        start_at,
        end_at,
        0 if spec.jitter is None else _duration(spec.jitter, "jitter"),
        0 if spec.catch_up is None else _duration(spec.catch_up, "catch_up"),
    )


def spec_of(times: Times) -> ScheduleSpec:
    """The spec that these times were made of, or one that means the same."""
    calendars = tuple(CalendarSpec(**dict(zip(_PARTS, parts, strict=True))) for parts in times.calendar)
    return ScheduleSpec(
        times.cron,
        None if times.interval is None else times.interval / 1e6,
        calendars or None,
        times.timezone,
        None if times.start_at is None else from_micros(times.start_at),
        None if times.end_at is None else from_micros(times.end_at),
        times.jitter / 1e6 if times.jitter else None,
        times.catch_up / 1e6 if times.catch_up else None,
    )


def zone_of(name: str) -> ZoneInfo:
    """The time zone.

    Raises:
        ConfigurationError: this machine knows none of that name.
    """
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, TypeError, OSError):
        raise ConfigurationError(
            f"there is no time zone {name!r} here; write a name such as 'Europe/Berlin'. Where the system "
            "has no time zones at all: pip install tzdata"
        ) from None


def _duration(value: Any, what: str) -> int:
    try:
        return to_duration(value, what)
    except ValueError as error:
        raise ConfigurationError(str(error)) from None


def _moment(value: Any, what: str, zone: ZoneInfo) -> int | None:
    if value is None:
        return None
    if not isinstance(value, datetime):
        raise ConfigurationError(f"{what} is a datetime, not {value!r}")
    return to_micros(value if value.tzinfo is not None else value.replace(tzinfo=zone))


def _calendars(given: Any) -> tuple[tuple[tuple[int, ...] | None, ...], ...]:
    calendars = (given,) if isinstance(given, CalendarSpec) else tuple(given)
    if not calendars or not all(isinstance(one, CalendarSpec) for one in calendars):
        raise ConfigurationError(f"calendar is a CalendarSpec or a list of them, not {given!r}")
    return tuple(tuple(_numbers(getattr(one, part), part) for part in _PARTS) for one in calendars)


def _numbers(value: Any, part: str) -> tuple[int, ...] | None:
    if value is None:
        return None
    least, most = _RANGES[part]
    try:
        found = (value,) if isinstance(value, int) else tuple(sorted(set(value)))
        good = bool(found) and all(type(n) is int and least <= n <= most and (n or least >= 0) for n in found)
    except TypeError:
        good = False
    if not good:
        raise ConfigurationError(
            f"{part} of a CalendarSpec is a number from {least} to {most}, several, or None for any; "
            f"not {value!r}"
        )
    return found
