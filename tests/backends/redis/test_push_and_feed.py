"""Waking by messages, times that come by the clock, and a feed that forgets its beginning."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from redis.asyncio import Redis

from pyworkflow_core.testing.appends import after, created
from pyworkflow_redis import RedisStorageBackend

LONG = 60_000_000


def test_a_waiter_wakes_when_a_wake_time_comes(namespace: Any) -> None:
    async def main(store: RedisStorageBackend) -> None:
        await store.wait(LONG)  # until it listens
        waiter = asyncio.create_task(store.wait(LONG))
        await asyncio.sleep(0.05)
        now = time.time_ns() // 1000
        await store.commit([created("later", at=now, wake_at=now + 50 * LONG)])
        await store.commit([created("soon", at=now, wake_at=now + 300_000)])
        async with asyncio.timeout(20):
            await waiter
        assert time.time_ns() // 1000 >= now + 300_000

    namespace.run(main)


def test_a_message_between_two_waits_is_not_missed(namespace: Any) -> None:
    async def main(store: RedisStorageBackend) -> None:
        await store.wait(LONG)  # until it listens
        await store.commit([created("a", at=1)])
        await asyncio.sleep(0.2)
        async with asyncio.timeout(20):
            await store.wait(LONG)

    namespace.run(main)


def test_a_waiter_listens_again_after_its_connection_was_cut(namespace: Any) -> None:
    async def main(store: RedisStorageBackend) -> None:
        await store.wait(LONG)  # until it listens
        waiter = asyncio.create_task(store.wait(LONG))
        await asyncio.sleep(0.1)
        async with Redis.from_url(namespace.url) as client:
            for line in (
                (await client.execute_command("CLIENT", "LIST", "TYPE", "pubsub")).decode().splitlines()
            ):
                await client.execute_command("CLIENT", "KILL", "ID", line.split()[0].removeprefix("id="))
        async with asyncio.timeout(20):
            await waiter
            waiter = asyncio.create_task(store.wait(LONG))
            await asyncio.sleep(0.1)
            await store.commit([created("a", at=1)])
            await waiter

    namespace.run(main)


def test_the_feeds_beginning_goes_with_its_runs(namespace: Any) -> None:
    async def main(store: RedisStorageBackend) -> None:
        for n in range(6):
            await store.commit([created(f"r{n}"), created(f"s{n}")])
        begun = await store.feed(limit=3)
        await store.commit([after(created("r5").record)])
        for n in range(6):
            await store.delete(f"r{n}", expected=2 if n == 5 else 1)
        for n in range(5):
            await store.delete(f"s{n}", expected=1)
        async with Redis.from_url(namespace.url) as client:
            assert await client.llen(f"{{{namespace.name}}}:f") <= 3
        for position in (None, begun.position):
            page = await store.feed(after=position)
            assert [event.run_id for event in page.events] == ["s5"]
        await store.commit([created("new")])
        assert [event.run_id for event in (await store.feed(after=page.position)).events] == ["new"]

    namespace.run(main, feed=True)
