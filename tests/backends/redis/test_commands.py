"""The commands that make a namespace, and say what it is and what its servers' settings mean."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from redis import Redis

from pyworkflow import reset_config
from pyworkflow.cli import main
from pyworkflow_core.errors import UnsupportedSchema
from pyworkflow_redis import RedisStorageBackend
from pyworkflow_redis.keys import meta_key

Said = Callable[..., str]


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Iterator[Said]:
    """Runs a command in this process, and returns what it prints."""

    def call(*words: str, code: int = 0) -> str:
        assert main([*words]) == code
        return "".join(capsys.readouterr())

    yield call
    reset_config()


def keys_of(namespace: Any) -> list[bytes]:
    with Redis.from_url(namespace.url) as client:
        return list(client.scan_iter(match=f"{{{namespace.name}*"))


def test_looking_at_a_namespace_does_not_make_it(said: Said, namespace: Any) -> None:
    url = f"{namespace.url}?namespace={namespace.name}"
    assert "'pyworkflow storage init' makes it" in said("storage", "check", "--storage", url, code=5)
    looked = said("backends", "--check", f"{url}&feed=1")
    assert "not made yet; it would be made of one bucket, with a feed" in looked
    assert "synced to disk before it is acknowledged" in looked
    assert keys_of(namespace) == []


def test_a_namespace_is_made_by_init_and_described(said: Said, namespace: Any) -> None:
    url = f"{namespace.url}?namespace={namespace.name}&buckets=3&migrate=never"
    with pytest.raises(UnsupportedSchema, match="storage init"):
        namespace.run(lambda store: store.get("a"), migrate="never")
    made = json.loads(said("storage", "init", "--storage", url, "--json"))
    assert (made["done"], made["from"], made["to"]) == ("made", None, 1)
    assert "nothing to do" in said("storage", "init", "--storage", url)
    looked = said("storage", "check", "--storage", url)
    assert "can be used" in looked
    assert "version 1, made of 3 buckets, without a feed" in looked
    assert "durable: what is acknowledged survives kill -9" in looked
    assert "priorities hold within each part" in looked
    assert namespace.run(lambda store: store.get("a"), migrate="never") is None


def test_a_namespace_of_newer_code_is_refused(namespace: Any) -> None:
    with Redis.from_url(namespace.url) as client:
        client.hset(meta_key(namespace.name), mapping={"version": 9, "buckets": 1, "feed": 0, "tag": "abcd"})
    for migrate in ("auto", "never"):
        with pytest.raises(UnsupportedSchema, match="version 9") as caught:
            namespace.run(lambda store: store.get("a"), migrate=migrate)
        assert (caught.value.found, caught.value.needed) == (9, 1)

    async def describe() -> None:
        store = RedisStorageBackend(namespace.url, namespace=namespace.name)
        try:
            with pytest.raises(UnsupportedSchema):
                await store.describe()
        finally:
            await store.close()

    asyncio.run(describe())
    with Redis.from_url(namespace.url) as client:
        client.delete(meta_key(namespace.name))


def test_a_server_that_loses_runs_is_reported_in_words(said: Said, own_server: Any) -> None:
    server = own_server("redis", "--appendonly", "no")
    looked = said("backends", "--check", server.url)
    assert "NOT DURABLE: appendonly is off" in looked
    assert "not durable: a crash loses runs" in looked
    with Redis.from_url(server.url) as client:
        client.config_set("maxmemory", 100_000_000)
        client.config_set("maxmemory-policy", "allkeys-lru")
    assert "may evict runs when its memory is full" in said("backends", "--check", server.url, code=2)
    assert "MAY LOSE RUNS" in said("backends", "--check", f"{server.url}?eviction=allow")
