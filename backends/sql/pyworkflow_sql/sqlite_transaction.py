"""Transactions for steps on a SQLite file: who may write, and for how long one waits for it."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import time
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import URL, NullPool, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from pyworkflow_core.errors import StorageUnavailable

from .sqlite_errors import is_busy, typed_error
from .transaction import open_transaction


class Transactions:
    """Opens transactions on a file, in each event loop one at a time.

    Args:
        url: the database.
        timeout: seconds to wait while somebody else writes.
    """

    def __init__(self, url: URL, timeout: float) -> None:
        self._path = url.database or ""
        self._timeout = timeout
        self._engine = _make_engine(url)
        # A lock of each event loop's own: those who wait are served in order, without asking again.
        self._locks: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = (
            weakref.WeakKeyDictionary()
        )

    @asynccontextmanager
    async def open(self) -> AsyncIterator[AsyncConnection]:
        """A connection that nobody else can write beside, until the end."""
        lock = self._locks.setdefault(asyncio.get_running_loop(), asyncio.Lock())
        transaction = open_transaction(
            self._engine, unreachable=self._unreachable, is_lost=_is_lost, begin=self._begin
        )
        async with lock, transaction as connection:
            yield connection

    async def _begin(self, connection: AsyncConnection) -> None:
        # At once for writing: a transaction that began by reading may never get to write.
        deadline = time.monotonic() + self._timeout
        while True:
            try:
                await connection.exec_driver_sql("BEGIN IMMEDIATE")
                return
            except DBAPIError as error:
                if not isinstance(error.orig, sqlite3.Error) or not is_busy(error.orig):
                    raise self._unreachable(error) from error
            if time.monotonic() > deadline:
                raise StorageUnavailable(
                    f"SQLite file {self._path} was locked by another writer for {self._timeout:g} s. "
                    "Nothing was written."
                )
            await asyncio.sleep(random.uniform(0.001, 0.01))

    def _unreachable(self, error: Exception) -> Exception:
        cause = error.orig if isinstance(error, DBAPIError) else error
        return typed_error(cause, self._path) if isinstance(cause, sqlite3.Error) else error


def _make_engine(url: URL) -> AsyncEngine:
    # Each transaction has a connection, and with that a thread, of its own: nothing is left open.
    engine = create_async_engine(
        url.set(drivername="sqlite+aiosqlite"),
        poolclass=NullPool,
        hide_parameters=True,
        connect_args={"isolation_level": None, "timeout": 0},
    )

    @event.listens_for(engine.sync_engine, "connect")
    def configure(connection: Any, record: object) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.close()

    return engine


def _is_lost(error: BaseException) -> bool:
    code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
    # The record that commits may be in the log already, for the next recovery to find.
    return code == sqlite3.SQLITE_IOERR
