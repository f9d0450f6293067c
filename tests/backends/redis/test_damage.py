"""Keys that something else removed or changed: damage is named, and never written over."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from pyworkflow_core.errors import CorruptLog, StorageUnavailable
from pyworkflow_core.storage import Committed, Refused, Unknown
from pyworkflow_core.testing.appends import after, created, suspended
from pyworkflow_redis import RedisStorageBackend


def damaged(
    namespace: Any,
    harm: Callable[[Any, str], Awaitable[object]],
    look: Callable[[RedisStorageBackend], Awaitable[object]],
) -> None:
    """Write two runs, harm one behind the handle's back, and look."""

    async def main() -> None:
        async with Redis.from_url(namespace.url) as client, namespace.open() as store:
            await store.commit([created("a"), created("b")])
            await store.commit([after(created("a").record), after(created("b").record)])
            await harm(client, f"{{{namespace.name}}}:")
            await look(store)
            assert len(await store.read("b")) == 2

    asyncio.run(main())


NEXT = after(after(created("a").record).record)


async def is_refused(store: RedisStorageBackend) -> None:
    with pytest.raises(CorruptLog, match="run 'a'"):
        await store.read("a")
    neighbour = after(created("c").record)
    await store.commit([created("c")])
    refused, made = await store.commit([NEXT, neighbour])
    assert isinstance(refused, Refused)
    assert isinstance(refused.error, CorruptLog)
    assert made == Committed("c", 2)


@pytest.mark.parametrize(
    "harm",
    [
        lambda client, tag: client.delete(f"{tag}e:a"),
        lambda client, tag: client.rpop(f"{tag}e:a"),
        lambda client, tag: client.ltrim(f"{tag}e:a", 1, -1),
    ],
    ids=["evicted", "shortened", "trimmed"],
)
def test_a_log_that_lacks_events_is_refused(namespace: Any, harm: Any) -> None:
    damaged(namespace, harm, is_refused)


def test_a_log_without_a_run_is_not_written_over(namespace: Any) -> None:
    async def look(store: RedisStorageBackend) -> None:
        assert await store.get("a") is None
        with pytest.raises(CorruptLog):
            await store.read("a")
        (answer,) = await store.commit([created("a", incarnation="i2")])
        assert isinstance(answer, Refused)
        claims = await store.claim(owner="w", now=10, lease=10, limit=10)
        assert [claim.run_id for claim in claims] == ["b"]

    damaged(namespace, lambda client, tag: client.delete(f"{tag}r:a"), look)


def test_a_row_that_is_rubbish_is_named(namespace: Any) -> None:
    async def look(store: RedisStorageBackend) -> None:
        with pytest.raises(CorruptLog, match="run 'a'"):
            await store.get("a")

    damaged(namespace, lambda client, tag: client.set(f"{tag}r:a", "rubbish"), look)


def test_a_key_of_another_type_fails_before_anything_is_written(namespace: Any) -> None:
    async def harm(client: Any, tag: str) -> None:
        await client.delete(f"{tag}r:a")
        await client.hset(f"{tag}r:a", "x", 1)

    async def look(store: RedisStorageBackend) -> None:
        with pytest.raises(StorageUnavailable, match="WRONGTYPE"):
            await store.commit([created("d"), NEXT])
        assert await store.get("d") is None

    damaged(namespace, harm, look)


def test_an_error_after_writing_began_leaves_the_outcome_unknown(namespace: Any) -> None:
    async def harm(client: Any, tag: str) -> None:
        await client.set(f"{tag}d:7:q", "no sorted set")

    async def look(store: RedisStorageBackend) -> None:
        answers = await store.commit([created("d"), created("e", queue="q", priority=7)])
        assert [type(answer) for answer in answers] == [Unknown, Unknown]
        assert await store.read("d") == list(created("d").events)
        assert await store.commit([created("d")]) == [Committed("d", 1)]

    damaged(namespace, harm, look)


def test_a_due_entry_without_a_run_is_dropped(namespace: Any) -> None:
    async def harm(client: Any, tag: str) -> None:
        await client.zadd(f"{tag}d:5:default", {"ghost": 1})

    async def look(store: RedisStorageBackend) -> None:
        for run_id in ("a", "b"):
            record = await store.get(run_id)
            assert record is not None
            await store.commit([suspended(record, None, prefix="s")])
        assert await store.claim(owner="w", now=10, lease=10, limit=10) == []
        await store.delete("b", expected=3)
        await store.commit([created("b", incarnation="i2")])
        await store.commit([after(created("b", incarnation="i2").record)])

    damaged(namespace, harm, look)
