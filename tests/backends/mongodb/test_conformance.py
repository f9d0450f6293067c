"""The MongoDB backend obeys the laws, with both drivers and on both kinds of server.

`nox -s conformance` has the other pairs.
"""

from __future__ import annotations

import os
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from pyworkflow_core.storage import StorageBackend
from pyworkflow_core.testing import BackendConformance, Clock, run
from pyworkflow_mongodb.conformance import MongoSubject


@pytest.mark.timeout(300)
class OnMongo(BackendConformance):
    """Every law on a server that all tests share. Other processes find its URL in the environment."""

    server = "mongodb"
    options = ""
    # PyMongo does not close a socket that one of its monitors is connecting while the client is closed;
    # in this mode they have all connected by then.
    monitoring = "&serverMonitoringMode=poll"

    @classmethod
    def variable(cls) -> str:
        return f"PYWORKFLOW_LAWS_{cls.server.upper()}_URL"

    @pytest.fixture(autouse=True)
    def _served(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(self.variable(), request.getfixturevalue(self.server).url)

    @property
    def _mongo(self) -> MongoSubject:
        return MongoSubject(os.environ[self.variable()] + self.monitoring + self.options)

    def open(self, namespace: str, clock: Clock) -> AbstractAsyncContextManager[StorageBackend]:
        return self._mongo.open(namespace, clock)

    def url(self, namespace: str) -> str:
        return self._mongo.url(namespace)

    async def drop(self, namespace: str) -> None:
        await self._mongo.drop(namespace)

    def open_golden(self, namespace: str, clock: Clock) -> AbstractAsyncContextManager[StorageBackend]:
        return self._mongo.open_golden(namespace, clock)

    def address(self) -> tuple[str, int] | None:
        return self._mongo.address()

    def open_at(
        self, namespace: str, clock: Clock, host: str, port: int
    ) -> AbstractAsyncContextManager[StorageBackend]:
        return self._mongo.open_at(namespace, clock, host, port)


class TestMongoReplicaSet(OnMongo):
    """Every law with PyMongo's own client on a replica set."""

    server = "mongodb_replica"


class TestMotor(OnMongo):
    """Every law with Motor on a server alone."""

    options = "&driver=motor"


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", ["mongodb", "mongodb-replica"])
def test_a_server_that_is_killed_loses_nothing_acknowledged(name: str, own_server: Any, driver: str) -> None:
    server = own_server(name)
    subject = MongoSubject(f"{server.url}&driver={driver}")
    subject.restart_command = server.restart_command
    report = run(subject, laws=[46], profile="quick")
    assert "server 1/1" in report.line, [broken.said for law in report.failed for broken in law.broken]
