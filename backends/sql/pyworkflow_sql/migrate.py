"""The tables' versions: how they are made, brought up to date, and refused.

The table of facts says which ``schema`` the tables have, and which version of this code they
need at least. A step that older code can live with leaves that as it is, so that old and new
workers work side by side while a fleet is renewed. Whoever runs these scripts holds a lock
that lets one process at a time run them.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

from msgspec import Struct
from sqlalchemy import Dialect, insert, select
from sqlalchemy.schema import CreateIndex, CreateTable, DropTable

from pyworkflow_core.errors import ConfigurationError, UnsupportedSchema

from .schema import VERSION, Tables, make_tables
from .scripts import Call, Script
from .statements import Statement

Step = Callable[[Tables, Dialect], Script[None]]
STEPS: dict[int, tuple[Step, int]] = {}
"""By version: what makes the next one of it, and which version of the code that one needs."""


class Layout(Struct, frozen=True):
    """What is fixed in a namespace.

    Attributes:
        tag: drawn when it was made; tells its feed positions from those of any other.
        feed: whether it has a feed.
    """

    tag: str
    feed: bool


def look(tables: Tables, dialect: Dialect) -> Script[dict[str, str]]:
    """The facts of a namespace whose tables are there."""
    facts = tables.facts.c
    rows = yield Call(Statement(select(facts.name, facts.value), dialect))
    return {_text(name): _text(value) for name, value in rows}


def check(facts: dict[str, str], namespace: str, *, feed: bool | None) -> Layout:
    """What is fixed in the namespace, whose tables this code can use.

    Raises:
        UnsupportedSchema: the tables need newer code, or are not up to date.
        ConfigurationError: it was made with a feed and is opened without one, or the reverse.
    """
    needs, schema = int(facts.get("needs", 0)), int(facts.get("schema", 0))
    if needs > VERSION:
        raise UnsupportedSchema(
            f"the tables of namespace {namespace!r} have version {schema} and need code of version "
            f"{needs}; this is version {VERSION}. Upgrade pyworkflow-core here.",
            found=schema,
            needed=VERSION,
        )
    if schema < VERSION:
        raise UnsupportedSchema(
            f"the tables of namespace {namespace!r} {f'have version {schema}' if schema else 'are missing'}; "
            f"this code needs version {VERSION}, and migrate=never forbids to "
            f"{'bring them up to date' if schema else 'make them'}. 'pyworkflow storage "
            f"{'migrate' if schema else 'init'}' does it.",
            found=schema,
            needed=VERSION,
        )
    made_with = facts["feed"] == "1"
    if feed is not None and feed != made_with:
        raise ConfigurationError(
            f"namespace {namespace!r} was made with{'' if made_with else 'out'} a feed, which cannot be "
            f"changed; open it with feed={int(made_with)}, or leave that option out"
        )
    return Layout(facts["tag"], made_with)


def describe(facts: dict[str, str], namespace: str) -> str:
    """The versions for people."""
    found, how = int(facts["schema"]), "with" if facts["feed"] == "1" else "without"
    newer = f", newer than this code's {VERSION}, which can use them" if found > VERSION else ""
    return f"namespace {namespace!r}: tables of version {found}{newer}; made {how} a feed"


def is_current(facts: dict[str, str]) -> bool:
    """Whether there is nothing to migrate, or nothing that this code could."""
    return int(facts.get("schema", 0)) >= VERSION


def migrate(
    facts: dict[str, str], namespace: str, dialect: Dialect, *, feed: bool | None
) -> Script[dict[str, str]]:
    """Make the tables, or bring them up to date; the facts after that."""
    if "schema" not in facts:
        tables = make_tables(namespace, dialect.name, bool(feed))
        new = {
            "schema": str(VERSION),
            "needs": str(VERSION),
            "feed": str(int(bool(feed))),
            "tag": secrets.token_hex(4),
            "position": "0",
        }
        for table in tables.metadata.sorted_tables:
            yield Call(Statement(CreateTable(table, if_not_exists=True), dialect))
            for index in sorted(table.indexes, key=lambda index: str(index.name)):
                yield Call(Statement(CreateIndex(index), dialect))
        # Last, so that tables which a crash left half made are made again.
        yield from _note(tables, dialect, new)
        return new
    tables = make_tables(namespace, dialect.name, facts["feed"] == "1")
    now = dict(facts)
    for version in range(int(facts["schema"]), VERSION):
        step, needs = STEPS[version]
        yield from step(tables, dialect)
        now |= {"schema": str(version + 1), "needs": str(max(int(now["needs"]), needs))}
        for name in ("schema", "needs"):
            update = tables.facts.update().where(tables.facts.c.name == name).values(value=now[name])
            yield Call(Statement(update, dialect))
    return now


def drop(tables: Tables, dialect: Dialect) -> Script[None]:
    """Remove the tables, with everything in them."""
    for table in (tables.facts, tables.events, tables.runs):
        yield Call(Statement(DropTable(table, if_exists=True), dialect))


def _note(tables: Tables, dialect: Dialect, facts: dict[str, str]) -> Script[None]:
    # All at once: where making tables is no transaction, others look on meanwhile.
    rows = [{"name": name, "value": value} for name, value in facts.items()]
    yield Call(Statement(insert(tables.facts).values(rows), dialect))


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
