"""The index is a cache: lost, stale or broken it costs time and never data."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from pyworkflow_core.storage import LeaseChange
from pyworkflow_core.testing.appends import after, created, noted


async def everything(store: Any) -> Any:
    page = await store.find()
    return (
        page.records,
        [await store.read(r.run_id) for r in page.records],
        (await store.feed()).events,
    )


async def history(store: Any, fill: Any) -> Any:
    await fill(store, runs=4, steps=4)
    await store.delete("r1", expected=7)
    await store.commit([created("r1", incarnation="i2", at=7, attributes={"a": "b"})])
    return await everything(store)


@pytest.mark.parametrize("damage", ["deleted", "empty", "garbage", "other version", "cut"])
def test_an_index_that_cannot_be_used_is_made_again_with_a_warning(
    folder: Any, fill: Any, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    expected = folder.run(lambda s: history(s, fill), segment_bytes=500)
    index = folder.path / "index.sqlite"
    if damage == "deleted":
        folder.forget("index.sqlite", "index.sqlite-wal")
    elif damage == "empty":
        index.write_bytes(b"")
    elif damage == "garbage":
        index.write_bytes(b"not a database" * 1000)
    elif damage == "other version":
        import sqlite3

        db = sqlite3.connect(index)
        db.execute("PRAGMA user_version = 99")
        db.close()
    elif damage == "cut":
        index.write_bytes(index.read_bytes()[:9000])
    progress: list[tuple[str, int, int]] = []
    with caplog.at_level(logging.WARNING):

        async def main() -> Any:
            store = folder.open(segment_bytes=500, catch_up_lines=3)
            store.on_progress = lambda *told: progress.append(told)
            async with store:
                return await everything(store)

        assert asyncio.run(main()) == expected
    assert "journal" in caplog.text
    assert progress
    assert all(0 < done <= total for _, done, total in progress)


def test_an_index_that_breaks_or_vanishes_while_open_is_made_again(folder: Any, fill: Any) -> None:
    async def main() -> None:
        async with folder.open(heads=1) as store:
            expected = await history(store, fill)
            folder.forget("index.sqlite", "index.sqlite-wal", "index.sqlite-shm")
            assert await everything(store) == expected
            append = created("z", at=-1)
            await store.commit([append])
            store._store.index.db.execute("DROP TABLE extents")
            assert await store.read("z") == list(append.events)
            assert (await everything(store))[0] == [*expected[0], append.record]

    asyncio.run(main())


def test_an_index_made_from_another_journal_is_noticed(
    folder: Any, fill: Any, contents: Any, caplog: pytest.LogCaptureFixture
) -> None:
    folder.run(lambda s: fill(s, runs=1, steps=2, prefix="old"))
    written = folder.run(lambda s: fill(s, runs=2, steps=6, prefix="new"))
    lines = folder.journal().read_bytes().splitlines(keepends=True)
    folder.forget("lock")
    folder.journal().write_bytes(b"".join(lines[2:]) + b"".join(lines[:2]))
    caplog.clear()
    found = folder.run(contents)
    assert "another journal" in caplog.text
    assert {run: found[run] for run in written} == written


def test_opening_reads_the_index_and_the_tail_only(folder: Any, fill: Any, disk: Any) -> None:
    folder.run(lambda s: fill(s, runs=50, steps=40), segment_bytes=100_000)
    size = sum(path.stat().st_size for path in folder.path.glob("journal-*"))
    assert size > 200_000

    async def main() -> None:
        async with folder.open(disk) as store:
            assert disk.bytes_read < 1000
            assert (await store.get("r7")).head == 79
            await store.claim(owner="x", now=99, lease=1, limit=10)
            await store.commit([created("new")])
            assert disk.bytes_read < 1000
            events = await store.read("r7")
            assert disk.bytes_read < 4 * sum(len(e.body) + 100 for e in events) + 50 * 4096

    asyncio.run(main())


def test_reading_one_run_reads_what_it_holds(folder: Any, disk: Any) -> None:
    async def main() -> None:
        async with folder.open(disk) as store:
            for n in range(30):
                noise = '"' + "x" * 20_000 + '"'
                small = created(f"s{n}")
                first = created(f"big{n}")
                await store.commit([first, small, after(created("none").record)])
                await store.commit([after(first.record, noted(noise))])
            before = disk.bytes_read
            assert len(await store.read("s3")) == 1
            assert disk.bytes_read - before < 1000
            assert len(await store.read("big3", after=1)) == 1
            assert disk.bytes_read - before < 25_000

    asyncio.run(main())


def test_an_append_touches_neither_index_nor_any_byte_that_is_there(folder: Any, disk: Any) -> None:
    async def main() -> None:
        async with folder.open(disk) as store:
            append = created("a")
            await store.commit([append])
            statements: list[str] = []
            store._store.index.db.set_trace_callback(statements.append)
            before = disk.bytes_read, disk.syncs
            for _ in range(20):
                append = after(append.record, lease=LeaseChange("t", "me", 5))
                await store.commit([append])
                assert (await store.get("a")).head == append.record.head
                assert await store.read("a", after=append.record.head) == []
            assert (disk.bytes_read, disk.syncs - before[1]) == (before[0], 20)
            assert statements == []

    asyncio.run(main())


def test_a_commit_of_many_appends_is_one_write_and_one_sync(folder: Any, disk: Any) -> None:
    async def main() -> None:
        async with folder.open(disk) as store:
            await store.get("a")
            writes = []
            disk.on_write = lambda size, offset: writes.append(size) or size
            before = disk.syncs
            await store.commit([created(f"r{n}") for n in range(64)])
            assert (len(writes), disk.syncs - before) == (1, 1)

    asyncio.run(main())


def test_a_small_step_takes_little_room(folder: Any) -> None:
    async def main() -> None:
        async with folder.open() as store:
            append = created("run_0123456789abcdef0123", incarnation="0123456789ab")
            await store.commit([append])
            for n in range(2000):
                append = after(append.record, noted(f'{{"n":{n}}}'), noted('{"x":1}'), prefix="0123456789ab")
                await store.commit([append])
            await store.find()

    asyncio.run(main())
    bodies = 2000 * (len(noted('{"n":1000}')) + len(noted('{"x":1}')))
    used = sum(path.stat().st_size for path in folder.path.iterdir())
    assert (used - bodies) / 2000 < 200
