"""The PostgreSQL backend, on asyncpg."""

from __future__ import annotations

import contextlib
import secrets
import time
import zlib
from collections.abc import Sequence
from typing import Any, ClassVar

import asyncpg
from sqlalchemy import URL, BigInteger, Text, bindparam, func, select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.schema import CreateSchema, DropSchema

from pyworkflow_core.errors import (
    ConfigurationError,
    StorageError,
    StorageFull,
    StorageUnavailable,
)
from pyworkflow_core.storage import Answer, Append, Capabilities, Claim, FeedPage

from . import postgresql_scripts
from .connections import Link
from .driver_options import make_postgresql_tls
from .migrate import check, is_current, look, migrate
from .options import ServerOptions
from .postgresql_push import PushingPool
from .postgresql_statements import PostgresqlStatements, transaction_number
from .schema import make_tables
from .scripts import Call, Script
from .server import Fault, ServerStorageBackend, run_in
from .statements import Statement, Statements
from .within import Within, failed, run_within

_OLDEST = 13
_AGAIN = {"40001", "40P01", "55P03"}
_LOST = ("08", "57P0", "40003")
_FULL = {"53100", "53200"}
_TLS = ("ssl", "sslmode", "sslrootcert", "sslcert", "sslkey")
_CACHES = (
    "statement_cache_size",
    "max_cached_statement_lifetime",
    "max_cacheable_statement_size",
    "prepared_statement_cache_size",
)
_CONNECTION = (OSError, EOFError, TimeoutError, asyncpg.InterfaceError, asyncpg.InternalClientError)


class PostgresqlOptions(ServerOptions, frozen=True, kw_only=True):
    """What can be set on PostgreSQL, beside what asyncpg takes.

    Attributes:
        prepared: whether statements are prepared once on each connection. 0 is for a pooler
            like PgBouncer that hands out a session for one transaction only.
        push: whether idle workers are woken by notifications. Needs sessions.
        application_name: what the server calls these connections.
    """

    prepared: bool = True
    push: bool = True
    application_name: str = ""


class PostgresqlLink(Link):
    """A connection of asyncpg."""

    def is_closed(self) -> bool:
        """Whether the driver knows already that the connection is gone."""
        return bool(self.driver.is_closed())

    async def execute(self, call: Call) -> Any:
        """Rows, or how many were changed."""
        statement, values = call.statement, call.values
        if isinstance(values, list):
            await self.driver.executemany(statement.sql, [statement.bind(v) for v in values])
            return len(values)
        arguments = statement.bind(values)
        if statement.returns:
            return await self.driver.fetch(statement.sql, *arguments)
        status = await self.driver.execute(statement.sql, *arguments)
        return int(status.rpartition(" ")[2])

    async def begin(self) -> None:
        """Begin a transaction."""
        await self.driver.execute("BEGIN ISOLATION LEVEL READ COMMITTED")

    async def commit(self) -> None:
        """Commit it."""
        await self.driver.execute("COMMIT")

    async def rollback(self) -> None:
        """Undo it."""
        await self.driver.execute("ROLLBACK")


