"""One SQLite database of this process: its connections, its lock, its threads.

SQLite lets one connection write at a time, and whoever meets another one sleeps and tries
again. So all handles of a process on one file share one connection for writing and take
turns at it by a lock that wakes the next at once; only other processes are waited for.
Reading goes beside it, on connections of SQLAlchemy's pool.
"""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar, cast

from sqlalchemy import URL, Engine, Pool, QueuePool, StaticPool, create_engine, event

from pyworkflow_core.errors import ConfigurationError, StorageClosed, StorageUnavailable
from pyworkflow_core.mounts import network_file_system

from .options import SqliteOptions
from .scripts import Script
from .sqlite_errors import Busy, Unsettled, is_busy

T = TypeVar("T")
_PRAGMAS = ("PRAGMA synchronous = FULL", "PRAGMA cache_size = -16384", "PRAGMA busy_timeout = 0")
_OLDEST = (3, 35)
NAMED = "memory "
"""What the keys of databases in memory begin with that have a name."""

_shared: dict[str, Database] = {}
_sharing = threading.Lock()
_inherited: list[Database] = []  # kept, since to close their files is the parent's business


class Database:
    """One open database.

    Args:
        key: what handles share it by: a path, or the name of a database in memory.
        url: the database for SQLAlchemy.
        options: of the handle that opened it first.

    Attributes:
        key: as given.
        path: the file, for people.
        in_memory: whether there is no file.
        lock: held by whoever writes.
        commit_time: microseconds that a commit takes, a moving average.
        users: handles that use it.
    """

    def __init__(self, key: str, url: URL, options: SqliteOptions) -> None:
        self.key = key
        self.in_memory = not key.startswith("/")
        self.path = url.database or ":memory:"
        self.lock = threading.RLock()
        self.commit_time = 0.0
        self.users = 0
        self.pid = os.getpid()
        self._options = options
        self._engine = _make_engine(url, in_memory=self.in_memory)
        self._writer: Any = None
        self._threads: ThreadPoolExecutor | None = None

    # ---- opening and closing ---------------------------------------------------------

    def prepare(self) -> None:
        """Open the connection for writing, and see to the journal's mode. Done once; needs the lock.

        Raises:
            StorageUnavailable: the file cannot be opened, or lies on a network.
        """
        if self._writer is not None:
            return
        if not self.in_memory and not self._options.network_ok and (kind := network_file_system(self.key)):
            raise StorageUnavailable(
                f"{self.path} is on a network file system ({kind}), where SQLite's locks cannot be relied "
                "on. Use a local disk or a database server; network_ok=1 takes the risk."
            )
        writer = self._patiently(self._engine.raw_connection)
        try:
            connection = cast("sqlite3.Connection", writer.driver_connection)
            if not self.in_memory:
                self._patiently(lambda: self._set_mode(connection))
        except BaseException:
            writer.invalidate()
            writer.close()
            raise
        self._writer = writer

    def _set_mode(self, connection: sqlite3.Connection) -> None:
        (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise StorageUnavailable(
                f"SQLite cannot use a write-ahead log for {self.path}, but only {mode!r}"
            )

    def rest(self) -> None:
        """End the threads once they have done what they were given. There will be others if need be."""
        threads, self._threads = self._threads, None
        if threads is not None:
            threads.shutdown(wait=True)

    def close(self) -> None:
        """Close every connection, and end the threads."""
        self.rest()
        with self.lock:
            if self._writer is not None:
                self._writer.invalidate()
                self._writer.close()
                self._writer = None
            self._engine.dispose()

    @property
    def threads(self) -> ThreadPoolExecutor:
        """Where work goes that would hold up the event loop."""
        if self._threads is None:
            self._threads = ThreadPoolExecutor(4, thread_name_prefix="pyworkflow-sqlite")
        return self._threads

    # ---- work ------------------------------------------------------------------------

    def read(self, make: Callable[[], Script[T]]) -> T:
        """Run a script that only reads.

        Raises:
            Busy: another process has the whole file locked, as when it opens or leaves it.
        """
        if self.in_memory:
            with self.lock:
                return run_script(self._connection(), make())
        try:
            connection = self._engine.raw_connection()  # a new one looks into the file, too
            try:
                return run_script(cast("sqlite3.Connection", connection.driver_connection), make())
            finally:
                connection.close()
        except sqlite3.Error as error:
            if is_busy(error):
                raise Busy from error
            raise

    def read_patiently(self, make: Callable[[], Script[T]]) -> T:
        """As `read`, but wait for the others.

        Raises:
            StorageUnavailable: it took them too long.
        """
        return self._patiently(lambda: self.read(make))

    def write(self, make: Callable[[], Script[T]]) -> T:
        """Run a script in a transaction. Needs the lock.

        Raises:
            Busy: another process is writing; nothing was done.
            Unsettled: the commit itself failed.
        """
        connection = self._connection()
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            if is_busy(error):
                raise Busy from error
            raise
        with _rolled_back_on_error(connection):
            answer = run_script(connection, make())
            began = time.perf_counter()
            _commit(connection)
        self.commit_time += 0.1 * ((time.perf_counter() - began) * 1e6 - self.commit_time)
        return answer

    def write_patiently(self, make: Callable[[], Script[T]]) -> T:
        """As `write`, but wait for the lock, and while other processes write.

        Raises:
            StorageUnavailable: they did for too long; nothing was done.
        """
        with self.lock:
            return self._patiently(lambda: self.write(make))

    def _patiently(self, work: Callable[[], T]) -> T:
        deadline = time.monotonic() + self._options.timeout
        pause = 0.0005
        while True:
            try:
                return work()
            except Busy:
                pass
            except sqlite3.Error as error:
                if not is_busy(error):
                    raise
            if time.monotonic() > deadline:
                raise StorageUnavailable(
                    f"SQLite file {self.path} was locked by another process for {self._options.timeout:g} s. "
                    "Nothing was written."
                )
            # Commits are short: it pays to ask often, and not in step with others who wait.
            time.sleep(pause * (0.5 + random.random()))
            pause = min(pause * 1.5, 0.02)

    def _connection(self) -> sqlite3.Connection:
        if self._writer is None:
            raise StorageClosed("the SQLite database was closed; open a new handle")
        return cast("sqlite3.Connection", self._writer.driver_connection)


def run_script(connection: sqlite3.Connection, script: Script[T]) -> T:
    """Execute what the script asks for, until it returns."""
    answer: Any = None
    try:
        while True:
            call = script.send(answer)
            statement, values = call.statement, call.values
            if isinstance(values, dict):
                cursor = connection.execute(statement.sql, statement.bind(values))
            elif len(values) == 1:
                cursor = connection.execute(statement.sql, statement.bind(values[0]))
            else:
                cursor = connection.executemany(statement.sql, [statement.bind(v) for v in values])
            answer = cursor.fetchall() if statement.returns else cursor.rowcount
    except StopIteration as stop:
        return cast("T", stop.value)


def _commit(connection: sqlite3.Connection) -> None:
    try:
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_IOERR:
            # The record that commits may be in the log already, for the next recovery to find.
            raise Unsettled from error
        raise


@contextlib.contextmanager
def _rolled_back_on_error(connection: sqlite3.Connection) -> Iterator[None]:
    try:
        yield
    except BaseException:
        # Some errors have ended the transaction already.
        if connection.in_transaction:
            connection.rollback()
        raise


def _make_engine(url: URL, *, in_memory: bool) -> Engine:
    pool: type[Pool] = StaticPool if in_memory else QueuePool
    sizes: dict[str, Any] = {} if in_memory else {"pool_size": 3, "max_overflow": 10}
    url = url.set(drivername="sqlite+pysqlite")
    if in_memory:
        url = url.set(database=":memory:", query={})
    engine = create_engine(
        url,
        poolclass=pool,
        hide_parameters=True,
        connect_args={"check_same_thread": False, "isolation_level": None, "timeout": 0},
        **sizes,
    )

    @event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, record: object) -> None:
        for pragma in _PRAGMAS:
            connection.execute(pragma)

    return engine


