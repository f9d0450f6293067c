"""Commits that are large, and servers that do not answer in time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from redis.asyncio import Redis

from pyworkflow_core.errors import StorageUnavailable
from pyworkflow_core.storage import Committed, Unknown
from pyworkflow_core.testing.appends import after, created, noted_of
from pyworkflow_redis import RedisStorageBackend
from pyworkflow_redis.commits import MOST_EVENTS

RUNS, EVENTS = 900, 6


async def commit_much(store: RedisStorageBackend) -> None:
    assert RUNS * EVENTS > MOST_EVENTS
    first = [created(f"r{n}") for n in range(RUNS)]
    assert await store.commit(first) == [Committed(append.run_id, 1) for append in first]
    more = [after(append.record, *[noted_of(5)] * EVENTS) for append in first]
    for _ in range(2):
        assert await store.commit(more) == [Committed(append.run_id, 1 + EVENTS) for append in more]
    assert [len(await store.read(f"r{n}")) for n in (0, RUNS // 2, RUNS - 1)] == [1 + EVENTS] * 3


async def commit_at_once(store: RedisStorageBackend) -> None:
    first = created("long")
    count = store.limits.append_events
    assert count is not None
    append = after(first.record, *[noted_of(5)] * count)
    assert await store.commit([first]) == [Committed("long", 1)]
    for _ in range(2):
        assert await store.commit([append]) == [Committed("long", 1 + count)]
    assert len(await store.read("long")) == 1 + count


def test_a_commit_of_more_events_than_a_script_takes_is_sent_in_parts(any_namespace: Any) -> None:
    any_namespace.run(commit_much)


def test_an_append_may_have_as_many_events_as_the_limits_say(any_namespace: Any) -> None:
    any_namespace.run(commit_at_once)


async def wait_for_nothing(url: str) -> None:
    async with RedisStorageBackend(url, timeout=0.3) as store, Redis.from_url(url) as client:
        first = created("a")
        assert await store.commit([first]) == [Committed("a", 1)]
        append = after(first.record)
        await client.execute_command("CLIENT", "PAUSE", 60_000, "WRITE")
        (answer,) = await store.commit([append])
        assert isinstance(answer, Unknown)
        assert "no answer within 0.3 s" in str(answer.cause)
        with pytest.raises(StorageUnavailable, match="no answer within"):
            await store.claim(owner="w", now=10, lease=10)
        assert len(await store.read("a")) == 1
        await client.execute_command("CLIENT", "UNPAUSE")
        assert await store.commit([append]) == [Committed("a", 2)]
        assert len(await store.read("a")) == 2


@pytest.mark.parametrize("kind", ["redis", "redis6"])
def test_a_server_that_is_late_leaves_an_outcome_that_is_settled(kind: str, own_server: Any) -> None:
    asyncio.run(wait_for_nothing(own_server(kind).url))