class PostgresqlStorageBackend(ServerStorageBackend):
    """Keeps runs in a schema of a PostgreSQL database.

    Args:
        url: ``postgresql://user:password@host/database``, as SQLAlchemy's asyncpg dialect takes it.
        options: the fields of `PostgresqlOptions`, such as ``namespace=…``.

    Raises:
        ConfigurationError: the URL or an option cannot work.
    """

    _options_class = PostgresqlOptions
    driver = "postgresql+asyncpg"
    _schemes = frozenset({"postgresql", "postgresql+asyncpg"})
    _link = PostgresqlLink
    _commits_in_one = True
    _connector = asyncpg.connect
    _driver_kinds: ClassVar[dict[str, type]] = {
        "timeout": float,
        "command_timeout": float,
        "direct_tls": bool,
        **dict.fromkeys(_CACHES, int),
        **dict.fromkeys(_TLS, str),
    }
    options: PostgresqlOptions
    _s: PostgresqlStatements

    def __init__(self, url: str | URL, **options: Any) -> None:
        super().__init__(url, **options)
        self._needs_transaction = not self.options.prepared
        self.capabilities = self._capabilities(feed=bool(self.options.feed), durable=True)

    def _capabilities(self, *, feed: bool, durable: bool) -> Capabilities:
        return Capabilities(
            durable=durable,
            multi_process=True,
            server=True,
            feed=feed,
            push=self.options.push and self.options.prepared,
            transactions=True,
            failover_loss="what an asynchronous standby had not received",
        )

    def _connect_arguments(self) -> dict[str, Any]:
        arguments: dict[str, Any] = {}
        if self.options.application_name:
            arguments["server_settings"] = {"application_name": self.options.application_name}
        if not self.options.prepared:
            arguments |= {"statement_cache_size": 0, "prepared_statement_cache_size": 0}
        return arguments

    def _take_options(self, read: dict[str, Any]) -> dict[str, Any]:
        tls = make_postgresql_tls({name: read.pop(name) for name in _TLS if name in read})
        return read if tls is None else read | {"ssl": tls}

    # ---- errors ----------------------------------------------------------------------

    def _judge(self, error: BaseException) -> Fault:
        if isinstance(error, asyncpg.PostgresError):
            code = error.sqlstate or ""
            if code in _AGAIN or isinstance(error, asyncpg.InvalidCachedStatementError):
                return Fault.AGAIN
            return Fault.LOST if code.startswith(_LOST) else Fault.REFUSED
        return Fault.LOST if isinstance(error, _CONNECTION) else Fault.REFUSED

    def _refusal(self, error: BaseException) -> StorageError:
        code = getattr(error, "sqlstate", "")
        said = self._without_password(f"PostgreSQL refused: {error}")
        if code in _FULL:
            return StorageFull(f"{said}. Nothing was written; make room and try again.")
        if code in {"42P01", "3F000"}:
            return StorageUnavailable(
                f"{said}. The tables of namespace {self.options.namespace!r} were there, and are gone."
            )
        if code == "25006":
            return StorageUnavailable(f"{said}. This server is a standby; connect to the primary.")
        return StorageUnavailable(f"{said}. Nothing was written.")

    # ---- opening ---------------------------------------------------------------------

    async def _prepare(self, link: Link) -> None:
        version, encoding, durable = await link.run(self._settings())
        if version < _OLDEST * 10_000:
            raise ConfigurationError(
                f"PostgreSQL {version // 10_000} is too old; {_OLDEST} is the oldest that works"
            )
        if encoding != "UTF8":
            raise ConfigurationError(f"the database has the encoding {encoding}; runs need one in UTF8")
        facts = await link.run(self._facts())
        if not is_current(facts) and self.options.migrate == "auto":
            facts = await run_in(link, self._migrate(), transaction=True)
        layout = check(facts, self.options.namespace, feed=self.options.feed)
        if layout.feed and await link.run(self._is_ahead(int(facts["position"]))):
            facts = await run_in(link, self._rebase(), transaction=True)
            layout = check(facts, self.options.namespace, feed=self.options.feed)
        base = int(facts["position"]) if layout.feed else None
        self._layout = layout
        tables = make_tables(self.options.namespace, self._dialect.name, layout.feed)
        self._s = PostgresqlStatements(tables, self._dialect, base)
        self.capabilities = self._capabilities(feed=layout.feed, durable=durable)

    def _settings(self) -> Script[tuple[int, str, bool]]:
        names = ("server_version_num", "server_encoding", "synchronous_commit", "fsync")
        shown = select(*[func.current_setting(name) for name in names])
        ((version, encoding, synchronous, fsync),) = yield Call(Statement(shown, self._dialect))
        return int(version), encoding, synchronous != "off" and fsync == "on"

    def _describe_database(self) -> Script[list[str]]:
        names = ("server_version", "synchronous_commit", "fsync")
        shown = select(*[func.current_setting(name) for name in names], func.pg_is_in_recovery())
        ((version, synchronous, fsync, standby),) = yield Call(Statement(shown, self._dialect))
        return [
            f"PostgreSQL {version}, {self._place}"
            + (", a standby: nothing can be written" if standby else ""),
            f"durability: synchronous_commit={synchronous}, fsync={fsync}",
        ]

    def _facts(self) -> Script[dict[str, str]]:
        tables = make_tables(self.options.namespace, self._dialect.name, False)
        # Not to_regclass(): it may answer from a cache that has not heard of what others did.
        there = text(
            "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE n.nspname = :namespace AND c.relname = :name"
        ).bindparams(bindparam("namespace", type_=Text()), bindparam("name", type_=Text()))
        values = {"namespace": self.options.namespace, "name": tables.facts.name}
        ((found,),) = yield Call(Statement(there, self._dialect), values)
        return (yield from look(tables, self._dialect)) if found else {}

    def _lock(self) -> Script[None]:
        """Hold off others that would make or change the tables, until the transaction ends."""
        key = zlib.crc32(f"pyworkflow {self.options.namespace}".encode())
        lock = select(func.pg_advisory_xact_lock(bindparam("key", type_=BigInteger())))
        yield Call(Statement(lock, self._dialect), {"key": key})

    def _migrate(self) -> Script[dict[str, str]]:
        namespace = self.options.namespace
        yield from self._lock()
        facts = yield from self._facts()
        if is_current(facts):
            return facts  # somebody was faster
        # Asked for first, since making it needs rights even where it is there.
        there = text("SELECT count(*) FROM pg_namespace WHERE nspname = :name")
        there = there.bindparams(bindparam("name", type_=Text()))
        ((count,),) = yield Call(Statement(there, self._dialect), {"name": namespace})
        if not count:
            yield Call(Statement(CreateSchema(namespace), self._dialect))
        return (yield from migrate(facts, namespace, self._dialect, feed=self.options.feed))

    def _is_ahead(self, base: int) -> Script[bool]:
        """Whether the feed holds positions that transactions of this server have not reached.

        So it is after a dump was restored on another server, which counts from its own beginning.
        """
        events = make_tables(self.options.namespace, self._dialect.name, True).events
        last = select(func.coalesce(func.max(events.c.position), 0)).scalar_subquery()
        reached = transaction_number(func.pg_snapshot_xmax(func.pg_current_snapshot())) + base
        ((ahead,),) = yield Call(Statement(select(last >= reached), self._dialect))
        return bool(ahead)

    def _rebase(self) -> Script[dict[str, str]]:
        """Let positions go on behind those that there are, and refuse those that were given out before.

        A reader that had read beyond the backup would miss what now gets positions that it has passed.
        """
        yield from self._lock()
        tables = make_tables(self.options.namespace, self._dialect.name, True)
        facts = yield from look(tables, self._dialect)
        if not (yield from self._is_ahead(int(facts["position"]))):
            return facts  # somebody was faster
        last = select(func.max(tables.events.c.position))
        ((base,),) = yield Call(Statement(last, self._dialect))
        new = {"position": str(base), "tag": secrets.token_hex(4)}
        for name, value in new.items():
            values = {"of_name": name, "new_value": value}
            yield Call(Statements(tables, self._dialect).set_fact, values)
        return facts | new

    async def drop(self) -> None:
        """Remove the namespace's tables with all runs in them, and its schema if nothing else is in it."""
        await super().drop()
        with contextlib.suppress(StorageUnavailable):
            await self._transact(self._drop_schema)

    def _drop_schema(self) -> Script[None]:
        yield Call(Statement(DropSchema(self.options.namespace, if_exists=True), self._dialect))

    # ---- the contract ----------------------------------------------------------------

    def _commit_script(self, appends: Sequence[Append]) -> Script[list[Answer]]:
        return postgresql_scripts.commit(self._s, appends, self._on_due)

    def _on_due(self, due_at: int) -> None:
        if self.capabilities.push and due_at <= time.time_ns() // 1000:
            self._push.notifier.tell()

    async def _write_within(self, within: Within, appends: Sequence[Append]) -> list[Answer]:
        # The notification is the transaction's own, and goes out when that commits.
        script = postgresql_scripts.commit(self._s, appends, lambda due_at: None)
        notify = postgresql_scripts.notify(self._s, self._channel)
        try:
            answers = await run_within(within, script)
            await run_within(within, notify)
        except SQLAlchemyError as error:
            raise failed(error) from error
        return answers

    async def _wait(self, timeout: int) -> None:
        await self._push.listener.wait(timeout)

    async def _notify(self) -> None:
        await self._try(
            lambda: postgresql_scripts.notify(self._s, self._channel), transaction=self._needs_transaction
        )

    def _make_pool(self) -> PushingPool:
        return PushingPool(
            self.make_engine(), self._link, self._unreachable, channel=self._channel, notify=self._notify
        )

    @property
    def _push(self) -> PushingPool:
        pool = self._pool
        assert isinstance(pool, PushingPool)
        return pool

    @property
    def _channel(self) -> str:
        return f"pyworkflow_{self.options.namespace}"

    async def _claim(
        self, owner: str, now: int, lease: int, limit: int, queues: tuple[str, ...] | None, run_id: str | None
    ) -> list[Claim]:
        def make() -> Script[list[Claim]]:
            return postgresql_scripts.claim(self._s, owner, now, lease, limit, queues, run_id)

        return await self._safely(make, transaction=self._needs_transaction, tries=1)

    async def _extend(self, claim: Claim, until: int) -> bool:
        return await self._move(claim, until)

    async def _release(self, claim: Claim) -> bool:
        return await self._move(claim, None)

    async def _move(self, claim: Claim, until: int | None) -> bool:
        def make() -> Script[bool]:
            return postgresql_scripts.move_lease(self._s, claim, until, self._on_due)

        return await self._safely(make, transaction=self._needs_transaction, tries=1)

    async def _feed(self, after: str | None, limit: int) -> FeedPage:
        layout = self._layout
        assert layout is not None
        return await self._ask(lambda: postgresql_scripts.feed(self._s, layout.tag, after, limit))


def open_url(url: str) -> PostgresqlStorageBackend:
    """Make a handle from ``postgresql://user:password@host/database?option=value``.

    Raises:
        ConfigurationError: the URL names no such database, or an option cannot work.
    """
    return PostgresqlStorageBackend(url)
