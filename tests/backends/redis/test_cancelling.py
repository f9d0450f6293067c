"""Calls that are cancelled at any moment: whole or not at all, and the handle goes on."""

from __future__ import annotations

import asyncio
import random
from typing import Any

from pyworkflow_core.storage import Committed
from pyworkflow_core.testing.appends import after, created, noted_of
from pyworkflow_redis import RedisStorageBackend

TURNS = 150


async def cancel_often(store: RedisStorageBackend) -> None:
    choices = random.Random(7)
    append = created("a")
    assert await store.commit([append]) == [Committed("a", 1)]
    for turn in range(TURNS):
        append = after(append.record, noted_of(30_000), noted_of(50), noted_of(50))
        calls = [store.commit([append]), store.read("a"), store.find(), store.get("a")]
        tasks = [asyncio.create_task(call) for call in calls]
        for _ in range(turn % 12):
            await asyncio.sleep(0)
        await asyncio.sleep(choices.choice((0, 0, 0.0002, 0.001)))
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        others = [store.get("nobody"), store.read("a"), store.get("a")]
        nobody, events, record = await asyncio.gather(*others)
        assert nobody is None
        assert len(events) % 3 == 1
        assert record.head in {len(events), append.record.head}
        assert await store.commit([append]) == [Committed("a", append.record.head)]


def test_cancelled_calls_leave_whole_appends_and_a_handle_that_works(any_namespace: Any) -> None:
    any_namespace.run(cancel_often)


def test_no_more_connections_are_open_than_are_allowed(namespace: Any) -> None:
    async def crowd(store: RedisStorageBackend) -> int:
        await asyncio.gather(*[store.get(f"r{n}") for n in range(100)])
        tasks = [asyncio.create_task(store.get(f"r{n}")) for n in range(100)]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        await asyncio.gather(*[store.get(f"r{n}") for n in range(100)])
        (server,) = store._servers.primaries
        return len(server._idle)

    assert namespace.run(crowd, connections=3) <= 3
