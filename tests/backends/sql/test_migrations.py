"""Tables are made once, brought up to date once, and refused where they are newer."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import Any

import pytest
from sqlalchemy import Dialect, text

from pyworkflow_core.errors import ConfigurationError, UnsupportedSchema
from pyworkflow_core.testing.appends import after, created
from pyworkflow_sql import migrate
from pyworkflow_sql.schema import Tables
from pyworkflow_sql.scripts import Call, Script
from pyworkflow_sql.statements import Statement

OPEN_AND_APPEND = """
import asyncio, sys
from pyworkflow_core.plugins import open_storage
from pyworkflow_core.testing.appends import created

async def main(url, name):
    sys.stdin.readline()  # so that all begin together
    async def one(n):
        async with open_storage(url) as store:
            print(*await store.commit([created(f"{name}{n}")]))
    await asyncio.gather(*[one(n) for n in range(3)])

asyncio.run(main(*sys.argv[1:]))
"""


def test_ten_openers_at_once_make_the_tables_once(database: Any) -> None:
    command = [sys.executable, "-c", OPEN_AND_APPEND, database.url]
    children = [
        subprocess.Popen([*command, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for name in "abcd"
    ]
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    told = [child.communicate(timeout=100)[0] for child in children]
    assert [child.returncode for child in children] == [0] * 4
    assert sum(text.count("Committed") for text in told) == 12
    found = database.run(lambda s: s.list_runs())
    assert sorted(r.run_id for r in found) == sorted(f"{name}{n}" for name in "abcd" for n in range(3))


def test_tables_that_are_missing_are_not_made_if_that_is_forbidden(database: Any) -> None:
    with pytest.raises(UnsupportedSchema, match=r"missing.*migrate=never"):
        database.run(lambda s: s.get("a"), migrate="never")
    database.run(lambda s: s.get("a"))
    assert database.run(lambda s: s.get("a"), migrate="never") is None


def set_fact(store: Any, name: str, value: str) -> Any:
    """Change a fact behind the backend's back."""
    return store._transact(lambda: _set_fact(store, name, value))


def _set_fact(store: Any, name: str, value: str) -> Script[None]:
    yield Call(store._s.set_fact, [{"of_name": name, "new_value": value}])


def test_tables_that_need_newer_code_are_refused(database: Any) -> None:
    async def make_newer(store: Any) -> None:
        await store.commit([created("a")])
        await set_fact(store, "schema", "7")

    database.run(make_newer)
    # Newer tables that this code can live with: old and new workers side by side.
    assert len(database.run(lambda s: s.read("a"))) == 1
    database.run(lambda s: set_fact(s, "needs", "7"))
    with pytest.raises(UnsupportedSchema, match="need code of version 7"):
        database.run(lambda s: s.read("a"))
    restore(database)


def restore(database: Any) -> None:
    """Let the namespace be dropped."""
    if database.kind != "sqlite":
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(migrate, "VERSION", 7)
            database.run(lambda s: set_fact(s, "needs", "1"))


def test_a_feed_is_fixed_when_the_namespace_is_made(database: Any) -> None:
    assert database.run(lambda s: s.feed(), feed=1).events == []
    with pytest.raises(ConfigurationError, match="made with a feed"):
        database.run(lambda s: s.get("a"), feed=0)
    assert database.run(lambda s: s.feed()).events == []


def test_older_tables_are_brought_up_to_date_by_one_of_many(
    database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = created("a")
    database.run(lambda s: s.commit([first]))
    made: list[int] = []

    def add_a_column(tables: Tables, dialect: Dialect) -> Script[None]:
        made.append(1)
        yield Call(Statement(text(f"ALTER TABLE {tables.events.fullname} ADD COLUMN extra BIGINT"), dialect))

    monkeypatch.setattr(migrate, "VERSION", 2)
    monkeypatch.setitem(migrate.STEPS, 1, (add_a_column, 1))

    async def open_many() -> None:
        stores = [database.open() for _ in range(5)]
        await asyncio.gather(*[store.open() for store in stores])
        await stores[0].commit([after(first.record)])
        for store in stores:
            assert len(await store.read("a")) == 2
            await store.close()

    asyncio.run(open_many())
    assert made == [1]
    monkeypatch.setattr(migrate, "VERSION", 1)  # an old worker goes on: the new tables need no more than it
    assert len(database.run(lambda s: s.read("a"))) == 2
