"""What a server's settings make of acknowledged appends: declared, said in words, and kept."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pyworkflow_core.errors import ConfigurationError
from pyworkflow_core.storage import Capabilities, Committed, Unknown
from pyworkflow_core.testing.appends import after, created
from pyworkflow_redis import RedisStorageBackend


def look(url: str, **options: Any) -> tuple[Capabilities, str]:
    """What a handle declares, and what it says of the server."""

    async def main() -> tuple[Capabilities, str]:
        async with RedisStorageBackend(url, **options) as store:
            return store.capabilities, "\n".join(await store.describe())

    return asyncio.run(main())


def commit_twice(url: str, **options: Any) -> list[type[Any]]:
    """What the same append is answered, and answered again."""

    async def main() -> list[type[Any]]:
        async with RedisStorageBackend(url, **options) as store:
            return [type((await store.commit([created("a")]))[0]) for _ in range(2)]

    return asyncio.run(main())


def test_a_server_that_syncs_each_write_is_durable(redis: Any) -> None:
    capabilities, said = look(redis.url)
    assert capabilities.durable
    assert capabilities.failover_loss == ""
    assert "synced to disk before it is acknowledged" in said


def test_a_server_that_syncs_each_second_is_durable_only_if_commits_wait_for_it(own_server: Any) -> None:
    server = own_server("redis", "--appendfsync", "everysec")
    capabilities, said = look(server.url)
    assert not capabilities.durable
    assert "up to about two seconds" in said
    assert not look(server.url, ack="everysec")[0].durable
    capabilities, said = look(server.url, ack="always")
    assert capabilities.durable
    assert "WAITAOF" in said
    assert commit_twice(server.url, ack="always") == [Committed, Committed]


def test_a_server_without_a_file_says_that_it_is_not_durable(own_server: Any) -> None:
    server = own_server("redis", "--appendonly", "no")
    capabilities, said = look(server.url)
    assert not capabilities.durable
    assert "NOT DURABLE: appendonly is off" in said
    for ack in ("everysec", "always"):
        with pytest.raises(ConfigurationError, match="appendonly no"):
            look(server.url, ack=ack)


def test_an_old_server_cannot_confirm_what_it_does_not_sync_by_itself(own_server: Any) -> None:
    server = own_server("redis6", "--appendfsync", "everysec")
    assert not look(server.url)[0].durable
    with pytest.raises(ConfigurationError, match="set appendfsync always"):
        look(server.url, ack="always")


def test_syncing_left_to_the_system_is_said_in_words(own_server: Any) -> None:
    server = own_server("redis6", "--appendfsync", "no")
    assert "loses about half a minute" in look(server.url)[1]
    with pytest.raises(ConfigurationError, match="appendfsync no"):
        look(server.url, ack="everysec")


def test_a_server_that_may_evict_runs_is_refused_unless_that_is_allowed(own_server: Any) -> None:
    server = own_server("redis", "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lfu")
    with pytest.raises(ConfigurationError, match="set maxmemory-policy to noeviction"):
        look(server.url)
    assert "MAY LOSE RUNS" in look(server.url, eviction="allow")[1]


def test_a_server_that_evicts_only_what_expires_keeps_runs(own_server: Any) -> None:
    server = own_server("redis", "--maxmemory", "100mb", "--maxmemory-policy", "volatile-lru")
    assert "never evicts runs; when 105 MB are full" in look(server.url)[1]


def test_a_server_that_tells_nothing_of_its_settings_is_taken_as_not_durable(own_server: Any) -> None:
    server = own_server("redis", "--rename-command", "CONFIG", "", "--rename-command", "ROLE", "")
    capabilities, said = look(server.url)
    assert not capabilities.durable
    assert "does not tell how often it is synced" in said


def test_an_append_that_replicas_do_not_confirm_is_unknown_and_not_lost(own_server: Any) -> None:
    server = own_server("redis")
    assert commit_twice(server.url, ack="wait:1", timeout=0.3) == [Unknown, Unknown]
    assert commit_twice(server.url) == [Committed, Committed]


def test_an_append_is_acknowledged_when_a_replica_has_it(redis_sentinel: Any) -> None:
    async def main() -> None:
        async with RedisStorageBackend(redis_sentinel.url, ack="wait:1", namespace="replicated") as store:
            assert "1 replica(s)" in store.capabilities.failover_loss
            first = created("a")
            assert await store.commit([first]) == [Committed("a", 1)]
            assert await store.commit([first]) == [Committed("a", 1)]
            assert await store.commit([after(first.record)]) == [Committed("a", 2)]
            await store.drop()

    asyncio.run(main())
    capabilities, _ = look(redis_sentinel.url, namespace="replicated")
    assert "had not reached the replica" in capabilities.failover_loss
