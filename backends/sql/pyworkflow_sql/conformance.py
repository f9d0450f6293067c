"""How the conformance suite makes, finds and removes namespaces of the SQL backends."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from pyworkflow_core.errors import UnsupportedSchema
from pyworkflow_core.plugins import open_storage
from pyworkflow_core.storage import StorageBackend
from pyworkflow_core.testing import Clock, UrlSubject
from pyworkflow_core.testing.subject import PLACEHOLDER

from .mysql import MysqlStorageBackend
from .options import Options
from .postgresql import PostgresqlStorageBackend
from .server import ServerStorageBackend
from .sqlite import SqliteStorageBackend, key_of
from .sqlite_file import forget

GOLDEN = Path(__file__).with_name("golden")


class SqliteSubject(UrlSubject):
    """SQLite files, a file for each namespace, or one with the tables of all of them."""

    def __init__(self, template: str) -> None:
        if PLACEHOLDER not in template:
            template = _with_namespace(template)
        super().__init__(template)

    async def drop(self, namespace: str) -> None:
        """Remove the namespace's file, if it has one of its own; otherwise its tables."""
        url = make_url(self.url(namespace))
        key = key_of(url)
        if not key.startswith("/"):
            forget(key)
        elif namespace in os.path.basename(key):
            for end in ("", "-wal", "-shm"):
                with contextlib.suppress(FileNotFoundError):
                    os.remove(key + end)
        else:
            with contextlib.suppress(UnsupportedSchema):  # nobody has opened it
                async with SqliteStorageBackend(url, migrate="never") as store:
                    await store.drop()

    @asynccontextmanager
    async def transaction(self, store: StorageBackend) -> AsyncIterator[Any]:
        """A transaction on a connection of its own."""
        assert isinstance(store, SqliteStorageBackend)
        async with _begin(create_async_engine(store.url.set(drivername="sqlite+aiosqlite"))) as connection:
            yield connection

    @asynccontextmanager
    async def open_golden(self, namespace: str, clock: Clock) -> AsyncIterator[StorageBackend]:
        """Tables as version 1 of them was."""
        path = make_url(self.url(namespace)).database
        assert path is not None
        connection = sqlite3.connect(path)
        try:
            for sql in read_golden("sqlite", _namespace_of(self.url(namespace))):
                connection.execute(sql)
            connection.commit()
        finally:
            connection.close()
        async with self.open(namespace, clock) as store:
            yield store


class ServerSubject(UrlSubject):
    """Namespaces of a database server."""

    def __init__(self, template: str) -> None:
        super().__init__(template if PLACEHOLDER in template else _with_option(template))

    async def drop(self, namespace: str) -> None:
        """Remove the namespace's tables."""
        with contextlib.suppress(UnsupportedSchema):  # nobody has opened it
            async with self._backend(self.url(namespace), migrate="never") as store:
                await store.drop()

    def address(self) -> tuple[str, int]:
        """Where the server is."""
        url = self._backend(self.url("any")).url
        return url.host or "localhost", url.port or self._port

    @asynccontextmanager
    async def open_at(
        self, namespace: str, clock: Clock, host: str, port: int
    ) -> AsyncIterator[StorageBackend]:
        """A handle that reaches the server through a proxy."""
        url = make_url(self.url(namespace)).set(host=host, port=port)
        async with open_storage(url.render_as_string(hide_password=False)) as store:
            yield store

    @asynccontextmanager
    async def transaction(self, store: StorageBackend) -> AsyncIterator[Any]:
        """A transaction on a connection of its own."""
        assert isinstance(store, ServerStorageBackend)
        async with _begin(store.make_users_engine()) as connection:
            yield connection

    @asynccontextmanager
    async def open_golden(self, namespace: str, clock: Clock) -> AsyncIterator[StorageBackend]:
        """Tables as version 1 of them was."""
        engine = self._backend(self.url(namespace)).make_engine()
        try:
            async with engine.connect() as connection:
                driver = (await connection.get_raw_connection()).driver_connection
                for sql in read_golden(engine.dialect.name, _namespace_of(self.url(namespace))):
                    await self._execute(driver, sql)
        finally:
            await engine.dispose()
        async with self.open(namespace, clock) as store:
            yield store

    async def _execute(self, driver: Any, sql: str) -> None:
        raise NotImplementedError

    _port: ClassVar[int]
    _backend: ClassVar[type[ServerStorageBackend]]


class PostgresqlSubject(ServerSubject):
    """Schemas of a PostgreSQL database."""

    _port = 5432
    _backend = PostgresqlStorageBackend

    async def _execute(self, driver: Any, sql: str) -> None:
        await driver.execute(sql)


class MysqlSubject(ServerSubject):
    """Table prefixes of a MariaDB or MySQL database."""

    _port = 3306
    _backend = MysqlStorageBackend

    async def _execute(self, driver: Any, sql: str) -> None:
        async with driver.cursor() as cursor:
            await cursor.execute(sql)
        await driver.commit()


@asynccontextmanager
async def _begin(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    try:
        async with engine.begin() as connection:
            yield connection
    finally:
        await engine.dispose()


def _with_option(template: str) -> str:
    return f"{template}{'&' if '?' in template else '?'}namespace={PLACEHOLDER}"


def _with_namespace(template: str) -> str:
    """The URL with the option that keeps namespaces apart."""
    if make_url(template).database in {None, "", ":memory:"}:
        return f"sqlite:///{PLACEHOLDER}?mode=memory"
    return f"{template}{'&' if '?' in template else '?'}namespace={PLACEHOLDER}"


def read_golden(dialect: str, namespace: str) -> list[str]:
    """The statements that make `namespace` as version 1 of the tables left the suite's golden history."""
    lines = (GOLDEN / f"version-1.{dialect}.jsonl").read_text(encoding="utf-8").splitlines()
    return [str(json.loads(line)).replace("golden_namespace", namespace) for line in lines]


def _namespace_of(url: str) -> str:
    """The value of the option, or what it is without."""
    found = make_url(url).query.get("namespace", Options().namespace)
    return found if isinstance(found, str) else found[-1]
