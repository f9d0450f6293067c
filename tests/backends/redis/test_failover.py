"""Sentinels, and a primary that is gone: handles find the new one, and nothing confirmed is lost."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import urlsplit

import pytest
from redis.asyncio import Redis

from pyworkflow_core.errors import StorageUnavailable
from pyworkflow_core.storage import Committed
from pyworkflow_core.testing.appends import after, created
from pyworkflow_redis import RedisStorageBackend

pytestmark = pytest.mark.kills

PATIENCE = 60.0


async def primary_of(url: str) -> int:
    """The port of the primary, as a sentinel says."""
    host = urlsplit(url).netloc.partition(",")[0]
    async with Redis.from_url(f"redis://{host}") as sentinel:
        _, port = await sentinel.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "primary")
        return int(port)


async def settle(store: RedisStorageBackend, append: Any) -> None:
    """Submit an append until it is acknowledged."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                (answer,) = await store.commit([append])
            except StorageUnavailable:
                await asyncio.sleep(0.1)
                continue
            if isinstance(answer, Committed):
                return
            await asyncio.sleep(0.1)


async def lose_the_primary(server: Any) -> None:
    url = f"{server.url}?ack=wait:1&timeout=2"
    async with RedisStorageBackend(url) as store, RedisStorageBackend(url) as reader:
        append = created("a")
        await settle(store, append)
        old = await primary_of(server.url)
        replacing = asyncio.create_task(replace(server, old))
        for _ in range(20):
            append = after(append.record)
            await settle(store, append)
        await replacing
        append = after(append.record)
        await settle(store, append)
        assert len(await reader.read("a")) == append.record.head
        assert await reader.get("a") == append.record


async def replace(server: Any, old: int) -> None:
    """Kill the primary, and have it back as a replica when there is another one.

    Until then a primary without a replica confirms nothing.
    """
    await asyncio.to_thread(server.kill, old)
    while await primary_of(server.url) == old:
        await asyncio.sleep(0.1)
    await asyncio.to_thread(server.start, old)


@pytest.mark.timeout(180)
def test_appends_go_on_after_a_failover_and_nothing_confirmed_is_lost(own_server: Any) -> None:
    asyncio.run(lose_the_primary(own_server("redis-sentinel")))


async def switch_the_primary(server: Any) -> None:
    async with RedisStorageBackend(server.url) as writer, RedisStorageBackend(server.url) as reader:
        first = created("a")
        await settle(writer, first)
        assert await reader.get("a") == first.record
        old = await primary_of(server.url)
        host = urlsplit(server.url).netloc.partition(",")[0]
        async with Redis.from_url(f"redis://{host}") as sentinel:
            await sentinel.execute_command("SENTINEL", "FAILOVER", "primary")
        async with asyncio.timeout(PATIENCE):
            while await primary_of(server.url) == old:
                await asyncio.sleep(0.1)
        second = after(first.record)
        await settle(writer, second)
        async with asyncio.timeout(PATIENCE):
            # The old primary is a replica by now, and would answer with what it has.
            while True:
                try:
                    found = await reader.get("a")
                    break
                except StorageUnavailable:
                    await asyncio.sleep(0.1)
        assert found == second.record


@pytest.mark.timeout(180)
def test_readers_follow_when_the_primary_becomes_a_replica(own_server: Any) -> None:
    asyncio.run(switch_the_primary(own_server("redis-sentinel")))


def test_sentinels_that_do_not_know_the_primary_are_said_to(redis_sentinel: Any) -> None:
    async def main() -> None:
        async with RedisStorageBackend(redis_sentinel.url.replace("/primary/", "/another/")):
            raise AssertionError("it opened")

    with pytest.raises(StorageUnavailable, match="another"):
        asyncio.run(main())


def test_a_replica_is_not_taken_for_a_server(redis_sentinel: Any) -> None:
    async def main() -> None:
        primary = await primary_of(redis_sentinel.url)
        async with Redis(port=primary) as client:
            (replica,) = (await client.execute_command("ROLE"))[2]
        async with RedisStorageBackend(f"redis://127.0.0.1:{int(replica[1])}"):
            raise AssertionError("it opened")

    with pytest.raises(StorageUnavailable, match="it is a replica"):
        asyncio.run(main())
