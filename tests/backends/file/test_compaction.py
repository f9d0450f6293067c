"""Deleted runs give their space back, and nothing else changes."""

from __future__ import annotations

import asyncio
import errno
from typing import Any

import pytest

from pyworkflow_core.errors import FeedPositionLost, StorageFull
from pyworkflow_core.storage import Committed, Conflict
from pyworkflow_core.testing.appends import after, created, noted


async def two_kinds(store: Any, steps: int = 12) -> tuple[list[Any], list[Any]]:
    """Runs whose lines stand by turns in many segments: those to delete, those to keep."""
    gone, kept = [created(f"gone{n}") for n in range(3)], [created("kept")]
    events = list(kept[0].events)
    for step in range(steps):
        await store.commit([*gone, *kept])
        gone = [after(a.record, noted('"' + "x" * 100 + '"')) for a in gone]
        kept = [after(a.record, noted(str(step))) for a in kept]
        events += kept[0].events
    await store.commit(kept)
    return gone, events


def size(folder: Any) -> int:
    return sum(path.stat().st_size for path in folder.path.glob("journal-*"))


def test_compaction_gives_space_back_and_the_journal_alone_still_tells_all(
    folder: Any, contents: Any
) -> None:
    async def main() -> None:
        async with folder.open(segment_bytes=1000, compact_at=0) as store, folder.open() as other:
            gone, events = await two_kinds(store)
            assert await other.read("kept") == events
            before = size(folder)
            for append in gone:
                await store.delete(append.run_id, expected=append.expected)
            assert size(folder) > before
            assert await store.compact() > before / 2
            assert size(folder) < before / 2
            assert await store.compact() == 0
            for handle in (store, other):
                assert await contents(handle) == {"kept": events}
                assert (await handle.feed()).events == events
                assert await handle.read("kept", after=5, limit=2) == events[5:7]
                first = created("gone0")
                assert await handle.commit([first]) == [Conflict("gone0", 0)]
            assert await other.commit([created("gone0", incarnation="i2")]) == [Committed("gone0", 1)]

    asyncio.run(main())
    whole = folder.run(contents)
    folder.forget()
    assert folder.run(contents) == whole
    assert folder.run(lambda s: s.commit([created("gone1")])) == [Conflict("gone1", 0)]


def test_delete_compacts_a_segment_that_is_mostly_dead(folder: Any, contents: Any) -> None:
    async def main() -> None:
        async with folder.open(segment_bytes=1000) as store:
            gone, events = await two_kinds(store)
            before = size(folder)
            for append in gone:
                await store.delete(append.run_id, expected=append.expected)
            assert size(folder) < before * 0.7
            assert await contents(store) == {"kept": events}

    asyncio.run(main())


def test_a_segment_compacted_before_a_later_one_can_be_read_into_a_new_index(
    folder: Any, contents: Any
) -> None:
    async def main() -> Any:
        async with folder.open(segment_bytes=400, compact_at=0) as store:
            gone, _events = await two_kinds(store)
            await store.delete("gone0", expected=gone[0].expected)
            from pyworkflow_file.compact import _rewrite

            def one(inner: Any) -> None:
                inner.flush()
                _rewrite(inner, 2, folder.journal(2).stat().st_size)

            await store._do(one)
            return await contents(store)

    expected = asyncio.run(main())
    assert "gone1" in expected
    folder.forget()
    assert folder.run(contents) == expected


def test_readers_under_way_are_not_disturbed(folder: Any) -> None:
    async def main() -> None:
        async with folder.open(segment_bytes=1000, compact_at=0) as store, folder.open(heads=1) as other:
            gone, events = await two_kinds(store)
            reading = await other._do(lambda s: s.reading("kept", 0, None))
            for append in gone:
                await store.delete(append.run_id, expected=append.expected)

            async def read_on() -> None:
                for n in range(30):
                    assert await other.read("kept", after=n % 5) == events[n % 5 :]
                    await asyncio.sleep(0)

            await asyncio.gather(read_on(), store.compact(), read_on())
            from pyworkflow_file.reading import read_extents

            assert read_extents(reading, other._disk) == events

    asyncio.run(main())


def test_a_feed_position_in_a_compacted_segment_is_lost_and_one_behind_it_is_not(folder: Any) -> None:
    async def main() -> None:
        async with folder.open(segment_bytes=1000, compact_at=0) as store:
            gone, _events = await two_kinds(store)
            early = (await store.feed(limit=1)).position
            late = (await store.feed()).position
            for append in gone:
                await store.delete(append.run_id, expected=append.expected)
            end = (await store.feed()).position
            await store.compact()
            with pytest.raises(FeedPositionLost):
                await store.feed(after=early)
            assert late != end
            again = (await store.feed()).position
            assert (await store.feed(after=again)).events == []

    asyncio.run(main())


def test_compaction_on_a_full_disk_changes_nothing(folder: Any, disk: Any, contents: Any) -> None:
    async def main() -> None:
        async with folder.open(disk, segment_bytes=1000, compact_at=0) as store:
            gone, events = await two_kinds(store)
            for append in gone:
                await store.delete(append.run_id, expected=append.expected)
            await store.find()
            before = size(folder)

            def full(length: int, offset: int) -> int:
                raise OSError(errno.ENOSPC, "full")

            disk.on_write = full
            with pytest.raises(StorageFull):
                await store.compact()
            disk.on_write = None
            assert size(folder) == before
            assert not list(folder.path.glob("*.tmp"))
            assert await store.compact() > 0
            assert await contents(store) == {"kept": events}

    asyncio.run(main())


def test_a_copy_left_by_a_compaction_that_died_is_put_away(folder: Any, contents: Any) -> None:
    async def main() -> Any:
        async with folder.open(segment_bytes=1000, compact_at=0) as store:
            await two_kinds(store)
            return await contents(store)

    expected = asyncio.run(main())
    copy = folder.path / "journal-00000001-0001.jsonl"
    copy.write_bytes(folder.journal(1).read_bytes()[:0])
    assert folder.run(contents) == expected
    assert not copy.exists()
