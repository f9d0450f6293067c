"""A storage whose work is counted: calls of the contract, what they write, trips to a server, syncs.

Nothing here looks at a clock, so that the counts are the same on every machine.
"""

from __future__ import annotations

import os
import re
import sqlite3
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from pyworkflow import open_storage
from pyworkflow_core.record import encode_record
from pyworkflow_core.storage import Append, StorageBackend

CONTRACT = ("commit", "read", "get", "find", "claim", "extend", "release", "delete", "feed", "wait")
"""The public methods that a storage is used by."""

_F_FULLFSYNC = 51
# The words that tell statements of SQL apart; events' bodies hold none of them after a semicolon.
_statements = re.compile(r"(?:^|; )(START TRANSACTION|[A-Z]+)").findall


class Counts:
    """What was counted since the last `reset`.

    Attributes:
        calls: calls of the contract, by the method's name.
        appends: appends in all commits.
        events: events in them.
        bodies: bytes of the events.
        records: bytes of the records beside them.
        trips: what went to the database and was waited for, by the words that tell statements apart.
        syncs: how often this process's Python forced a file or a folder to the medium.
        written: bytes that the file store wrote.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin anew."""
        self.calls: Counter[str] = Counter()
        self.appends = self.events = self.bodies = self.records = 0
        self.syncs = self.written = 0
        self.trips: Counter[str] = Counter()

    def _count_appends(self, appends: Sequence[Append]) -> None:
        self.appends += len(appends)
        self.events += sum(len(append.events) for append in appends)
        self.bodies += sum(len(event.body) for append in appends for event in append.events)
        self.records += sum(len(encode_record(append.record)) for append in appends)

    def watch(self, storage: StorageBackend) -> None:
        """Count the calls of this handle from now on."""
        for name in CONTRACT:
            setattr(storage, name, self._counted(name, getattr(storage, name)))

    def _counted(self, name: str, method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def call(*args: Any, **kwargs: Any) -> Any:
            self.calls[name] += 1
            if name == "commit":
                self._count_appends(args[0])
            return await method(*args, **kwargs)

        return call


@asynccontextmanager
async def counted(
    kind: str, url: str, patch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[StorageBackend, Counts]]:
    """The storage at `url`, opened, and what is counted of it."""
    counts = Counts()
    count_trips = _TRIPS.get(kind)
    if count_trips is not None:
        count_trips(counts, patch)
    async with open_storage(url) as storage:
        counts.watch(storage)
        counts.reset()
        yield storage, counts


def _count_disk(counts: Counts, patch: pytest.MonkeyPatch) -> None:
    """Count syncs by what Python has for them, of which macOS has another one, and bytes written in place."""
    pwrite = os.pwrite

    def write(fd: int, data: bytes, offset: int) -> int:
        written = pwrite(fd, data, offset)
        counts.written += written
        return written

    patch.setattr(os, "pwrite", write)

    def count(real: Callable[..., Any], *, only: int | None = None) -> Callable[..., Any]:
        def sync(fd: int, *args: Any) -> Any:
            counts.syncs += only is None or args[:1] == (only,)
            return real(fd, *args)

        return sync

    for name in ("fsync", "fdatasync"):
        if hasattr(os, name):
            patch.setattr(os, name, count(getattr(os, name)))
    if sys.platform == "darwin":
        import fcntl

        patch.setattr(fcntl, "fcntl", count(fcntl.fcntl, only=_F_FULLFSYNC))


def _count_sqlite(counts: Counts, patch: pytest.MonkeyPatch) -> None:
    """Have SQLite itself tell of every statement that it executes."""
    real = sqlite3.connect

    def trace(sql: str) -> None:
        counts.trips[" ".join(_statements(sql)) or sql] += 1

    def connect(*args: Any, **kwargs: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = real(*args, **kwargs)
        connection.set_trace_callback(trace)
        return connection

    patch.setattr(sqlite3, "connect", connect)
    patch.setattr(sqlite3.dbapi2, "connect", connect)


def _count_postgresql(counts: Counts, patch: pytest.MonkeyPatch) -> None:
    """Count what asyncpg is asked to do. Each is one trip, once the statement has been prepared."""
    import asyncpg

    for name in ("fetch", "execute", "executemany"):
        real = getattr(asyncpg.Connection, name)

        def call(connection: Any, query: str, *args: Any, _real: Any = real, **kwargs: Any) -> Any:
            counts.trips[query.split(maxsplit=1)[0]] += 1
            return _real(connection, query, *args, **kwargs)

        patch.setattr(asyncpg.Connection, name, call)


def _count_mariadb(counts: Counts, patch: pytest.MonkeyPatch) -> None:
    """Count texts of statements: those of one text make one trip."""
    from pyworkflow_sql.mysql_link import MysqlLink

    real = MysqlLink._query

    async def query(link: MysqlLink, sql: str) -> Any:
        counts.trips["; ".join(_statements(sql))] += 1
        return await real(link, sql)

    patch.setattr(MysqlLink, "_query", query)


def _count_redis(counts: Counts, patch: pytest.MonkeyPatch) -> None:
    """Count exchanges: commands that go together make one trip."""
    from pyworkflow_redis.connections import Server

    real = Server.ask

    async def ask(server: Server, *commands: Any) -> Any:
        counts.trips["; ".join(command[0] for command in commands)] += 1
        return await real(server, *commands)

    patch.setattr(Server, "ask", ask)


def _count_mongodb(counts: Counts, patch: pytest.MonkeyPatch) -> None:
    """Have the driver tell of every command. Each is one trip."""
    from pymongo.monitoring import CommandListener, CommandStartedEvent

    from pyworkflow_mongodb import driver

    class Listener(CommandListener):
        def started(self, event: CommandStartedEvent) -> None:
            counts.trips[event.command_name] += 1

        def succeeded(self, event: object) -> None:
            pass

        def failed(self, event: object) -> None:
            pass

    patch.setitem(driver._DEFAULTS, "event_listeners", [Listener()])


_TRIPS: dict[str, Callable[[Counts, pytest.MonkeyPatch], None]] = {
    "file": _count_disk,
    "sqlite": _count_sqlite,
    "postgresql": _count_postgresql,
    "mariadb": _count_mariadb,
    "redis": _count_redis,
    "mongodb": _count_mongodb,
}