def use_database(key: str, url: URL, options: SqliteOptions) -> Database:
    """The database of that key, which this process may have open already. Give it back at the end.

    Raises:
        ConfigurationError: Python's SQLite is too old.
    """
    if sqlite3.sqlite_version_info < _OLDEST:
        raise ConfigurationError(f"SQLite {sqlite3.sqlite_version} is too old; 3.35 is the oldest that works")
    with _sharing:
        database = _shared.get(key)
        if database is not None and database.pid != os.getpid():
            # A fork shares open files with its parent, and SQLite's locks are lost by closing them.
            _inherited.append(database)
            database = None
        if database is None:
            database = _shared[key] = Database(key, url, options)
        database.users += 1
        return database


def give_back(database: Database) -> None:
    """Say that a handle has no more use for the database.

    The last one closes it, unless it lies in memory under a name: that lasts as long as the process.
    """
    with _sharing:
        database.users -= 1
        if database.users > 0 or database.pid != os.getpid():
            return
        if database.key.startswith(NAMED):
            database.rest()
        else:
            if _shared.get(database.key) is database:
                del _shared[database.key]
            database.close()


def forget(key: str) -> None:
    """Let go of a database in memory that has a name. The handles that have it open lose it."""
    with _sharing:
        database = _shared.pop(key, None)
        if database is not None and database.pid == os.getpid():
            database.close()
