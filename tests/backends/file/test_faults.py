"""A full or broken disk: typed errors, nothing half written, and work goes on when it can."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pyworkflow_core.errors import StorageClosed, StorageError, StorageFull, StorageUnavailable
from pyworkflow_core.storage import Committed, Refused, Unknown
from pyworkflow_core.testing.appends import after, created, noted
from pyworkflow_core.testing.disk import failing_disk


@pytest.mark.parametrize(
    ("code", "kind"),
    [(errno.ENOSPC, StorageFull), (errno.EDQUOT, StorageFull), (errno.EIO, StorageUnavailable)],
)
@pytest.mark.parametrize("before_it", [0, 1, 50])
def test_a_failed_write_leaves_nothing_and_the_handle_goes_on(
    folder: Any, contents: Any, disk: Any, code: int, kind: type, before_it: int
) -> None:
    async def main() -> None:
        async with folder.open(disk) as store:
            first = created("a")
            await store.commit([first])
            before = folder.journal().read_bytes()
            calls = []

            def fail(size: int, offset: int) -> int:
                calls.append(size)
                if len(calls) == 1 and before_it:
                    return before_it
                raise OSError(code, os.strerror(code))

            disk.on_write = fail
            with pytest.raises(kind, match="journal-00000001"):
                await store.commit([after(first.record), created("b")])
            assert folder.journal().read_bytes() == before
            assert await contents(store) == {"a": list(first.events)}
            disk.on_write = None
            assert await store.commit([after(first.record), created("b")]) == [
                Committed("a", 2),
                Committed("b", 1),
            ]

    asyncio.run(main())


def test_short_writes_are_carried_on(folder: Any, fill: Any, contents: Any, disk: Any) -> None:
    async def main() -> None:
        async with folder.open(disk) as store:
            disk.on_write = lambda size, offset: min(size, 7)
            written = await fill(store)
            assert await contents(store) == written
        async with folder.open() as store:
            assert await contents(store) == written

    asyncio.run(main())


@pytest.mark.parametrize("survives", [True, False])
def test_a_failed_sync_poisons_the_handle_and_a_fresh_one_recovers(
    folder: Any, contents: Any, disk: Any, survives: bool
) -> None:
    async def main() -> None:
        first = created("a")
        second = after(first.record)
        async with folder.open(disk) as store:
            await store.commit([first])
            size = folder.journal().stat().st_size
            disk.on_sync = lambda: (_ for _ in ()).throw(OSError(errno.EIO, "no"))
            answers = await store.commit([second, after(created("none").record)])
            assert isinstance(answers[0], Unknown)
            assert answers[1].head == 0
            for call in (store.commit([second]), store.get("a"), store.read("a")):
                with pytest.raises(StorageClosed, match="open a new handle"):
                    await call
        if not survives:
            os.truncate(folder.journal(), size)
        async with folder.open() as store:
            assert len(await store.read("a")) == (2 if survives else 1)
            assert await store.commit([second]) == [Committed("a", 2)]
            assert await contents(store) == {"a": [*first.events, *second.events]}

    asyncio.run(main())


def test_an_append_whose_place_cannot_be_noted_is_unknown(folder: Any, contents: Any) -> None:
    async def main() -> None:
        async with folder.open() as store:
            await store.commit([created("a")])
            with failing_disk(folder.path, errno.EIO, after=2) as disk:  # after its write and its sync
                (answer,) = await store.commit([created("b")])
            assert disk.failures == 1
            assert isinstance(answer, Unknown)
        async with folder.open() as store:
            assert set(await contents(store)) == {"a", "b"}
            assert await store.commit([created("b")]) == [Committed("b", 1)]

    asyncio.run(main())


def test_a_write_that_can_not_be_taken_back_is_unknown(folder: Any, disk: Any) -> None:
    async def main() -> None:
        async with folder.open(disk) as store:
            await store.commit([created("a")])
            disk.on_write = lambda size, offset: 5 if size > 5 and not disk.bytes_written % 5 else _fail()
            disk.on_truncate = _fail
            (answer,) = await store.commit([created("b")])
            assert isinstance(answer, Unknown)
            with pytest.raises(StorageClosed):
                await store.get("a")
        async with folder.open() as store:
            assert [r.run_id for r in await store.list_runs()] == ["a"]

    asyncio.run(main())


def _fail() -> int:
    raise OSError(errno.EIO, "no")


def test_a_body_that_would_break_its_line_is_refused_alone(folder: Any, contents: Any) -> None:
    async def main() -> None:
        async with folder.open() as store:
            first = created("a")
            await store.commit([first, created("b")])
            good = noted()
            for n, bad in enumerate(
                [
                    b"",
                    b"{}",
                    b"[1]\n",
                    b'["x.y",1,5,{}],["z"',
                    b'["x.y",1,5,{"a":\n1}]',
                    b" " + good,
                    good + b" ",
                    b'["x.y",1,5,{"a":"\xff"}]',
                    b'["x.y",1,5,{]',
                    b"\0",
                ]
            ):
                append = after(first.record)
                event = type(append.events[0])("a", 2, "e2", bad)
                append = type(append)("a", "i1", 1, (event,), append.record)
                other = created(f"n{n}")
                answers = await store.commit([append, other])
                assert isinstance(answers[0], Refused), bad
                assert isinstance(answers[0].error, StorageError)
                assert answers[1] == Committed(f"n{n}", 1)
            assert (await store.get("a")).head == 1
            assert len(await contents(store)) == 12

    asyncio.run(main())


def test_a_really_full_file_is_storage_full_and_the_handle_goes_on(folder: Any) -> None:
    child = subprocess.run(
        [sys.executable, Path(__file__).with_name("child.py"), "until_full", folder.path],
        check=True,
        stdout=subprocess.PIPE,
        timeout=60,
    )
    assert 5 < (done := int(child.stdout)) < 50
    assert len(folder.run(lambda s: s.read("a"))) == done
