"""Calls at once: what they return, and which failure is told."""

from __future__ import annotations

import asyncio

import pytest

from pyworkflow_core.testing import LawBroken
from pyworkflow_core.testing.at_once import at_once


async def give(value: int) -> int:
    await asyncio.sleep(0)
    return value


async def fail(error: Exception) -> None:
    raise error


def test_values_come_in_the_order_of_the_calls() -> None:
    assert asyncio.run(at_once(give(1), give(2), give(3))) == [1, 2, 3]


def test_a_failure_is_raised_as_it_is_and_ends_the_others() -> None:
    others = []

    async def wait_for_ever() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            others.append("ended")

    with pytest.raises(KeyError, match="no such thing"):
        asyncio.run(at_once(wait_for_ever(), fail(KeyError("no such thing"))))
    assert others == ["ended"]


def test_a_broken_law_is_told_before_other_failures() -> None:
    with pytest.raises(LawBroken, match="what is wrong"):
        asyncio.run(at_once(fail(ValueError("a consequence")), fail(LawBroken("what is wrong"))))
