"""Servers: connections that break, loops that change, poolers, errors without passwords."""

from __future__ import annotations

import asyncio
import threading
import traceback
from typing import Any

import pytest
from sqlalchemy import text, update

from pyworkflow_core.errors import FeedPositionLost, StorageUnavailable
from pyworkflow_core.plugins import open_storage
from pyworkflow_core.storage import Committed, Unknown
from pyworkflow_core.testing.appends import after, created
from pyworkflow_core.testing.looks import follow
from pyworkflow_sql import migrate
from pyworkflow_sql.scripts import Call, Script
from pyworkflow_sql.server import _TRIES, Fault
from pyworkflow_sql.statements import Statement

SECRET = "s3cr3t-of-mine"
SERVERS = ("postgresql", "mariadb")


@pytest.fixture
def server_database(database: Any) -> Any:
    """Each of the databases that is a server."""
    if database.kind == "sqlite":
        pytest.skip("not a server")
    return database


def everything_about(error: BaseException) -> str:
    return "".join(traceback.format_exception(error)) + repr(error)


@pytest.mark.parametrize("scheme", ["postgresql", "mysql"])
def test_a_server_that_is_not_there_is_unavailable_and_keeps_the_secret(scheme: str) -> None:
    async def main() -> None:
        store = open_storage(f"{scheme}://u:{SECRET}@127.0.0.1:1/d")
        with pytest.raises(StorageUnavailable, match=r"cannot connect to 127\.0\.0\.1:1") as caught:
            await store.commit([created("a")])
        assert SECRET not in everything_about(caught.value)
        await store.close()

    asyncio.run(main())


def test_a_wrong_password_is_not_repeated(mariadb: Any) -> None:
    async def main() -> None:
        store = open_storage(mariadb.url.replace(":test@", f":{SECRET}@"))
        with pytest.raises(StorageUnavailable, match="Access denied") as caught:
            await store.get("a")
        assert SECRET not in everything_about(caught.value)
        await store.close()

    asyncio.run(main())


def test_a_handle_serves_one_event_loop_after_another(server_database: Any) -> None:
    store = server_database.open()
    append = created("a")
    for head in range(1, 4):
        assert asyncio.run(store.commit([append])) == [Committed("a", head)]
        append = after(append.record)

    async def main() -> None:
        assert len(await store.read("a")) == 3
        await store.close()

    asyncio.run(main())


