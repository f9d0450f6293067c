"""The Redis backend obeys the laws on Redis 8 and a cluster; `nox -s conformance` runs them on 6.2, too."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from redis import Redis

from pyworkflow_core.storage import StorageBackend
from pyworkflow_core.testing import BackendConformance, Clock, run
from pyworkflow_redis import RedisStorageBackend
from pyworkflow_redis.conformance import RedisSubject
from pyworkflow_redis.keys import SLOTS, slot_of


class OnRedis(BackendConformance):
    """Every law on a server that all tests share. Other processes find its URL in the environment."""

    server = ""

    @classmethod
    def variable(cls) -> str:
        return f"PYWORKFLOW_LAWS_{cls.server.upper()}_URL"

    @pytest.fixture(autouse=True)
    def _served(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(self.variable(), request.getfixturevalue(self.server).url)

    @property
    def _redis(self) -> RedisSubject:
        return RedisSubject(os.environ[self.variable()])

    def open(self, namespace: str, clock: Clock) -> AbstractAsyncContextManager[StorageBackend]:
        return self._redis.open(namespace, clock)

    def url(self, namespace: str) -> str:
        return self._redis.url(namespace)

    async def drop(self, namespace: str) -> None:
        await self._redis.drop(namespace)

    def open_golden(self, namespace: str, clock: Clock) -> AbstractAsyncContextManager[StorageBackend]:
        return self._redis.open_golden(namespace, clock)

    def address(self) -> tuple[str, int] | None:
        return self._redis.address()

    def open_at(
        self, namespace: str, clock: Clock, host: str, port: int
    ) -> AbstractAsyncContextManager[StorageBackend]:
        return self._redis.open_at(namespace, clock, host, port)


class TestRedis(OnRedis):
    """Every law on Redis 8."""

    server = "redis"


class TestRedisCluster(OnRedis):
    """Every law on a cluster. No address stands for all of it, so that cuts have a class of their own."""

    server = "redis_cluster"

    def address(self) -> tuple[str, int] | None:
        return None


class ClusterCuts(RedisSubject):
    """Namespaces of one bucket that lie on the same node of a cluster, so that a proxy stands before them."""

    def __init__(self, template: str) -> None:
        super().__init__(f"{template}?buckets=1")
        self._seed = template.partition("://")[2].partition(",")[0]

    def url(self, namespace: str) -> str:
        number = 0
        while slot_of(f"{namespace}_{number}") >= SLOTS // 16:
            number += 1
        return super().url(f"{namespace}_{number}")

    def address(self) -> tuple[str, int]:
        with Redis.from_url(f"redis://{self._seed}") as client:
            shares: Any = client.execute_command("CLUSTER SLOTS")
        first = min(shares, key=lambda share: int(share[0]))
        return first[2][0].decode(), int(first[2][1])

    @asynccontextmanager
    async def open_at(
        self, namespace: str, clock: Clock, host: str, port: int
    ) -> AsyncIterator[StorageBackend]:
        async with RedisStorageBackend(self.url(namespace), reroute=lambda address: (host, port)) as store:
            yield store


@pytest.mark.timeout(300)
def test_cuts_of_a_clusters_connections_can_be_settled(redis_cluster: Any) -> None:
    report = run(ClusterCuts(redis_cluster.url), laws=[45], profile="quick")
    assert "server 1/1" in report.line, [broken.said for law in report.failed for broken in law.broken]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", ["redis", "redis6", "redis-cluster"])
def test_a_server_that_is_killed_loses_nothing_acknowledged(name: str, own_server: Any) -> None:
    server = own_server(name)
    subject = RedisSubject(server.url)
    subject.restart_command = server.restart_command
    report = run(subject, laws=[46], profile="quick")
    assert "server 1/1" in report.line, [broken.said for law in report.failed for broken in law.broken]
