"""How the conformance suite makes, finds and removes namespaces of the SQL backends."""

from __future__ import annotations

import contextlib
import gzip
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import create_async_engine

from pyworkflow_core.errors import UnsupportedSchema
from pyworkflow_core.plugins import open_storage
from pyworkflow_core.storage import StorageBackend
from pyworkflow_core.testing import Clock, UrlSubject
from pyworkflow_core.testing.subject import PLACEHOLDER

from .mysql import MysqlStorageBackend
from .postgresql import PostgresqlStorageBackend
from .server import ServerStorageBackend
from .sqlite import SqliteStorageBackend

GOLDEN = Path(__file__).with_name("golden")


class SqliteSubject(UrlSubject):
    """SQLite files, a file for each namespace, or one with the tables of all of them."""

    def __init__(self, template: str) -> None:
        if PLACEHOLDER not in template:
            template = _with_namespace(template)
        super().__init__(template)

    async def drop(self, namespace: str) -> None:
        """Remove the namespace's file, if it has one of its own; otherwise its tables."""
        store = SqliteStorageBackend(self.url(namespace))
        path = store.url.database
        if not store.capabilities.durable or path is None:
            return
        if namespace in os.path.basename(path):
            for end in ("", "-wal", "-shm"):
                with contextlib.suppress(FileNotFoundError):
                    os.remove(path + end)
        else:
            await store.drop()

    @asynccontextmanager
    async def transaction(self, store: StorageBackend) -> AsyncIterator[Any]:
        """A transaction on a connection of its own."""
        assert isinstance(store, SqliteStorageBackend)
        engine = create_async_engine(store.url.set(drivername="sqlite+aiosqlite"))
        try:
            async with engine.begin() as connection:
                yield connection
        finally:
            await engine.dispose()

    @asynccontextmanager
    async def open_golden(self, namespace: str, clock: Clock) -> AsyncIterator[StorageBackend]:
        """The file that version 1 of the tables wrote."""
        path = Path(self.folder) / f"{namespace}-golden.db"
        path.write_bytes(gzip.decompress((GOLDEN / "sqlite-1.db.gz").read_bytes()))
        try:
            async with open_storage(f"sqlite:///{path}?namespace=golden") as store:
                yield store
        finally:
            path.unlink()


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
        engine = create_async_engine(store.url.set(drivername=store.driver))
        try:
            async with engine.begin() as connection:
                yield connection
        finally:
            await engine.dispose()

    _port: ClassVar[int]
    _backend: ClassVar[type[ServerStorageBackend]]


class PostgresqlSubject(ServerSubject):
    """Schemas of a PostgreSQL database."""

    _port = 5432
    _backend = PostgresqlStorageBackend


class MysqlSubject(ServerSubject):
    """Table prefixes of a MariaDB or MySQL database."""

    _port = 3306
    _backend = MysqlStorageBackend


def _with_option(template: str) -> str:
    return f"{template}{'&' if '?' in template else '?'}namespace={PLACEHOLDER}"


def _with_namespace(template: str) -> str:
    """The URL with the option that keeps namespaces apart."""
    if make_url(template).database in {None, "", ":memory:"}:
        return f"sqlite:///{PLACEHOLDER}?mode=memory"
    return f"{template}{'&' if '?' in template else '?'}namespace={PLACEHOLDER}"
