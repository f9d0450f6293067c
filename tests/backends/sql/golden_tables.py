"""Writes down tables with the suite's golden history in them, as SQL.

Each line is a statement. Never write a version again that was released; for a new version of
the tables write a new file: ``python tests/backends/sql/golden_tables.py URL VERSION``.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.schema import CreateIndex, CreateSchema, CreateTable

import pyworkflow_sql
from pyworkflow_core.plugins import open_storage
from pyworkflow_core.testing import golden
from pyworkflow_sql.scripts import Call, Script
from pyworkflow_sql.statements import Statement

NAMESPACE = "golden_namespace"
FOLDER = Path(pyworkflow_sql.__file__).with_name("golden")


def literal(value: Any, dialect: str) -> str:
    match value:
        case None:
            return "NULL"
        case int():
            return str(value)
        case bytes():
            return f"'\\x{value.hex()}'::bytea" if dialect == "postgresql" else f"x'{value.hex()}'"
        case str() if dialect == "mysql":
            return f"x'{value.encode().hex()}'"
    return "'" + str(value).replace("'", "''") + "'"


def statements(store: Any) -> Script[list[str]]:
    dialect, tables = store._dialect, store._s.tables
    made = [str(CreateSchema(NAMESPACE).compile(dialect=dialect))] if dialect.name == "postgresql" else []
    for table in tables.metadata.sorted_tables:
        made.append(str(CreateTable(table).compile(dialect=dialect)))
        indexes = sorted(table.indexes, key=lambda index: index.name)
        made += [str(CreateIndex(index).compile(dialect=dialect)) for index in indexes]
        columns = [column for column in table.columns if column.computed is None]
        keys = list(table.primary_key)
        rows = yield Call(Statement(select(*columns).order_by(*keys), dialect))
        names = ", ".join(column.name for column in columns)
        for row in rows:
            values = ", ".join(literal(value, dialect.name) for value in row)
            made.append(f"INSERT INTO {table.fullname} ({names}) VALUES ({values})")
    return made


async def main(url: str, version: str) -> None:
    async with open_storage(f"{url}?namespace={NAMESPACE}&feed=1") as opened:
        store: Any = opened
        await golden.write(store)
        made = await store._ask(lambda: statements(store))
        await store.drop()
    path = FOLDER / f"version-{version}.{store._dialect.name}.jsonl"
    path.write_text("".join(json.dumps(sql, ensure_ascii=False) + "\n" for sql in made), encoding="utf-8")
    print(path.name, len(made), "statements")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
