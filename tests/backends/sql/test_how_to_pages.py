"""What the pages of the documentation tell people to do on their servers, done on real ones."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL, make_url

from pyworkflow_core.errors import StorageError, StorageUnavailable, UnsupportedSchema
from pyworkflow_core.plugins import open_storage
from pyworkflow_core.storage import Committed
from pyworkflow_core.testing.appends import after, created

HOW_TO = Path(__file__).parents[3] / "docs/how-to"


def statements(page: str) -> list[list[str]]:
    """The statements of each SQL block of a page."""
    blocks = re.findall(r"^```sql\n(.*?)^```$", (HOW_TO / page).read_text(encoding="utf-8"), re.M | re.S)
    return [[part for part in block.split(";") if part.strip()] for block in blocks]


def url_for(server: Any, role: str, password: str, options: str = "") -> str:
    url: URL = make_url(server.url).set(username=role, password=password, database="workflows")
    return url.render_as_string(hide_password=False) + options


async def the_owner_makes_tables_and_others_use_them(server: Any) -> None:
    worker = url_for(server, "workflow_worker", "choose another", "?migrate=never")
    reader = url_for(server, "workflow_reader", "and a third", "?migrate=never")
    with pytest.raises(UnsupportedSchema, match="are missing"):
        async with open_storage(worker):
            pass
    async with open_storage(url_for(server, "workflow_owner", "choose one", "?feed=1")) as store:
        assert await store.list_runs() == []
    async with open_storage(worker) as store:
        first = created("a", wake_at=1)
        assert await store.commit([first]) == [Committed("a", 1)]
        (claim,) = await store.claim(owner="w", now=5, lease=10, limit=1)
        assert await store.extend(claim, until=50)
        assert await store.commit([after(first.record)]) == [Committed("a", 2)]
        assert await store.release(claim)
        assert await store.commit([created("b")]) == [Committed("b", 1)]
        await store.delete("b", expected=1)
        with pytest.raises(StorageError):
            await store.drop()  # type: ignore[attr-defined]
    async with open_storage(reader) as store:
        assert len(await store.read("a")) == 2
        assert [record.run_id for record in await store.list_runs()] == ["a"]
        assert len((await store.feed()).events) == 2
        with pytest.raises(StorageUnavailable, match="denied") as caught:
            await store.commit([created("c")])
        assert "and a third" not in str(caught.value)


def test_the_roles_of_the_page_on_postgresql_can_do_what_they_must_and_no_more(own_server: Any) -> None:
    import asyncpg

    server = own_server("postgresql")
    administrators, owners, looks, settings = statements("postgresql-in-production.md")

    async def execute(url: str, lines: list[str]) -> None:
        connection = await asyncpg.connect(url)
        try:
            for line in lines:
                await connection.execute(line)
        finally:
            await connection.close()

    async def main() -> None:
        owner = url_for(server, "workflow_owner", "choose one")
        await execute(server.url, administrators)
        await execute(owner, owners)
        await the_owner_makes_tables_and_others_use_them(server)
        await execute(server.url, looks)
        await execute(owner, settings)

    asyncio.run(main())


def test_a_writer_in_another_database_delays_the_feed_and_a_reader_does_not(own_server: Any) -> None:
    import asyncpg

    server = own_server("postgresql")

    async def main() -> None:
        administrator = await asyncpg.connect(server.url)
        await administrator.execute("CREATE DATABASE other")
        await administrator.close()
        url = make_url(server.url).set(database="other").render_as_string(hide_password=False)
        other = await asyncpg.connect(url)
        try:
            async with open_storage(f"{server.url}?feed=1") as store:
                await other.execute("BEGIN; SELECT pg_current_xact_id()")
                await store.commit([created("a")])
                assert (await store.feed()).events == []
                await other.execute("ROLLBACK")
                assert [event.run_id for event in (await store.feed()).events] == ["a"]
                await other.execute("BEGIN READ ONLY; SELECT count(*) FROM pg_class")
                await store.commit([created("b")])
                assert len((await store.feed()).events) == 2
        finally:
            await other.close()

    asyncio.run(main())


def test_the_users_of_the_page_on_mariadb_can_do_what_they_must_and_no_more(own_server: Any) -> None:
    server = own_server("mariadb")
    (administrators,) = statements("mariadb-in-production.md")
    asyncio.run(on_mariadb(server, administrators))
    asyncio.run(the_owner_makes_tables_and_others_use_them(server))


async def on_mariadb(server: Any, lines: list[str]) -> None:
    import asyncmy

    url = make_url(server.url)
    connection = await asyncmy.connect(
        host=url.host, port=url.port, user=url.username, password=url.password, autocommit=True
    )
    try:
        async with connection.cursor() as cursor:
            for line in lines:
                await cursor.execute(line)
    finally:
        await connection.ensure_closed()


def test_the_options_of_the_pages_are_those_of_the_code() -> None:
    from pyworkflow_sql.options import ServerOptions, SqliteOptions
    from pyworkflow_sql.postgresql import PostgresqlOptions

    pages = {
        "embed-sqlite.md": SqliteOptions,
        "postgresql-in-production.md": PostgresqlOptions,
        "mariadb-in-production.md": ServerOptions,
    }
    for page, options in pages.items():
        rows = re.findall(r"^\| `(\w+)` \| (.+?) \|", (HOW_TO / page).read_text(encoding="utf-8"), re.M)
        table = {name: said for name, said in rows if name in options.__struct_fields__}
        assert list(table) == list(options.__struct_fields__)
        for name, said in table.items():
            default = getattr(options(), name)
            expected = str(int(default)) if isinstance(default, bool) else default
            if default not in {None, ""}:
                shown = said.strip("`")
                assert (float(shown) == expected) if isinstance(expected, float) else shown == str(expected)
