"""SQLite: files that cannot be used, other processes that write, databases in memory, forks."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from pyworkflow_core.errors import CorruptLog, StorageClosed, StorageFull, StorageUnavailable
from pyworkflow_core.storage import Committed, Unknown
from pyworkflow_core.testing.appends import after, created
from pyworkflow_sql import sqlite_file
from pyworkflow_sql.sqlite import SqliteStorageBackend

T = TypeVar("T")


def run(url: str, work: Callable[[SqliteStorageBackend], Awaitable[T]]) -> T:
    async def main() -> T:
        async with SqliteStorageBackend(url) as store:
            return await work(store)

    return asyncio.run(main())


def test_a_commit_waits_for_another_process_that_writes(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'runs.db'}"

    async def main() -> None:
        async with SqliteStorageBackend(url) as store:
            other = sqlite3.connect(tmp_path / "runs.db", isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
            waiting = asyncio.create_task(store.commit([created("a")]))
            await asyncio.sleep(0.05)
            assert not waiting.done()
            assert await store.get("a") is None  # reading waits for nobody
            other.execute("COMMIT")
            other.close()
            assert await waiting == [Committed("a", 1)]

    asyncio.run(main())


def test_a_database_that_stays_locked_is_unavailable(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'runs.db'}?timeout=0.2"

    async def main() -> None:
        async with SqliteStorageBackend(url) as store:
            other = sqlite3.connect(tmp_path / "runs.db", isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StorageUnavailable, match=r"locked by another process for 0\.2 s"):
                await store.commit([created("a")])
            other.close()
            assert await store.commit([created("a")]) == [Committed("a", 1)]

    asyncio.run(main())


def test_a_full_disk_refuses_the_commit_and_leaves_no_trace(tmp_path: Path) -> None:
    async def main(store: SqliteStorageBackend) -> None:
        first = created("a")
        await store.commit([first])
        writer: Any = store._used()._connection()
        (pages,) = writer.execute("PRAGMA page_count").fetchone()
        writer.execute(f"PRAGMA max_page_count = {pages}")
        large = [created(f"b{n}", attributes={"x": "y" * 400}) for n in range(50)]
        with pytest.raises(StorageFull, match="make room"):
            await store.commit(large)
        assert await store.get("b0") is None
        writer.execute("PRAGMA max_page_count = 100000")
        assert await store.commit(large[:1]) == [Committed("b0", 1)]
        assert await store.commit([after(first.record)]) == [Committed("a", 2)]

    run(f"sqlite:///{tmp_path / 'runs.db'}", main)


def test_a_commit_whose_sync_fails_has_an_unknown_outcome(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(connection: sqlite3.Connection) -> None:
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
        raise sqlite_file.Unsettled from error

    async def main(store: SqliteStorageBackend) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(sqlite_file, "_commit", fail)
            (answer,) = await store.commit([created("a")])
        assert isinstance(answer, Unknown)
        assert "disk I/O error" in str(answer.cause)
        assert await store.commit([created("a")]) == [Committed("a", 1)]

    run(f"sqlite:///{tmp_path / 'runs.db'}", main)


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    path.write_bytes(b"no database " * 1000)
    with pytest.raises(CorruptLog, match=r"runs\.db"):
        run(f"sqlite:///{path}", lambda store: store.get("a"))


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageUnavailable, match=r"none/runs\.db.*folder must exist"):
        run(f"sqlite:///{tmp_path / 'none' / 'runs.db'}", lambda store: store.get("a"))


def test_a_network_file_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_file, "network_file_system", lambda path: "nfs4")
    url = f"sqlite:///{tmp_path / 'runs.db'}"
    with pytest.raises(StorageUnavailable, match="nfs4"):
        run(url, lambda store: store.get("a"))
    assert run(f"{url}?network_ok=1", lambda store: store.get("a")) is None


def test_damage_in_the_middle_is_named(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    many = [created(f"r{n}", attributes={"x": "y" * 400}) for n in range(200)]
    run(f"sqlite:///{path}", lambda store: store.commit(many))
    with open(path, "r+b") as file:
        file.seek(4096 * 3)
        file.write(os.urandom(4096 * 40))
    with pytest.raises(CorruptLog, match=r"runs\.db"):
        run(f"sqlite:///{path}", lambda store: store.find(limit=500))


def test_databases_in_memory_are_shared_by_name_alone() -> None:
    async def main() -> None:
        named, same, other = [
            SqliteStorageBackend(f"sqlite:///file:{name}?mode=memory") for name in ("x", "x", "y")
        ]
        own, another = SqliteStorageBackend("sqlite://"), SqliteStorageBackend("sqlite://")
        async with named, same, other, own, another:
            for store in (named, own):
                await store.commit([created("a")])
            heads = [len(await store.list_runs()) for store in (named, same, other, own, another)]
            assert heads == [1, 1, 0, 1, 0]
            assert not named.capabilities.durable

    asyncio.run(main())


def test_long_and_short_logs_read_the_same(tmp_path: Path) -> None:
    async def main(store: SqliteStorageBackend) -> None:
        append = created("a")
        events = list(append.events)
        await store.commit([append])
        for _ in range(3):
            append = after(append.record, *[b'["x.noted",1,0,{}]'] * 200)
            events += append.events
            await store.commit([append])
        assert await store.read("a") == events
        for limit in (1, 255, 256, 257, 600):
            assert await store.read("a", limit=limit) == events[:limit]
            assert await store.read("a", after=10, limit=limit) == events[10 : 10 + limit]

    run(f"sqlite:///{tmp_path / 'runs.db'}", main)


def test_threads_with_loops_of_their_own_share_a_file(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'runs.db'}"
    shared = SqliteStorageBackend(url)

    def work(name: str) -> None:
        async def main() -> None:
            async with SqliteStorageBackend(url) as own:
                append = created(name)
                for n in range(30):
                    store = shared if n % 2 else own
                    assert await store.commit([append]) == [Committed(name, n + 1)]
                    append = after(append.record)

        asyncio.run(main())

    threads = [threading.Thread(target=work, args=(f"t{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    asyncio.run(shared.close())
    assert [r.head for r in run(url, lambda store: store.list_runs())] == [30] * 4


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_opens_the_file_anew(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'runs.db'}"
    store = SqliteStorageBackend(url)
    first = created("a")
    asyncio.run(store.commit([first]))
    child = os.fork()
    if child == 0:
        code = 1
        try:
            answers = asyncio.run(store.commit([after(first.record)]))
            code = 0 if answers == [Committed("a", 2)] else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

    async def main() -> None:
        assert len(await store.read("a")) == 2
        await store.commit([created("b")])
        await store.close()

    asyncio.run(main())
    assert len(run(url, lambda s: s.list_runs())) == 2


def test_the_last_handle_closes_the_file(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'runs.db'}"

    async def main() -> None:
        stores = [SqliteStorageBackend(url) for _ in range(3)]
        for store in stores:
            await store.commit([created(f"r{id(store)}")])
        for store in stores:
            assert (tmp_path / "runs.db-wal").exists()
            await store.close()
        assert not (tmp_path / "runs.db-wal").exists()
        with pytest.raises(StorageClosed):
            await stores[0].get("a")

    asyncio.run(main())


_COMMITS = """
import asyncio, sys
from pyworkflow_core.testing.appends import created
from pyworkflow_sql.sqlite import SqliteStorageBackend

async def main():
    async with SqliteStorageBackend("sqlite://") as store:
        await store.commit([created("a")])

asyncio.run(main())
print([name for name in ("sqlalchemy.orm", "sqlalchemy.ext.asyncio", "aiosqlite") if name in sys.modules])
"""


def test_what_only_transactions_need_is_loaded_for_transactions_only() -> None:
    done = subprocess.run([sys.executable, "-c", _COMMITS], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
