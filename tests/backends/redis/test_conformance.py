"""The Redis backend obeys the laws on Redis 8 and a cluster; `nox -s conformance` runs them on 6.2, too."""

from __future__ import annotations

import os
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from pyworkflow_core.storage import StorageBackend
from pyworkflow_core.testing import BackendConformance, Clock, run
from pyworkflow_redis.conformance import RedisSubject


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


@pytest.mark.forms
class TestRedisCluster(OnRedis):
    """Every law on a cluster. What is cut are connections to one of its nodes."""

    server = "redis_cluster"


@pytest.mark.timeout(300)
@pytest.mark.forms
@pytest.mark.parametrize("name", ["redis", "redis6", "redis-cluster"])
def test_a_server_that_is_killed_loses_nothing_acknowledged(name: str, own_server: Any) -> None:
    server = own_server(name)
    subject = RedisSubject(server.url)
    subject.restart_command = server.restart_command
    report = run(subject, laws=[46], profile="quick")
    assert "server 1/1" in report.line, [broken.said for law in report.failed for broken in law.broken]
