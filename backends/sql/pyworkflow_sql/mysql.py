"""The backend of MariaDB and MySQL, on asyncmy."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

from asyncmy.connection import Connection
from sqlalchemy import LargeBinary, Text, bindparam, literal_column, text
from sqlalchemy.dialects.mysql import insert
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError

from pyworkflow_core.errors import ConfigurationError, StorageError, StorageFull, StorageUnavailable
from pyworkflow_core.storage import Answer, Append, Capabilities, Limits

from . import scripts
from .connections import Link
from .driver_options import make_mysql_tls
from .migrate import check, is_current, look, migrate
from .mysql_link import MysqlLink
from .schema import Words, make_tables
from .scripts import Call, Script
from .server import Fault, ServerStorageBackend
from .statements import LEASE, WRITTEN, Statement, Statements, pick_settled
from .within import Within, failed, run_within

_AGAIN = {1205, 1213, 1062}
_LOST = {1053, 1077, 1079, 1080, 1152, 1158, 1159, 1160, 1161, 1927, 2006, 2013, 2014, 2055}
_FULL = {1021, 1041, 1114}
_TLS: dict[str, type] = {
    "ssl": bool,
    "ssl_verify_cert": bool,
    "ssl_check_hostname": bool,
    **dict.fromkeys(("ssl_ca", "ssl_capath", "ssl_cert", "ssl_key", "ssl_cipher"), str),
}
_CONNECTION = (OSError, EOFError, TimeoutError)
_OLDEST = {"MariaDB": (10, 6), "MySQL": (8, 0)}
_TRIES = 5


async def connect(**arguments: Any) -> Connection:
    """A connection of asyncmy. Its own time limit ends before the server has said a word.

    Raises:
        TimeoutError: the server did not let us in within `connect_timeout` seconds.
    """
    connection = Connection(**arguments)  # type: ignore[no-untyped-call]
    async with asyncio.timeout(arguments.get("connect_timeout", 10)):
        await connection.connect()
    return connection


class MysqlStatements(Statements):
    """The statements for one namespace of MariaDB or MySQL."""

    @cached_property
    def update_run(self) -> Statement:
        """As `Statements.update_run`, for many rows in one statement. They are there, and locked."""
        return self._overwrite("new_run_id", [name for name in WRITTEN if name != "run_id"])

    @cached_property
    def lease_run(self) -> Statement:
        """As `Statements.lease_run`, for many rows in one statement. They are there, and locked."""
        return self._overwrite("of_run", LEASE)

    @cached_property
    def advance_run(self) -> Statement:
        """As `Statements.advance_run`, for many rows in one statement. They are there, and locked."""
        return self._overwrite("new_run_id", ("head", "updated_at", "rest"))

    def is_settled(self, there: tuple[Any, ...], values: Mapping[str, Any]) -> bool:
        """As `Statements.is_settled`; text comes as bytes from these columns."""
        ours = tuple([v.encode() if v.__class__ is str else v for v in pick_settled(values)])
        return bool(there) and there == ours

    def _overwrite(self, key: str, names: Sequence[str]) -> Statement:
        """Write these columns of rows that are there: an UPDATE could give one row only its own values."""
        columns = self.tables.runs.c
        values: dict[str, Any] = {
            # They are needed for a row that would be new, and never written.
            c.name: literal_column("''" if isinstance(c.type, (Words, LargeBinary)) else "0")
            for c in columns
            if not c.nullable
        }
        values |= {name: bindparam(f"new_{name}", type_=columns[name].type) for name in names}
        values["run_id"] = bindparam(key, type_=columns.run_id.type)
        new = insert(self.tables.runs).values(values)
        return self._make(new.on_duplicate_key_update({name: new.inserted[name] for name in names}))


class MysqlStorageBackend(ServerStorageBackend):
    """Keeps runs in tables of a MariaDB or MySQL database.

    Args:
        url: ``mysql://user:password@host/database`` or ``mariadb://…``, as SQLAlchemy's asyncmy
            dialect takes it.
        options: the fields of `ServerOptions`, such as ``namespace=…``.

    Raises:
        ConfigurationError: the URL or an option cannot work.
    """

    driver = "mysql+asyncmy"
    _schemes = frozenset({"mysql", "mysql+asyncmy", "mariadb", "mariadb+asyncmy"})
    _link = MysqlLink
    _connector = Connection
    _driver_kinds: ClassVar[dict[str, type]] = {
        "connect_timeout": int,
        "read_timeout": int,
        "local_infile": bool,
        "use_unicode": bool,
        "max_allowed_packet": int,
        "stmt_cache_size": int,
        **_TLS,
    }
    _s: MysqlStatements

    def _set_options(self, options: Any) -> None:
        super()._set_options(options)
        self.capabilities = self._capabilities(feed=bool(options.feed), durable=True)

    def _capabilities(self, *, feed: bool, durable: bool) -> Capabilities:
        return Capabilities(
            durable=durable,
            multi_process=True,
            server=True,
            feed=feed,
            transactions=True,
            failover_loss="what an asynchronous replica had not received",
        )

    def _connect_arguments(self) -> dict[str, Any]:
        return {
            "async_creator_fn": connect,
            "autocommit": True,
            "binary_prefix": True,
            # The weaker modes cut off what is too long, and say so in a warning.
            "sql_mode": "'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'",
            "init_command": "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
        }

    def _take_options(self, read: dict[str, Any]) -> dict[str, Any]:
        tls = make_mysql_tls({name: read.pop(name) for name in _TLS if name in read})
        return read if tls is None else read | {"ssl": tls}

    # ---- errors ----------------------------------------------------------------------

    def _judge(self, error: BaseException) -> Fault:
        code = error.args[0] if error.args else None
        if code in _AGAIN:
            return Fault.AGAIN
        if code in _LOST or isinstance(error, _CONNECTION) or type(error).__name__ == "InterfaceError":
            return Fault.LOST
        return Fault.REFUSED

    def _refusal(self, error: BaseException) -> StorageError:
        code = error.args[0] if error.args else None
        said = self._without_password(f"the database refused: {error}")
        if code in _FULL:
            return StorageFull(f"{said}. Nothing was written; make room and try again.")
        if code == 1146:
            return StorageUnavailable(
                f"{said}. The tables of namespace {self.options.namespace!r} were there, and are gone."
            )
        if code in {1290, 1836}:
            return StorageUnavailable(f"{said}. This server is read-only; connect to the primary.")
        return StorageUnavailable(f"{said}. Nothing was written.")

    # ---- opening ---------------------------------------------------------------------

    async def _prepare(self, link: Link) -> None:
        version, packet, durable = await link.run(self._settings())
        _check_version(version)
        facts = await link.run(self._facts())
        if not is_current(facts) and self.options.migrate == "auto":
            facts = await link.run(self._migrate())
        layout = check(facts, self.options.namespace, feed=self.options.feed)
        self._layout = layout
        tables = make_tables(self.options.namespace, self._dialect.name, layout.feed)
        self._s = MysqlStatements(tables, self._dialect)
        self.capabilities = self._capabilities(feed=layout.feed, durable=durable)
        self.limits = _limits_for(packet)

    def _settings(self) -> Script[tuple[str, int, bool]]:
        asked = text("SELECT version(), @@max_allowed_packet, @@innodb_flush_log_at_trx_commit")
        ((version, packet, flush),) = yield Call(Statement(asked, self._dialect))
        return str(version), int(packet), int(flush) == 1

    def _describe_database(self) -> Script[list[str]]:
        asked = text("SELECT version(), @@innodb_flush_log_at_trx_commit, @@sync_binlog, @@read_only")
        ((version, flush, binlog, read_only),) = yield Call(Statement(asked, self._dialect))
        kind = "MariaDB" if "mariadb" in str(version).lower() else "MySQL"
        return [
            f"{kind} {version}, {self._place}" + (", read-only: nothing can be written" if read_only else ""),
            f"durability: innodb_flush_log_at_trx_commit={flush}, sync_binlog={binlog}",
        ]

    def _facts(self) -> Script[dict[str, str]]:
        tables = make_tables(self.options.namespace, self._dialect.name, False)
        there = text(
            "SELECT count(*) FROM information_schema.tables "
            "WHERE table_schema = database() AND table_name = :name"
        ).bindparams(bindparam("name", type_=Text()))
        ((count,),) = yield Call(Statement(there, self._dialect), {"name": tables.facts.name})
        return (yield from look(tables, self._dialect)) if count else {}

    def _migrate(self) -> Script[dict[str, str]]:
        """Make the tables. Each statement commits itself, so that a lock of the session has to do."""
        lock = {"name": f"pyworkflow {self.options.namespace}"}
        ((held,),) = yield Call(self._named("SELECT get_lock(:name, 60)"), lock)
        if held != 1:
            raise StorageUnavailable(
                f"another process has been changing the tables of namespace {self.options.namespace!r} "
                "for a minute"
            )
        facts = yield from self._facts()
        if not is_current(facts):
            namespace = self.options.namespace
            facts = yield from migrate(facts, namespace, self._dialect, feed=self.options.feed)
        yield Call(self._named("SELECT release_lock(:name)"), lock)
        return facts

    def _named(self, sql: str) -> Statement:
        return Statement(text(sql).bindparams(bindparam("name", type_=Text())), self._dialect)

    # ---- the contract ----------------------------------------------------------------

    def _commit_script(self, appends: Sequence[Append]) -> Script[list[Answer]]:
        return scripts.commit(self._s, appends, feed=self.capabilities.feed)

    async def _write_within(self, within: Within, appends: Sequence[Append]) -> list[Answer]:
        try:
            for _ in range(_TRIES):
                try:
                    return await _in_savepoint(within, self._commit_script(appends))
                except IntegrityError:
                    continue  # somebody has just made the run, and it can be seen now
        except (DBAPIError, SQLAlchemyError) as error:
            raise failed(error) from error
        raise StorageUnavailable(
            "the append cannot be made within the transaction, whose view of the runs is too old. "
            "Roll it back, and begin it again."
        )


async def _in_savepoint(within: Within, script: Script[list[Answer]]) -> list[Answer]:
    nested: Any = within.begin_nested()
    if hasattr(nested, "__aenter__"):
        async with nested:
            return await run_within(within, script)
    with nested:
        return await run_within(within, script)


def _check_version(version: str) -> None:
    kind = "MariaDB" if "mariadb" in version.lower() else "MySQL"
    numbers = tuple(int(n) for n in re.findall(r"\d+", version.removeprefix("5.5.5-"))[:2])
    if numbers < _OLDEST[kind]:
        oldest = ".".join(map(str, _OLDEST[kind]))
        raise ConfigurationError(f"{kind} {version} is too old; {oldest} is the oldest that works")


def _limits_for(packet: int) -> Limits:
    """What fits into one packet: escaping may double the length of a body."""
    defaults = Limits()
    most = max(0, (packet - 64 * 1024) // 2)
    return Limits(
        event_bytes=min(defaults.event_bytes or most, most),
        append_bytes=defaults.append_bytes,
        commit_bytes=min(defaults.commit_bytes or packet, packet),
    )


def open_url(url: str) -> MysqlStorageBackend:
    """Make a handle from ``mysql://user:password@host/database?option=value``.

    Raises:
        ConfigurationError: the URL names no such database, or an option cannot work.
    """
    return MysqlStorageBackend(url)
