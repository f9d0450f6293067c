"""Time, as the engine sees it. It is injected, so that a test can run a year in a second."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Protocol

_IDLE_TURNS = 200


class Alarm(Protocol):
    """A call that was set for later."""

    def cancel(self) -> None:
        """Do not make it."""


class Clock(Protocol):
    """Where the engine takes the time from, in microseconds since 1970 in UTC."""

    def now(self) -> int:
        """The time."""

    def call_at(self, when: int, callback: Callable[[], object]) -> Alarm:
        """Call back on the running event loop when the time has come."""


class SystemClock:
    """The machine's own clock."""

    def now(self) -> int:
        """The time, in microseconds since 1970 in UTC."""
        return time.time_ns() // 1000

    def call_at(self, when: int, callback: Callable[[], object]) -> Alarm:
        """Call back on the running event loop when the time has come."""
        # A timer set for years ahead would overflow; an early call is harmless, callers look again.
        delay = min(max(when - self.now(), 0) / 1e6, 86_400.0)
        return asyncio.get_running_loop().call_later(delay, callback)


async def wait_until(clock: Clock, when: int) -> None:
    """Wait until `clock` shows at least `when`, or a little less for waits of over a day."""
    if when <= clock.now():
        return
    done = asyncio.get_running_loop().create_future()

    def ring() -> None:
        if not done.done():
            done.set_result(None)

    alarm = clock.call_at(when, ring)
    try:
        await done
    finally:
        alarm.cancel()


@asynccontextmanager
async def time_limit(clock: Clock, micros: int | None, what: str) -> AsyncIterator[None]:
    """Cut a block off when so much time has passed on `clock`.

    Args:
        clock: whose time counts.
        micros: how long it may take; None for any time.
        what: what to say then.

    Raises:
        TimeoutError: it took longer.
    """
    if micros is None:
        yield
        return
    end = clock.now() + micros
    limit = asyncio.timeout(None)
    alarm: Alarm | None = None

    def ring() -> None:
        nonlocal alarm
        if clock.now() < end:
            alarm = clock.call_at(end, ring)
        else:
            limit.reschedule(0)

    try:
        async with limit:
            alarm = clock.call_at(end, ring)
            try:
                yield
            finally:
                if alarm is not None:
                    alarm.cancel()
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise TimeoutError(f"{what} within {micros / 1e6:g} s") from error


class _VirtualAlarm:
    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback: Callable[[], object] | None = callback

    def cancel(self) -> None:
        self.callback = None


class VirtualClock:
    """A clock that stands still until it is moved.

    Args:
        now: where it starts, in microseconds since 1970.
        auto: move on to the next alarm by itself as soon as the event loop has nothing else
            ready; so sleeps take no time. Steps that really wait (for the network, a thread)
            then seem to take no time either, unless the alarm comes first.
    """

    def __init__(self, now: int = 1_700_000_000_000_000, *, auto: bool = False) -> None:
        self._now = now
        self._auto = auto
        self._alarms: list[tuple[int, int, _VirtualAlarm]] = []
        self._order = itertools.count()
        self._idle_turns = 0
        self._watched: asyncio.AbstractEventLoop | None = None

    def now(self) -> int:
        """The time, in microseconds since 1970 in UTC."""
        return self._now

    def call_at(self, when: int, callback: Callable[[], object]) -> Alarm:
        """Call back when the clock has been moved to `when`."""
        alarm = _VirtualAlarm(callback)
        heapq.heappush(self._alarms, (when, next(self._order), alarm))
        if self._auto:
            self._idle_turns = 0
            loop = asyncio.get_running_loop()
            if self._watched is not loop:
                self._watched = loop
                loop.call_soon(self._move_when_idle, loop)
        return alarm

    def advance(self, micros: int) -> None:
        """Move the clock and make the calls that became due, in order."""
        self.move_to(self._now + micros)

    def move_to(self, when: int) -> None:
        """Move the clock to a moment; it never goes back."""
        while self._alarms and self._alarms[0][0] <= when:
            due, _, alarm = heapq.heappop(self._alarms)
            self._now = max(self._now, due)
            callback, alarm.callback = alarm.callback, None
            if callback is not None:
                callback()
        self._now = max(self._now, when)

    def next_alarm(self) -> int | None:
        """When the next call is due; None if none is set."""
        while self._alarms and self._alarms[0][2].callback is None:
            heapq.heappop(self._alarms)
        return self._alarms[0][0] if self._alarms else None

    def _move_when_idle(self, loop: asyncio.AbstractEventLoop) -> None:
        # A few turns of the loop after the last alarm was set or rung let tasks that are ready go first.
        if self._watched is not loop:
            return
        self._idle_turns += 1
        if self._idle_turns > _IDLE_TURNS:
            self._idle_turns = 0
            when = self.next_alarm()
            if when is None:
                self._watched = None
                return
            self.move_to(when)
        loop.call_soon(self._move_when_idle, loop)
