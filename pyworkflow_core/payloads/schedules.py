"""Where a schedule stands: what its run notes whenever that changes."""

from __future__ import annotations

from typing import ClassVar

from msgspec import Struct

from .base import EventType, Payload


class ScheduledRun(Struct, frozen=True, gc=False, omit_defaults=True):
    """A run that a schedule started.

    Attributes:
        run_id: the run.
        at: the time that it was started for, in microseconds since 1970.
        status: ``running``, ``completed``, ``failed`` or ``cancelled``, as far as the schedule was told.
    """

    run_id: str
    at: int
    status: str = "running"


class ScheduleChanged(Payload, frozen=True, gc=False, omit_defaults=True):
    """Where a schedule stands after the events before this one. Whoever looks at it reads this.

    Attributes:
        created_at: when the schedule was created.
        updated_at: when it changed last.
        paused_at: since when it is paused.
        status: ``active``, ``paused`` or ``deleted``.
        anchor: the moment from which intervals are counted.
        after: due times up to this one are done with.
        next_at: the next due time; None if there is none.
        wake_at: when that one fires: a little later, where the schedule has jitter.
        running: runs that were started and have not ended, oldest first; in a log the first twenty.
        running_count: how many there are, where not all of them stand here.
        buffered: due times that wait for these runs to end; in a log none.
        buffered_count: how many there are, where they do not stand here.
        runs: how many runs were started.
        successes: how many of them completed.
        failures: how many failed.
        cancelled: how many were cancelled.
        skips: due times that were left out because a run was under way.
        missed: due times that passed while nobody drove the schedule.
        recent: the runs that were started last, newest first.
        heard: how many signals the run had taken, each once, and those that it took over among them.
            The others in its log are not in this state, whether they stand before it or behind it.
    """

    TYPE: ClassVar[EventType] = EventType.SCHEDULE_CHANGED

    created_at: int = 0
    updated_at: int = 0
    paused_at: int | None = None
    status: str = "active"
    anchor: int = 0
    after: int = 0
    next_at: int | None = None
    wake_at: int | None = None
    running: tuple[str, ...] = ()
    running_count: int = 0
    buffered: tuple[int, ...] = ()
    buffered_count: int = 0
    runs: int = 0
    successes: int = 0
    failures: int = 0
    cancelled: int = 0
    skips: int = 0
    missed: int = 0
    recent: tuple[ScheduledRun, ...] = ()
    heard: int = 0