def test_threads_with_loops_of_their_own_share_a_handle(server_database: Any) -> None:
    shared = server_database.open()

    def work(name: str) -> None:
        async def main() -> None:
            append = created(name)
            for n in range(10):
                assert await shared.commit([append]) == [Committed(name, n + 1)]
                append = after(append.record)

        asyncio.run(main())

    threads = [threading.Thread(target=work, args=(f"t{n}",)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    asyncio.run(shared.close())
    assert [r.head for r in server_database.run(lambda s: s.list_runs())] == [10] * 3


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_that_goes_and_comes_is_used_again(name: str, own_server: Any) -> None:
    server = own_server(name)
    first = created("a")

    async def main() -> None:
        async with open_storage(server.url) as store:
            assert await store.commit([first]) == [Committed("a", 1)]
            await asyncio.to_thread(server.kill)
            second = after(first.record)
            answers: Any = await asyncio.gather(store.commit([second]), return_exceptions=True)
            for answer in answers:
                assert isinstance(answer, StorageUnavailable) or isinstance(answer[0], Unknown)
            with pytest.raises(StorageUnavailable):
                await store.get("a")
            await asyncio.to_thread(server.start)
            assert await store.commit([second]) == [Committed("a", 2)]
            assert len(await store.read("a")) == 2

    asyncio.run(main())


@pytest.mark.parametrize("failures", [3, _TRIES])
def test_a_transaction_that_the_server_undid_is_tried_again_and_not_for_ever(
    server_database: Any, failures: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Undone(Exception):
        pass

    async def main(store: Any) -> None:
        judge, execute, left = store._judge, store._link.execute, [failures]

        async def fail_sometimes(link: Any, call: Call) -> Any:
            if left[0]:
                left[0] -= 1
                raise Undone
            return await execute(link, call)

        monkeypatch.setattr(store, "_judge", lambda e: Fault.AGAIN if isinstance(e, Undone) else judge(e))
        monkeypatch.setattr(store._link, "execute", fail_sometimes)
        if failures < _TRIES:
            assert await store.commit([created("a")]) == [Committed("a", 1)]
        else:
            with pytest.raises(StorageUnavailable, match=f"{_TRIES} times"):
                await store.commit([created("a")])
            assert await store.get("a") is None

    server_database.run(main)


def test_cancelled_calls_leave_every_connection_usable(server_database: Any) -> None:
    async def main(store: Any) -> None:
        for n in range(40):
            calls = [asyncio.create_task(store.commit([created(f"r{n}-{k}")])) for k in range(3)]
            for _ in range(n):
                await asyncio.sleep(0)
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)
        for n in range(40):
            assert await store.commit([created(f"r{n}-0")]) == [Committed(f"r{n}-0", 1)]

    server_database.run(main, pool_size=2, max_overflow=0)


def test_a_pooler_without_sessions_is_enough(pgbouncer: Any) -> None:
    namespace = "t_pooled"

    async def main() -> None:
        url = f"{pgbouncer.url}?prepared=0&feed=1&namespace={namespace}&pool_size=8"
        async with open_storage(url) as store:
            assert not store.capabilities.push
            try:
                firsts = [created(f"r{n}", wake_at=n) for n in range(24)]
                assert await asyncio.gather(*[store.commit([a]) for a in firsts]) == [
                    [Committed(a.run_id, 1)] for a in firsts
                ]
                claims = await asyncio.gather(
                    *[store.claim(owner="x", now=100, lease=10, limit=6) for _ in range(8)]
                )
                assert sorted(c.run_id for some in claims for c in some) == sorted(a.run_id for a in firsts)
                await asyncio.gather(*[store.read(a.run_id) for a in firsts])
                page = await follow(store, until=[(a.run_id, "e1") for a in firsts])
                assert len(page.events) == 24
            finally:
                await store.drop()

    asyncio.run(main())


def test_a_feed_goes_on_after_a_restore_on_a_younger_server(postgresql: Any) -> None:
    namespace = "t_restored"

    def age(store: Any) -> Script[None]:
        tables = store._s.tables
        for table in (tables.runs, tables.events):
            older = update(table).values(position=table.c.position + 10**12)
            yield Call(Statement(older, store._dialect))

    async def main() -> None:
        first = created("a")
        async with open_storage(f"{postgresql.url}?namespace={namespace}&feed=1") as store:
            await store.commit([first])
            before = (await follow(store, until=[("a", "e1")])).position
            await store._transact(lambda: age(store))  # type: ignore[attr-defined]
        async with open_storage(f"{postgresql.url}?namespace={namespace}") as store:
            try:
                with pytest.raises(FeedPositionLost):
                    await store.feed(after=before)
                page = await follow(store, until=[("a", "e1")])
                assert len(page.events) == 1
                await store.commit([after(first.record), created("b")])
                rest = await follow(store, after=page.position, until=[("a", "e2"), ("b", "e1")])
                assert [(e.run_id, e.sequence) for e in rest.events] == [("a", 2), ("b", 1)]
            finally:
                await store.drop()  # type: ignore[attr-defined]

    asyncio.run(main())


def test_a_schema_with_other_things_in_it_is_left(postgresql: Any) -> None:
    async def main() -> None:
        store: Any = open_storage(f"{postgresql.url}?namespace=t_shared")
        await store.open()

        def make(what: str) -> Script[None]:
            yield Call(Statement(text(what), store._dialect))

        await store._transact(lambda: make("CREATE TABLE t_shared.mine (n INTEGER)"))
        await store.drop()
        await store._ask(lambda: make("SELECT n FROM t_shared.mine"))
        await store._transact(lambda: make("DROP SCHEMA t_shared CASCADE"))
        await store.close()

    asyncio.run(main())


def test_every_fact_of_a_namespace_is_known(server_database: Any) -> None:
    async def main(store: Any) -> dict[str, str]:
        return await store._ask(lambda: migrate.look(store._s.tables, store._dialect))  # type: ignore[no-any-return]

    facts = server_database.run(main)
    assert set(facts) == {"schema", "needs", "feed", "tag", "position"}
