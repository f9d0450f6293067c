"""The tables of a namespace, as SQLAlchemy sees them.

``runs`` has a row for each run: its record, and its lease beside it. ``events`` has the logs.
``facts`` says which version of these tables this is, and what was fixed when they were made.

A deleted run leaves its row behind, with head 0 and without a creation time. The row says which
incarnations the id has had, so that an append that was written for one of them conflicts
whenever it arrives; whoever locks the row knows it for certain.
"""

from __future__ import annotations

import functools
from typing import Any

from msgspec import Struct
from sqlalchemy import (
    BigInteger,
    Column,
    Computed,
    Dialect,
    Index,
    LargeBinary,
    MetaData,
    Table,
    Text,
    TypeDecorator,
)
from sqlalchemy.dialects.mysql import LONGBLOB, VARBINARY
from sqlalchemy.types import TypeEngine

VERSION = 1


class Words(TypeDecorator[str]):
    """Text of at most 255 bytes that is compared and sorted by its UTF-8 bytes, and nothing else."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """The column type of each database that keeps ``'x'``, ``'x '``, ``'X'`` and ``'x́'`` apart."""
        if dialect.name == "postgresql":
            return dialect.type_descriptor(Text(collation="C"))
        if dialect.name in {"mysql", "mariadb"}:
            return dialect.type_descriptor(VARBINARY(255))
        return dialect.type_descriptor(Text())

    def process_bind_param(self, value: str | None, dialect: Dialect) -> Any:
        """Text as bytes where the column holds bytes."""
        return value.encode() if value is not None and dialect.name in {"mysql", "mariadb"} else value

    def process_result_value(self, value: Any, dialect: Dialect) -> str | None:
        """Bytes as text where the column holds bytes."""
        return value.decode() if isinstance(value, bytes) else value


Bytes = LargeBinary().with_variant(LONGBLOB(), "mysql", "mariadb")


class Tables(Struct, frozen=True):
    """The tables of one namespace.

    Attributes:
        metadata: all of them, and their indexes.
        facts: name and value of what was fixed when the tables were made.
        runs: a row for each run.
        events: a row for each event.
    """

    metadata: MetaData
    facts: Table
    runs: Table
    events: Table


@functools.lru_cache(maxsize=256)
def make_tables(namespace: str, dialect: str, feed: bool) -> Tables:
    """Describe the tables of a namespace.

    Args:
        namespace: a schema of PostgreSQL; elsewhere what the tables' names begin with.
        dialect: SQLAlchemy's name of the database.
        feed: whether events have a place in the feed, which costs an index.
    """
    own_schema = dialect == "postgresql"
    metadata = MetaData(schema=namespace if own_schema else None)
    prefix = "" if own_schema else f"{namespace}_"
    facts = Table(
        f"{prefix}facts",
        metadata,
        Column("name", Words, primary_key=True),
        Column("value", Words, nullable=False),
    )
    runs = Table(
        f"{prefix}runs",
        metadata,
        Column("run_id", Words, primary_key=True),
        Column("incarnation", Words, nullable=False),
        Column("head", BigInteger, nullable=False),
        Column("status", Words, nullable=False),
        Column("workflow", Words, nullable=False),
        Column("queue", Words, nullable=False),
        Column("priority", BigInteger, nullable=False),
        Column("created_at", BigInteger),
        Column("updated_at", BigInteger, nullable=False),
        Column("wake_at", BigInteger),
        Column("parent", Words),
        Column("attributes", Bytes),
        Column("rest", Bytes, nullable=False),
        Column("token", Words),
        Column("owner", Words),
        Column("lease_until", BigInteger),
        # Without a wake time there is no due time; with a lease it is the later of the two.
        Column(
            "due_at",
            BigInteger,
            Computed("CASE WHEN lease_until > wake_at THEN lease_until ELSE wake_at END", persisted=True),
        ),
        Column("buried", Bytes),
        Column("position", BigInteger),
        # Room on each page, so that most appends of a driving worker change no index.
        postgresql_with={"fillfactor": 75},
    )
    events = Table(
        f"{prefix}events",
        metadata,
        Column("run_id", Words, primary_key=True),
        Column("sequence", BigInteger, primary_key=True, autoincrement=False),
        Column("event_id", Words, nullable=False),
        Column("body", Bytes, nullable=False),
        Column("position", BigInteger),
        sqlite_with_rowid=False,
    )
    _index(runs, "due", "queue", "priority", "due_at", "run_id", only="due_at")
    _index(runs, "created", runs.c.created_at.desc(), "run_id", only="created_at")
    _index(runs, "status", "status", runs.c.created_at.desc(), "run_id", only="created_at")
    _index(runs, "workflow", "workflow", runs.c.created_at.desc(), "run_id", only="created_at")
    _index(runs, "parent", "parent", runs.c.created_at.desc(), "run_id", only="parent")
    if feed:
        _index(events, "position", "position", "run_id", "sequence", only="position")
    return Tables(metadata, facts, runs, events)


def _index(table: Table, name: str, *columns: Any, only: str) -> None:
    """An index of the rows in which column `only` is not null, where the database can do that."""
    expressions = [table.c[c] if isinstance(c, str) else c for c in columns]
    where = table.c[only].is_not(None)
    Index(f"{table.name}_{name}", *expressions, postgresql_where=where, sqlite_where=where)
