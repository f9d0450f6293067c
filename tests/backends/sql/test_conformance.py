"""The SQL backends obey the laws."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import asyncpg
import pytest

from pyworkflow_core.storage import StorageBackend
from pyworkflow_core.testing import BackendConformance, Clock, UrlSubject, run
from pyworkflow_sql.conformance import MysqlSubject, PostgresqlSubject, SqliteSubject


class OnSql(BackendConformance):
    """Every law on one database."""

    @property
    def _sql(self) -> UrlSubject:
        raise NotImplementedError

    def open(self, namespace: str, clock: Clock) -> AbstractAsyncContextManager[StorageBackend]:
        return self._sql.open(namespace, clock)

    def url(self, namespace: str) -> str:
        return self._sql.url(namespace)

    async def drop(self, namespace: str) -> None:
        await self._sql.drop(namespace)

    def transaction(self, store: StorageBackend) -> AbstractAsyncContextManager[Any] | None:
        return self._sql.transaction(store)

    def open_golden(self, namespace: str, clock: Clock) -> AbstractAsyncContextManager[StorageBackend] | None:
        return self._sql.open_golden(namespace, clock)


class TestSqlite(OnSql):
    """Every law on SQLite files, a file for each namespace, with a feed."""

    @property
    def _sql(self) -> SqliteSubject:
        return SqliteSubject(f"sqlite:///{self.folder}/{{namespace}}.db?feed=1")


@pytest.mark.forms
class TestSqliteOfOneFile(OnSql):
    """Every law on one SQLite file with the tables of all namespaces."""

    @property
    def _sql(self) -> SqliteSubject:
        return SqliteSubject(f"sqlite:///{self.folder}/runs.db")


@pytest.mark.forms
class TestSqliteInMemory(OnSql):
    """Every law on SQLite in memory, with a feed."""

    @property
    def _sql(self) -> SqliteSubject:
        return SqliteSubject("sqlite:///{namespace}?mode=memory&feed=1")


class OnServer(OnSql):
    """Every law on a server that all tests share."""

    server = ""

    @classmethod
    def variable(cls) -> str:
        return f"PYWORKFLOW_LAWS_{cls.server.upper()}_URL"

    def address(self) -> tuple[str, int] | None:
        return self._sql.address()

    def open_at(
        self, namespace: str, clock: Clock, host: str, port: int
    ) -> AbstractAsyncContextManager[StorageBackend] | None:
        return self._sql.open_at(namespace, clock, host, port)


@pytest.fixture(autouse=True, scope="class")
def _served(request: pytest.FixtureRequest) -> Iterator[None]:
    """The server of a class of laws, where its subject finds it."""
    if request.cls is None or not issubclass(request.cls, OnServer):
        yield
        return
    url = request.getfixturevalue(request.cls.server).url
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(request.cls.variable(), url)
        yield


class TestPostgresql(OnServer):
    """Every law on PostgreSQL, with a feed."""

    server = "postgresql"

    @property
    def _sql(self) -> PostgresqlSubject:
        return PostgresqlSubject(f"{os.environ[self.variable()]}?feed=1")


@pytest.mark.forms
class TestMariadb(OnServer):
    """Every law on MariaDB, with a feed."""

    server = "mariadb"

    @property
    def _sql(self) -> MysqlSubject:
        return MysqlSubject(f"{os.environ[self.variable()]}?feed=1")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", ["postgresql", "mariadb"])
def test_a_server_that_is_killed_loses_nothing_acknowledged(name: str, own_server: Any) -> None:
    server = own_server(name)
    subject: UrlSubject = (PostgresqlSubject if name == "postgresql" else MysqlSubject)(server.url)
    subject.restart_command = server.restart_command
    report = run(subject, laws=[46], profile="quick")
    assert "server 1/1" in report.line


@pytest.mark.kills
@pytest.mark.timeout(300)
def test_what_others_write_on_the_server_breaks_no_law_of_the_feed(own_server: Any) -> None:
    """On PostgreSQL each of their transactions holds the feed back until it ends."""
    url = own_server("postgresql").url

    async def disturb() -> None:
        connection = await asyncpg.connect(url)
        try:
            while not done.is_set():
                await connection.execute("BEGIN; SELECT pg_current_xact_id()")
                await asyncio.sleep(0.1)
                await connection.execute("ROLLBACK")
                await asyncio.sleep(0.05)
        finally:
            await connection.close()

    done = threading.Event()
    other = threading.Thread(target=asyncio.run, args=[disturb()])
    other.start()
    try:
        subject = PostgresqlSubject(f"{url}?feed=1")
        report = run(subject, laws=[6, 10, 34, 35, 36, 37, 50, 56, 57], profile="quick", seed=0)
    finally:
        done.set()
        other.join()
    assert {result.law: result.broken for result in report.results if result.broken} == {}
