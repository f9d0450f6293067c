"""The virtual clock rings one alarm after the other; durations are refused in words."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pyworkflow import ConfigurationError, step
from pyworkflow.durations import to_duration
from pyworkflow.engine.clock import VirtualClock, wait_until


def test_an_automatic_clock_moves_from_one_alarm_to_the_next() -> None:
    async def main() -> None:
        clock = VirtualClock(0, auto=True)
        woken: list[tuple[int, int]] = []

        async def sleeper(until: int) -> None:
            await wait_until(clock, until)
            woken.append((until, clock.now()))

        await asyncio.gather(*[sleeper(until) for until in (30, 10, 20)])
        assert woken == [(10, 10), (20, 20), (30, 30)]

    asyncio.run(main())


def test_an_alarm_set_while_the_loop_is_busy_is_not_rung_early_for_the_sake_of_an_older_one() -> None:
    async def main() -> None:
        clock = VirtualClock(0, auto=True)
        clock.call_at(5, lambda: None).cancel()
        for _ in range(18):
            await asyncio.sleep(0)
        clock.call_at(1000, lambda: None)
        for _ in range(10):
            await asyncio.sleep(0)
        assert clock.now() == 0

    asyncio.run(main())


def test_an_automatic_clock_serves_one_event_loop_after_the_other() -> None:
    clock = VirtualClock(0, auto=True)

    async def abandoned() -> None:
        clock.call_at(1_000, lambda: None)

    asyncio.run(abandoned())
    asyncio.run(asyncio.wait_for(wait_until(clock, 50), 10))
    assert clock.now() == 50


@pytest.mark.parametrize("value", [1e308, 10**400, "9" * 400 + "w", float("inf"), float("nan"), -(10**400)])
def test_a_duration_that_no_number_can_hold_is_refused_like_any_other(value: Any) -> None:
    with pytest.raises(ValueError, match=r"over 10,000 years|not finite|negative"):
        to_duration(value)
    with pytest.raises(ConfigurationError):
        step(timeout=value)(print)
