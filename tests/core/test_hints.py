"""Hints: nobody sleeps through one, and one that nobody heard is kept."""

from __future__ import annotations

import asyncio

import pytest

from pyworkflow_core.hints import Hints


def test_a_hint_wakes_everybody_who_waits_and_nobody_later() -> None:
    async def main() -> None:
        hints = Hints()
        waiting = [asyncio.create_task(hints.wait()) for _ in range(3)]
        await asyncio.sleep(0)
        hints.tell("something", 1)
        await asyncio.gather(*waiting)
        late = asyncio.create_task(hints.wait())
        await asyncio.sleep(0)
        assert not late.done()
        hints.tell()
        await late

    asyncio.run(main())


def test_hints_that_nobody_heard_wake_the_next_who_waits_once() -> None:
    async def main() -> None:
        hints = Hints()
        hints.tell()
        hints.tell()
        await asyncio.wait_for(hints.wait(), 10)
        second = asyncio.create_task(hints.wait())
        await asyncio.sleep(0)
        assert not second.done()
        second.cancel()
        await asyncio.wait([second])

    asyncio.run(main())


def test_a_wait_that_is_cancelled_leaves_hints_to_others() -> None:
    async def main() -> None:
        hints = Hints()
        waiting = asyncio.create_task(hints.wait())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        hints.tell()
        await asyncio.wait_for(hints.wait(), 10)

    asyncio.run(main())
