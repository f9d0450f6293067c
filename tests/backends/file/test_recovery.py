"""What a crash leaves behind is cut to whole appends; what is damaged is named."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from pyworkflow_core.errors import CorruptLog
from pyworkflow_core.storage import Committed
from pyworkflow_core.testing.appends import created


def assert_prefix(found: dict[str, list[Any]], written: dict[str, list[Any]], sizes: set[int]) -> None:
    for run_id, events in found.items():
        assert events == written[run_id][: len(events)]
        assert len(events) in sizes


def test_a_journal_cut_at_any_byte_of_its_last_commits_opens_as_whole_appends(
    folder: Any, fill: Any, contents: Any
) -> None:
    written = folder.run(lambda s: fill(s, runs=2, steps=3))
    whole = folder.journal().read_bytes()
    folder.forget()

    async def reopen(n: int) -> int:
        async with folder.open() as store:
            found = await contents(store)
            assert_prefix(found, written, {1, 3, 5})
            new = created("new")
            assert await store.commit([new]) == [Committed("new", 1)]
        async with folder.open() as store:
            assert await contents(store) == {**found, "new": list(new.events)}
        return sum(map(len, found.values()))

    lengths = []
    for n in range(len(whole) + 1):
        folder.forget()
        folder.journal().write_bytes(whole[:n])
        lengths.append(asyncio.run(reopen(n)))
    assert lengths == sorted(lengths)
    assert (lengths[0], lengths[-1]) == (0, 10)


def test_what_was_never_acknowledged_is_cut_or_kept_whole_with_the_lock_file_in_place(
    folder: Any, fill: Any, contents: Any
) -> None:
    written = folder.run(lambda s: fill(s, runs=2, steps=2))
    base = folder.copy("base")
    folder.run(lambda s: fill(s, runs=2, steps=2, prefix="q"))
    tail = folder.journal().read_bytes()[base.journal().stat().st_size :]
    for n in range(len(tail) + 1):
        for zeros in (0, 40):
            crashed = base.copy(f"crash{n}-{zeros}")
            with crashed.journal().open("ab") as file:
                file.write(tail[:n] + b"\0" * zeros)
            found = crashed.run(contents)
            assert {r: found[r] for r in written} == written
            assert_prefix({r: e for r, e in found.items() if r not in written}, {
                "q0": found.get("q0", []), "q1": found.get("q1", [])}, {1, 3})  # fmt: skip
            assert crashed.journal().read_bytes().endswith(b"\n")


def test_the_unsynced_tail_is_written_and_synced_again_before_it_is_trusted(
    folder: Any, fill: Any, contents: Any, disk: Any
) -> None:
    folder.run(lambda s: fill(s, runs=1, steps=1))
    base = folder.copy("base")
    folder.run(lambda s: fill(s, runs=1, steps=1, prefix="q"))
    tail = folder.journal().read_bytes()[base.journal().stat().st_size :]
    with base.journal().open("ab") as file:
        file.write(tail)
    writes: list[tuple[int, int]] = []
    disk.on_write = lambda size, offset: writes.append((size, offset)) or size
    found = asyncio.run(_open_and_read(base, disk, contents))
    assert set(found) == {"r0", "q0"}
    assert writes == [(len(tail), base.journal().stat().st_size - len(tail))]
    assert disk.syncs >= 1


async def _open_and_read(folder: Any, disk: Any, contents: Any) -> Any:
    async with folder.open(disk) as store:
        return await contents(store)


def test_pages_of_zeros_in_the_last_commit_are_cut_and_in_an_earlier_one_named(
    folder: Any, fill: Any, contents: Any
) -> None:
    written = folder.run(lambda s: fill(s, runs=3, steps=2))
    whole = folder.journal().read_bytes()
    lines = whole.splitlines(keepends=True)
    starts = [sum(map(len, lines[:n])) for n in range(len(lines))]
    assert [line[8:9] for line in lines] == [b"=", b"+", b"+"] * 2
    for n in (3, 4, 5):
        folder.forget()
        folder.journal().write_bytes(whole[: starts[n]] + b"\0" * 20 + whole[starts[n] + 20 :])
        found = folder.run(contents)
        assert [len(found[f"r{i}"]) for i in range(3)] == [3 if i < n - 3 else 1 for i in range(3)]
        assert found["r0"] == written["r0"][: len(found["r0"])]
    folder.forget()
    folder.journal().write_bytes(whole[: starts[1]] + b"\0" * 20 + whole[starts[1] + 20 :])
    with pytest.raises(CorruptLog) as error:
        folder.run(contents)
    assert error.value.location == f"{folder.journal()}:{starts[1]}"


@pytest.mark.parametrize("index", ["kept", "lost"])
def test_one_flipped_byte_in_the_middle_is_named_with_file_and_offset(
    folder: Any, fill: Any, contents: Any, index: str
) -> None:
    folder.run(lambda s: fill(s, runs=1, steps=4))
    whole = folder.journal().read_bytes()
    lines = whole.splitlines(keepends=True)
    start = len(lines[0])
    # With the index in place the run is read by extents; without it everything is read again.
    for n in range(start, start + len(lines[1])):
        if index == "lost":
            folder.forget()
        for mask in (1, 0x20, 0x80):
            damaged = whole[:n] + bytes([whole[n] ^ mask]) + whole[n + 1 :]
            folder.journal().write_bytes(damaged)
            with pytest.raises(CorruptLog) as error:
                folder.run(contents)
            assert error.value.location == f"{folder.journal()}:{start}"
            assert folder.journal().read_bytes() == damaged


def test_a_damaged_line_of_the_last_commit_is_named_too(folder: Any, fill: Any, contents: Any) -> None:
    folder.run(lambda s: fill(s, runs=1, steps=2))
    whole = folder.journal().read_bytes()
    folder.forget()
    folder.journal().write_bytes(whole[:-10] + b"?" + whole[-9:])
    with pytest.raises(CorruptLog):
        folder.run(contents)


def test_a_journal_shorter_than_what_was_acknowledged_is_named(folder: Any, fill: Any, contents: Any) -> None:
    folder.run(lambda s: fill(s, runs=1, steps=2))
    size = folder.journal().stat().st_size
    with folder.journal().open("r+b") as file:
        file.truncate(size - 1)
    for gone in ((), ("index.sqlite", "index.sqlite-wal")):
        if gone:
            folder.forget(*gone)
        with pytest.raises(CorruptLog) as error:
            folder.run(contents)
        assert error.value.location == f"{folder.journal()}:{size - 1}"


def test_a_missing_segment_is_named(folder: Any, fill: Any, contents: Any) -> None:
    folder.run(lambda s: fill(s, runs=2, steps=12), segment_bytes=200)
    folder.forget()
    folder.journal(2).unlink()
    with pytest.raises(CorruptLog, match="journal-00000002"):
        folder.run(contents)


def test_the_lines_of_a_run_that_do_not_follow_each_other_are_named(
    folder: Any, fill: Any, contents: Any
) -> None:
    folder.run(lambda s: fill(s, runs=1, steps=3))
    lines = folder.journal().read_bytes().splitlines(keepends=True)
    folder.forget()
    folder.journal().write_bytes(lines[0] + lines[2])
    with pytest.raises(CorruptLog, match="event 4 of run 'r0' follows event 1"):
        folder.run(contents)


def test_an_open_that_fails_holds_no_file(folder: Any, fill: Any, descriptors: Any) -> None:
    folder.run(lambda s: fill(s, runs=1, steps=2))
    whole = folder.journal().read_bytes()
    folder.forget()
    folder.journal().write_bytes(b"?" + whole[1:])
    gc.collect()
    before = descriptors()
    for _ in range(5):
        with pytest.raises(CorruptLog):
            folder.run(fill)
    gc.collect()  # the errors hold their frames
    assert descriptors() == before
