"""What the backends of database servers have in common: connections, tries, and lost answers.

Connections are SQLAlchemy's: its dialect makes them, its pool keeps them. Statements are
executed by the driver itself, since SQLAlchemy's own execution takes longer than the server.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from abc import abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from enum import Enum
from typing import Any, ClassVar, TypeVar

from sqlalchemy import URL, Dialect
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from pyworkflow_core.errors import ConfigurationError, StorageClosed, StorageError, StorageUnavailable
from pyworkflow_core.storage import Answer, Append, Unknown

from . import migrate
from .backend import MakeScript, SqlStorageBackend
from .connections import Link, Lost, Pool
from .driver_options import read_options
from .options import ServerOptions
from .scripts import Script
from .transaction import open_transaction
from .within import Within, check_within, failed, run_within

T = TypeVar("T")
_TRIES = 12


class Fault(Enum):
    """What an error of the driver means."""

    AGAIN = "rolled back in favour of somebody else; the same may work at once"
    LOST = "the connection broke, so that the answer is not known"
    REFUSED = "the server refused the statement, and did nothing"


class ServerStorageBackend(SqlStorageBackend):
    """Keeps runs in tables of a database server."""

    _options_class: ClassVar[type[ServerOptions]] = ServerOptions
    driver: ClassVar[str]
    """SQLAlchemy's name of the dialect and driver."""

    _schemes: ClassVar[frozenset[str]]
    _link: ClassVar[type[Link]]
    _connector: ClassVar[Callable[..., object]]
    """What the driver connects with."""

    _driver_kinds: ClassVar[dict[str, type]]
    """The driver's options that are no text, by name."""

    options: ServerOptions

    def __init__(self, url: str | URL, **options: Any) -> None:
        super().__init__(url, **options)
        if self.url.drivername not in self._schemes:
            raise ConfigurationError(
                f"{self.url.render_as_string()!r}: the driver is {self.driver.partition('+')[2]}; "
                f"write {self.driver}://… or leave the driver out"
            )
        ours = self._options_class.__struct_fields__
        plain, read = read_options(self.url, self._connector, self._driver_kinds, ours)
        self._driver_url = plain.set(drivername=self.driver)
        self._driver_options = self._take_options(read)
        self._pools: dict[asyncio.AbstractEventLoop, Pool] = {}
        self._transactions: dict[asyncio.AbstractEventLoop, Pool] = {}
        self._dialect: Dialect = self._driver_url.get_dialect()()
        try:
            _, arguments = self._dialect.create_connect_args(self._driver_url)
        except (SQLAlchemyError, ValueError) as error:
            raise ConfigurationError(f"{self.url.render_as_string()!r}: {error}") from None
        self._host = _name_hosts(arguments)

    def _set_options(self, options: Any) -> None:
        self.options = options

    # ---- what each server does its own way -------------------------------------------

    @abstractmethod
    def _connect_arguments(self) -> dict[str, Any]:
        """What the driver is given to connect, whatever the URL says."""

    @abstractmethod
    def _take_options(self, read: dict[str, Any]) -> dict[str, Any]:
        """The driver's arguments for the options that the URL has for it."""

    @abstractmethod
    def _judge(self, error: BaseException) -> Fault:
        """What an error that the driver raised means."""

    @abstractmethod
    def _refusal(self, error: BaseException) -> StorageError:
        """The typed error for one that is `Fault.REFUSED`."""

    @abstractmethod
    def _commit_script(self, appends: Sequence[Append]) -> Script[list[Answer]]:
        """Answer the appends."""

    @abstractmethod
    async def _prepare(self, link: Link) -> None:
        """Look at the server and see to the tables."""

    # ---- connections -----------------------------------------------------------------

    async def _open(self) -> None:
        for pools in (self._pools, self._transactions):
            for loop in [loop for loop in pools if loop.is_closed()]:
                pools.pop(loop).abandon()
        loop = asyncio.get_running_loop()
        if loop not in self._pools:
            pool = self._make_pool()
            try:
                await self._prepare_with(pool)
            except BaseException:
                await pool.close()  # nobody else knows of it
                raise
            self._pools[loop] = pool

    async def _prepare_with(self, pool: Pool) -> None:
        async with pool.connected() as link:
            try:
                await self._prepare(link)
            except (StorageError, ConfigurationError):
                raise
            except Exception as error:
                raise self._typed(error) from error

    def _make_pool(self) -> Pool:
        return Pool(self.make_engine(), self._link, self._unreachable)

    @property
    def _pool(self) -> Pool:
        pool = self._pools.get(asyncio.get_running_loop())
        if pool is None:
            raise StorageClosed(f"{type(self).__name__} is closed; open a new one")
        return pool

    def make_engine(self, **more: Any) -> AsyncEngine:
        """SQLAlchemy's engine for the URL and its options, with `more` of its arguments."""
        options = self.options
        arguments: dict[str, Any] = {
            "pool_size": options.pool_size,
            "max_overflow": options.max_overflow,
            "pool_timeout": options.pool_timeout,
            "pool_recycle": options.pool_recycle,
            "pool_pre_ping": options.pool_pre_ping,
            # What is left idle longest is what a firewall cuts.
            "pool_use_lifo": True,
            # Transactions are begun and ended here, so there is nothing to reset.
            "pool_reset_on_return": None,
            "hide_parameters": True,
        }
        return create_async_engine(
            self._driver_url,
            connect_args={**self._connect_arguments(), **self._driver_options},
            **arguments | more,
        )

    def make_users_engine(self) -> AsyncEngine:
        """An engine whose connections begin and end transactions as SQLAlchemy's users know it."""
        return self.make_engine(pool_reset_on_return="rollback", isolation_level="READ COMMITTED")

    async def _close(self) -> None:
        pools = [*self._pools.items(), *self._transactions.items()]
        self._pools, self._transactions = {}, {}
        for loop, pool in pools:
            if loop is asyncio.get_running_loop():
                await pool.close()
            elif loop.is_running():
                asyncio.run_coroutine_threadsafe(pool.close(), loop)
            else:
                pool.abandon()

    def _unreachable(self, error: Exception) -> StorageError:
        cause: Any = error.orig if isinstance(error, DBAPIError) else error
        where = self._host
        if isinstance(error, PoolTimeout):
            text = f"no connection to {where} came free for {self.options.pool_timeout:g} s"
        else:
            text = f"cannot connect to {where}: {_say(cause)}"
        return StorageUnavailable(self._without_password(text))

    @property
    def _place(self) -> str:
        return f"database {self.url.database!r} at {self._host}"

    def _without_password(self, text: str) -> str:
        password = self.url.password
        return text.replace(password, "…") if password else text

    # ---- tries -----------------------------------------------------------------------

    async def _try(self, make: MakeScript[T], *, transaction: bool) -> T:
        """Run the script, again for as long as the server prefers somebody else.

        Raises:
            Lost: the connection broke, and what was done is not known.
            StorageError: nothing was done.
        """
        for turn in range(_TRIES):
            if turn:
                await asyncio.sleep(random.random() * 0.002 * 2 ** min(turn, 7))
            async with self._pool.connected() as link:
                try:
                    return await run_in(link, make(), transaction=transaction)
                except (StorageError, ValueError):
                    raise
                except Exception as error:
                    fault = self._judge(error)
                    if fault is Fault.LOST:
                        raise Lost from error
                    if fault is Fault.REFUSED:
                        raise self._typed(error) from error
        raise StorageUnavailable(
            f"the server undid the same transaction {_TRIES} times in favour of others; nothing was written"
        )

    def _typed(self, error: Exception) -> StorageError:
        if self._judge(error) is Fault.LOST:
            return self._unreachable(error)
        return self._refusal(error)

    async def _ask(self, make: MakeScript[T]) -> T:
        return await self._safely(make, transaction=self._needs_transaction)

    async def _safely(self, make: MakeScript[T], *, transaction: bool, tries: int = 2) -> T:
        """Run a script that may be run again where its answer was lost."""
        for turn in range(tries):
            try:
                return await self._try(make, transaction=transaction)
            except Lost as lost:
                if turn == tries - 1:
                    raise self._lost(lost) from lost.__cause__
        raise AssertionError("unreachable")

    async def _transact(self, make: MakeScript[T]) -> T:
        return await self._safely(make, transaction=True, tries=1)

    _needs_transaction = False
    """Whether even one statement needs a transaction, as behind a pooler that has no sessions."""

    def _lost(self, lost: Lost) -> StorageUnavailable:
        return StorageUnavailable(
            self._without_password(f"the connection to {self._host} broke: {_say(lost.__cause__)}")
        )

    # ---- commit ----------------------------------------------------------------------

    _commits_in_one = False
    """Whether `_commit_script` is one statement where all goes well."""

    async def _write(self, appends: Sequence[Append], within: Any) -> list[Answer]:
        if within is not None:
            return await self._write_within(check_within(within), appends)
        transaction = self._needs_transaction or not self._commits_in_one
        try:
            return await self._try(lambda: self._commit_script(appends), transaction=transaction)
        except Lost as lost:
            cause = self._lost(lost)
            return [Unknown(append.run_id, cause) for append in appends]

    async def _write_within(self, within: Within, appends: Sequence[Append]) -> list[Answer]:
        try:
            return await run_within(within, self._commit_script(appends))
        except SQLAlchemyError as error:
            raise failed(error) from error

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """A transaction for a step: it commits at the end, and is rolled back on an error.

        Its connection is none of those that the runs' own traffic needs.

        Raises:
            StorageUnavailable: the server cannot be reached.
            OutcomeUnknown: the connection broke during the commit, which may have been made.
            DBAPIError: the server refused to commit, and nothing was written.
        """
        await self._ready()
        loop = asyncio.get_running_loop()
        if loop not in self._transactions:
            self._transactions[loop] = Pool(self.make_users_engine(), self._link, self._unreachable)
        transaction = open_transaction(
            self._transactions[loop].engine,
            unreachable=self._unreachable,
            is_lost=lambda error: self._judge(error) is Fault.LOST,
        )
        async with transaction as connection:
            yield connection

    async def drop(self) -> None:
        """Remove the namespace's tables with all runs in them. Handles that are open fail from then on."""
        await self._ready()
        await self._transact(lambda: migrate.drop(self._s.tables, self._dialect))


async def run_in(link: Link, script: Script[T], *, transaction: bool) -> T:
    """Run the script on `link`, in a transaction if so asked."""
    if not transaction:
        return await link.run(script)
    await link.begin()
    try:
        answer = await link.run(script)
        await link.commit()
    except Exception:
        # Where this fails, too, the connection is in disorder.
        with contextlib.suppress(Exception):
            await link.rollback()
        raise
    return answer


def _name_hosts(arguments: Mapping[str, Any]) -> str:
    """Where the driver connects to, for people: one place, or several."""
    hosts: Any = arguments.get("host")
    ports: Any = arguments.get("port")
    if not isinstance(hosts, list):
        return f"{hosts or arguments.get('unix_socket') or 'localhost'}{f':{ports}' if ports else ''}"
    return " or ".join(f"{host}:{port}" for host, port in zip(hosts, ports, strict=True))


def _say(error: object) -> str:
    """An error for people; some have no text of their own."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return str(error).strip() or type(error).__name__
