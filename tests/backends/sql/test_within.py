"""Appends within the user's own transaction, on whatever SQLAlchemy calls a connection."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from pyworkflow_core.errors import StorageUnavailable
from pyworkflow_core.storage import Committed, Conflict
from pyworkflow_core.testing.appends import after, created
from pyworkflow_core.testing.looks import follow

DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg", "mariadb": "mysql+asyncmy"}


def engine_of(database: Any, store: Any) -> Any:
    return create_async_engine(store.url.set(drivername=DRIVERS[database.kind]))


@pytest.mark.parametrize("feed", [0, 1])
def test_an_append_shares_the_fate_of_the_users_transaction(database: Any, feed: int) -> None:
    async def main(store: Any) -> None:
        engine = engine_of(database, store)
        table = f"own_{store.options.namespace}"
        first = created("a")
        try:
            async with engine.begin() as connection:
                await connection.execute(text(f"CREATE TABLE {table} (n INTEGER)"))
            async with engine.begin() as connection:
                await connection.execute(text(f"INSERT INTO {table} VALUES (1)"))
                answers = await store.commit([first, created("b")], within=connection)
                assert answers == [Committed("a", 1), Committed("b", 1)]
            async with engine.connect() as connection:
                await connection.execute(text(f"INSERT INTO {table} VALUES (2)"))
                assert await store.commit([after(first.record)], within=connection) == [Committed("a", 2)]
                await connection.rollback()
            async with AsyncSession(engine) as session, session.begin():
                stale = [after(first.record), created("b", event_id="other")]
                answers = await store.commit(stale, within=session)
                assert answers == [Committed("a", 2), Conflict("b", 1)]
                assert await store.commit(stale[:1], within=session) == [Committed("a", 2)]
                count = await session.execute(text(f"SELECT count(*) FROM {table}"))
                assert count.scalar() == 1
            assert [e.sequence for e in await store.read("a")] == [1, 2]
            if feed:
                page = await follow(store, until=[("b", "e1"), ("a", "e2")])
                assert [(e.run_id, e.sequence) for e in page.events] == [("a", 1), ("b", 1), ("a", 2)]
            async with engine.begin() as connection:
                await connection.execute(text(f"DROP TABLE {table}"))
        finally:
            await engine.dispose()

    database.run(main, feed=feed)


def test_synchronous_connections_and_sessions_will_do(tmp_path: Any) -> None:
    from pyworkflow_sql.sqlite import SqliteStorageBackend

    async def main() -> None:
        url = f"sqlite:///{tmp_path / 'runs.db'}"
        engine = create_engine(url)
        async with SqliteStorageBackend(url) as store:
            with engine.begin() as connection:
                assert await store.commit([created("a")], within=connection) == [Committed("a", 1)]
            with Session(engine) as session, session.begin():
                assert await store.commit([created("b")], within=session) == [Committed("b", 1)]
            assert len(await store.list_runs()) == 2
        engine.dispose()

    asyncio.run(main())


def test_what_is_no_transaction_is_refused(database: Any) -> None:
    async def main(store: Any) -> None:
        with pytest.raises(TypeError, match="AsyncConnection"):
            await store.commit([created("a")], within="transaction")
        assert await store.get("a") is None

    database.run(main)


def test_a_connection_that_commits_every_statement_is_refused(tmp_path: Any) -> None:
    from pyworkflow_sql.sqlite import SqliteStorageBackend

    async def main() -> None:
        url = f"sqlite:///{tmp_path / 'runs.db'}"
        engine = create_engine(url, isolation_level="AUTOCOMMIT")
        async with SqliteStorageBackend(url) as store:
            with engine.connect() as connection, pytest.raises(ValueError, match="needs a transaction"):
                await store.commit([created("a")], within=connection)
            assert await store.get("a") is None
        engine.dispose()

    asyncio.run(main())


def test_two_transactions_that_create_one_run_agree_on_one(database: Any) -> None:
    if database.kind == "sqlite":
        pytest.skip("there the second waits for the first, on one event loop for ever")

    async def main(store: Any) -> None:
        engine = engine_of(database, store)
        try:
            async with engine.connect() as one, engine.connect() as other:
                await one.begin()
                await other.begin()
                assert await store.commit([created("a")], within=one) == [Committed("a", 1)]
                second = asyncio.create_task(store.commit([created("a", event_id="x")], within=other))
                await asyncio.sleep(0.05)
                await one.commit()
                assert await second == [Conflict("a", 1)]
                assert await store.commit([created("b")], within=other) == [Committed("b", 1)]
                await other.commit()
        finally:
            await engine.dispose()
        assert sorted(r.run_id for r in await store.list_runs()) == ["a", "b"]

    database.run(main)


def test_a_transaction_that_cannot_be_gone_on_with_says_so(database: Any) -> None:
    async def main(store: Any) -> None:
        engine = engine_of(database, store)
        try:
            async with engine.connect() as connection:
                await store.drop()
                with pytest.raises(StorageUnavailable, match="within the transaction"):
                    await store.commit([created("a")], within=connection)
        finally:
            await engine.dispose()

    database.run(main)
