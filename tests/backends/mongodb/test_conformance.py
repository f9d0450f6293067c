"""The MongoDB backend obeys the laws; `nox -s conformance` has the other servers and drivers in full."""

from __future__ import annotations

import os
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from pyworkflow_core.storage import StorageBackend
from pyworkflow_core.testing import BackendConformance, Clock, run
from pyworkflow_mongodb.conformance import MongoSubject

VARIABLE = "PYWORKFLOW_LAWS_MONGODB_URL"
# PyMongo does not close a socket that one of its monitors is connecting while the client is closed;
# in this mode they have all connected by then.
MONITORING = "&serverMonitoringMode=poll"


@pytest.mark.timeout(300)
class TestMongo(BackendConformance):
    """Every law with PyMongo's own client on a replica set that all tests share.

    Other processes find its URL in the environment.
    """

    @pytest.fixture(autouse=True)
    def _served(self, mongodb_replica: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(VARIABLE, mongodb_replica.url + MONITORING)

    @property
    def _mongo(self) -> MongoSubject:
        return MongoSubject(os.environ[VARIABLE])

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


DRIVER_LAWS = [2, 4, 7, 12, 15, 16, 18, 19, 24, 28, 32, 52, 53, 54, 57]
"""The laws by which a driver shows what it does to values, errors, cancellation and connections."""


@pytest.mark.timeout(300)
@pytest.mark.forms
def test_motor_obeys_the_laws_that_a_driver_can_break(mongodb: Any) -> None:
    subject = MongoSubject(f"{mongodb.url}&driver=motor")
    report = run(subject, laws=DRIVER_LAWS, profile="quick")
    assert not report.failed, [broken.said for law in report.failed for broken in law.broken]
    assert len([result for result in report.results if result.verdict == "passed"]) == len(DRIVER_LAWS)


@pytest.mark.timeout(300)
@pytest.mark.forms
@pytest.mark.parametrize(("name", "driver"), [("mongodb", "pymongo"), ("mongodb-replica", "motor")])
def test_a_server_that_is_killed_loses_nothing_acknowledged(name: str, driver: str, own_server: Any) -> None:
    server = own_server(name)
    subject = MongoSubject(f"{server.url}&driver={driver}")
    subject.restart_command = server.restart_command
    report = run(subject, laws=[46], profile="quick")
    assert "server 1/1" in report.line, [broken.said for law in report.failed for broken in law.broken]
