"""Tests of how the conformance suite reaches the memory backend."""

from __future__ import annotations

import asyncio

from pyworkflow_core.testing import Clock
from pyworkflow_core.testing.appends import created
from pyworkflow_memory.conformance import MemorySubject


def test_a_namespace_is_a_name_that_can_be_forgotten() -> None:
    async def main() -> None:
        subject = MemorySubject("memory://")
        assert subject.url("test_forgotten") == "memory://test_forgotten"
        async with subject.open("test_forgotten", Clock()) as store:
            await store.commit([created("a")])
        async with subject.open("test_forgotten", Clock()) as store:
            assert len(await store.read("a")) == 1
        await subject.drop("test_forgotten")
        async with subject.open("test_forgotten", Clock()) as store:
            assert await store.read("a") == []
        await subject.drop("test_forgotten")

    asyncio.run(main())
