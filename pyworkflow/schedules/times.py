"""Due times of a schedule: which come next, which have passed, and how late each one fires."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from msgspec import Struct

from .calendars import calendar_times
from .cron import cron_times
from .spec import zone_of

if TYPE_CHECKING:
    from .spec import Times

_AT_ONCE = 500
"""Due times of one look; if there are more, the next look goes on behind them."""


class Look(Struct, frozen=True, omit_defaults=True):
    """What a look at the clock finds.

    Attributes:
        due: due times to start runs for.
        missed: how many others have passed.
        after: what is due up to here is done with.
        next_at: the due time behind that; None if there is none.
        wake_at: when it fires.
    """

    due: tuple[int, ...] = ()
    missed: int = 0
    after: int = 0
    next_at: int | None = None
    wake_at: int | None = None


def due_times(times: Times, anchor: int, after: int) -> Iterator[int]:
    """Due times later than `after`, in order.

    Args:
        times: when the schedule is due.
        anchor: from where an interval is counted, if there is no start.
        after: in microseconds.
    """
    if times.start_at is not None:
        after = max(after, times.start_at - 1)
    if times.cron is not None:
        found = cron_times(times.cron, zone_of(times.timezone), after)
    elif times.interval is not None:
        found = _interval_times(times, anchor, after)
    else:
        found = calendar_times(times.calendar, zone_of(times.timezone), after)
    for due in found:
        if times.end_at is not None and due > times.end_at:
            return
        yield due


def _interval_times(times: Times, anchor: int, after: int) -> Iterator[int]:
    interval = times.interval or 1
    first = anchor + interval if times.start_at is None else times.start_at
    due = first + max(0, -(-(after + 1 - first) // interval)) * interval
    while True:
        yield due
        due += interval


def fires_at(times: Times, schedule: str, due: int) -> int:
    """When a due time fires: it follows from the schedule and the due time, so everybody knows."""
    if not times.jitter:
        return due
    digest = hashlib.blake2b(f"{schedule}\0{due}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return due + int.from_bytes(digest, "big") % (times.jitter + 1)


def first_look(times: Times, schedule: str, anchor: int, after: int) -> Look:
    """What comes next, without a look at the clock."""
    due = next(due_times(times, anchor, after), None)
    return Look((), 0, after, due, None if due is None else fires_at(times, schedule, due))


async def look(times: Times, schedule: str, anchor: int, after: int, now: int) -> Look:
    """What has become due since `after`, and what comes next.

    The latest due time is made up for, however long ago it was; earlier ones, if they are no
    longer ago than `catch_up`.
    """
    due: list[int] = []
    missed = 0
    candidate: int | None = None
    for count, moment in enumerate(due_times(times, anchor, after), 1):
        if count % _AT_ONCE == 0:
            await asyncio.sleep(0)  # a long outage must not hold up what else goes on here
        if candidate is not None:
            # Something later is due as well, or will be.
            is_latest = fires_at(times, schedule, moment) > now
            if is_latest or candidate >= now - times.catch_up:
                due.append(candidate)
            else:
                missed += 1
            after, candidate = candidate, None
            if is_latest:
                return Look(tuple(due), missed, after, moment, fires_at(times, schedule, moment))
            if len(due) >= _AT_ONCE:
                return Look(tuple(due), missed, after, moment, fires_at(times, schedule, moment))
        wake = fires_at(times, schedule, moment)
        if wake > now:
            return Look(tuple(due), missed, after, moment, wake)
        candidate = moment
    if candidate is not None:
        due.append(candidate)
        after = candidate
    return Look(tuple(due), missed, after)
