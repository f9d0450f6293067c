"""The SQLite backend: which thread does what.

A commit on a good disk is made faster than it is handed to a thread and back. So it is made
on the event loop's own thread where the database is free, unless the disk turns out slow.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import URL, Dialect, text
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import SQLAlchemyError

from pyworkflow_core.errors import ConfigurationError, StorageClosed
from pyworkflow_core.events import Event
from pyworkflow_core.record import RunRecord
from pyworkflow_core.storage import Answer, Append, Capabilities, Page, RunQuery, Unknown

from . import scripts
from .backend import MakeScript, SqlStorageBackend
from .migrate import Layout, check, drop, is_current, look, migrate
from .options import SqliteOptions
from .schema import make_tables
from .scripts import Call, Script
from .sqlite_errors import Busy, Unsettled, typed_error
from .sqlite_file import NAMED, Database, give_back, use_database
from .statements import Statement
from .within import Within, check_within, driver_of, failed, run_within

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from .sqlite_transaction import Transactions

T = TypeVar("T")
_FEW = 256
_DRIVERS = {"sqlite", "sqlite+aiosqlite", "sqlite+pysqlite"}


class SqliteStorageBackend(SqlStorageBackend):
    """Keeps runs in a SQLite file on a local disk, which several processes may use, or in memory.

    Args:
        url: ``sqlite:////absolute/path.db`` or ``sqlite:///relative.db``; ``sqlite://`` for a
            database in memory of the handle's own, ``sqlite:///file:name?mode=memory`` for one
            that handles of this process share.
        options: the fields of `SqliteOptions`, such as ``namespace=…``.

    Raises:
        ConfigurationError: the URL or an option cannot work.
    """

    _options_class = SqliteOptions
    options: SqliteOptions

    def __init__(self, url: str | URL = "sqlite://", **options: Any) -> None:
        super().__init__(url, **options)
        if self.url.drivername not in _DRIVERS or self.url.host:
            raise ConfigurationError(
                f"{self.url.render_as_string()!r}: write sqlite:////absolute/path.db or sqlite:///relative.db"
            )
        self._dialect: Dialect = sqlite.dialect()
        self._key = key_of(self.url)
        self._database: Database | None = None
        self._transactions: Transactions | None = None
        self.capabilities = self._capabilities(feed=bool(self.options.feed))

    def _set_options(self, options: SqliteOptions) -> None:
        self.options = options

    def _capabilities(self, *, feed: bool) -> Capabilities:
        on_disk = self._key.startswith("/")
        return Capabilities(durable=on_disk, multi_process=on_disk, transactions=on_disk, feed=feed)

    # ---- opening and closing ---------------------------------------------------------

    async def _open(self) -> None:
        if self._database is None or self._database.pid != os.getpid():
            self._database = use_database(self._key, self.url, self.options)
        layout = await self._in_thread(self._prepare)
        self._know(layout, self.options.namespace, self._dialect)
        self.capabilities = self._capabilities(feed=layout.feed)

    def _prepare(self) -> Layout:
        database = self._database
        assert database is not None
        if self.options.migrate == "never" and not database.in_memory and not os.path.exists(self._key):
            return check({}, self.options.namespace, feed=None)  # refuses, and leaves no empty file
        with database.lock:
            database.prepare()
        facts = database.read_patiently(self._facts)
        if not is_current(facts) and self.options.migrate == "auto":
            facts = database.write_patiently(self._migrate)
        return check(facts, self.options.namespace, feed=self.options.feed)

    def _facts(self) -> Script[dict[str, str]]:
        tables = make_tables(self.options.namespace, "sqlite", False)
        there = text("SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = :name")
        ((count,),) = yield Call(Statement(there, self._dialect), {"name": tables.facts.name})
        return (yield from look(tables, self._dialect)) if count else {}

    def _migrate(self) -> Script[dict[str, str]]:
        facts = yield from self._facts()
        if is_current(facts):
            return facts  # somebody was faster
        return (yield from migrate(facts, self.options.namespace, self._dialect, feed=self.options.feed))

    def _describe_database(self) -> Script[list[str]]:
        asked = text(
            "SELECT sqlite_version(), (SELECT journal_mode FROM pragma_journal_mode), "
            "(SELECT synchronous FROM pragma_synchronous)"
        )
        ((version, journal, synchronous),) = yield Call(Statement(asked, self._dialect))
        if not self._key.startswith("/"):
            return [f"SQLite {version}, in memory"]
        return [
            f"SQLite {version}, file {self._key}",
            f"durability: journal_mode={journal}, synchronous={synchronous} (2 is FULL)",
        ]

    async def drop(self) -> None:
        """Remove the namespace's tables with all runs in them. Handles that are open fail from then on."""
        await self._ready()
        await self._transact(lambda: drop(self._s.tables, self._dialect))

    async def _close(self) -> None:
        database, self._database = self._database, None
        if database is not None and database.pid == os.getpid():
            # In a thread: the last handle's close writes the log back into the file.
            await asyncio.to_thread(give_back, database)

    # ---- threads ---------------------------------------------------------------------

    def _used(self) -> Database:
        if self._database is None:
            raise StorageClosed(f"{type(self).__name__} is closed; open a new one")
        if self._database.pid != os.getpid():
            self._database = use_database(self._key, self.url, self.options)
            with self._database.lock:
                self._database.prepare()
        return self._database

    async def _in_thread(self, work: Callable[[], T]) -> T:
        database = self._used()
        try:
            future = asyncio.get_running_loop().run_in_executor(database.threads, self._typed, work)
        except RuntimeError as error:
            raise StorageClosed(f"{type(self).__name__} is closed; open a new one") from error
        return await future

    def _typed(self, work: Callable[[], T]) -> T:
        """Do `work`; what SQLite raises gets the contract's types."""
        try:
            return work()
        except sqlite3.Error as error:
            raise typed_error(error, self._used().path) from error

    async def _ask(self, make: MakeScript[T]) -> T:
        database = self._used()
        return await self._in_thread(lambda: database.read_patiently(make))

    async def _ask_now(self, make: MakeScript[T]) -> T:
        """As `_ask`, for what takes less time than to hand it over."""
        database = self._used()
        try:
            return self._typed(lambda: database.read(make))
        except Busy:
            return await self._ask(make)

    async def _transact(self, make: MakeScript[T]) -> T:
        database = self._used()
        quick = database.commit_time <= self.options.inline_below
        if quick and database.lock.acquire(blocking=False):
            try:
                return self._typed(lambda: database.write(make))
            except Busy:
                pass
            finally:
                database.lock.release()
        return await self._in_thread(lambda: database.write_patiently(make))

    # ---- the contract ----------------------------------------------------------------

    async def _write(self, appends: Sequence[Append], within: Any) -> list[Answer]:
        feed = self.capabilities.feed
        if within is not None:
            return await self._write_within(check_within(within), appends)
        try:
            return await self._transact(lambda: scripts.commit(self._s, appends, feed=feed))
        except Unsettled as error:
            cause = error.__cause__ or error
            return [Unknown(append.run_id, cause) for append in appends]

    async def _write_within(self, within: Within, appends: Sequence[Append]) -> list[Answer]:
        try:
            # Writing first takes the lock that a transaction which has read cannot get any more.
            await run_within(within, scripts.touch(self._s))
            if not await _is_in_transaction(within):
                raise ValueError("within= needs a transaction; this connection commits every statement")
            return await run_within(within, scripts.commit(self._s, appends, feed=self.capabilities.feed))
        except SQLAlchemyError as error:
            raise failed(error) from error

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """A transaction for a step: it commits at the end, and is rolled back on an error.

        Nobody else writes to the file until then. What is written through the storage itself
        waits for it, in the same task for ever.

        Raises:
            StorageUnavailable: somebody else wrote for too long, or the file cannot be opened.
            OutcomeUnknown: the disk failed during the commit, which may come to light after a crash.
            DBAPIError: SQLite refused to commit, and nothing was written.
        """
        await self._ready()
        if self._transactions is None:
            from .sqlite_transaction import Transactions  # with SQLAlchemy's layer for asyncio: see `within`

            self._transactions = Transactions(self.url, self.options.timeout)
        async with self._transactions.open() as connection:
            yield connection

    async def _get(self, run_id: str) -> RunRecord | None:
        return await self._ask_now(lambda: scripts.get(self._s, run_id))

    async def _read(self, run_id: str, after: int, limit: int | None) -> list[Event]:
        if limit is None or limit <= _FEW:
            most = _FEW if limit is None else limit
            events = await self._ask_now(lambda: scripts.read(self._s, run_id, after, most))
            if len(events) < _FEW or limit == _FEW:
                return events
        # A long log is read anew in one go, since the run may be another one by the next look. Whoever
        # wants more than a few events knows that they are there, and is not let look twice.
        return await super()._read(run_id, after, limit)

    async def _find(self, query: RunQuery, cursor: str | None, limit: int) -> Page:
        return await self._ask(lambda: scripts.find(self._s, query, cursor, limit))


async def _is_in_transaction(within: Within) -> bool:
    driver: sqlite3.Connection | Any = await driver_of(within)
    return bool(driver.in_transaction)


def key_of(url: URL) -> str:
    """What handles share a database by: an absolute path, or a name for one in memory."""
    name = url.database or ":memory:"
    if url.query.get("mode") == "memory":
        return NAMED + name
    if name == ":memory:":
        return f"unnamed {secrets.token_hex(8)}"
    return os.path.realpath(name.removeprefix("file:"))


def open_url(url: str) -> SqliteStorageBackend:
    """Make a handle from ``sqlite:////absolute/path.db?option=value``.

    Raises:
        ConfigurationError: the URL names no such database, or an option cannot work.
    """
    return SqliteStorageBackend(url)
