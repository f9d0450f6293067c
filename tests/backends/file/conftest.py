"""Folders, broken disks and logs for the tests of the file backend."""

from __future__ import annotations

import asyncio
import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from pyworkflow_core.testing.appends import after, created, noted
from pyworkflow_file import FileStorageBackend
from pyworkflow_file.disk import Disk

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path


class FaultyDisk(Disk):
    """Fails as told; counts everything else."""

    def __init__(self) -> None:
        super().__init__()
        self.on_write: Callable[[int, int], int] | None = None  # bytes asked for, offset -> bytes to write
        self.on_sync: Callable[[], None] | None = None
        self.on_truncate: Callable[[], None] | None = None

    def write(self, fd: int, data: bytes | memoryview, offset: int) -> int:
        if self.on_write is not None:
            data = data[: self.on_write(len(data), offset)]
        return super().write(fd, data, offset)

    def sync(self, fd: int) -> None:
        if self.on_sync is not None:
            self.on_sync()
        super().sync(fd)

    def truncate(self, fd: int, size: int) -> None:
        if self.on_truncate is not None:
            self.on_truncate()
        super().truncate(fd, size)


class Folder:
    """A store's folder, and what tests do to it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def open(self, disk: Disk | None = None, **options: Any) -> FileStorageBackend:
        store = FileStorageBackend(self.path, **options)
        if disk is not None:
            store._disk = disk
            store._store = store._new_store()
        return store

    def run(self, test: Callable[[FileStorageBackend], Coroutine[Any, Any, Any]], **options: Any) -> Any:
        async def main() -> Any:
            async with self.open(**options) as store:
                return await test(store)

        return asyncio.run(main())

    def journal(self, number: int = 1) -> Path:
        return self.path / f"journal-{number:08}.jsonl"

    def forget(self, *names: str) -> None:
        """Remove what a restored copy must not bring along."""
        for name in names or ("lock", "index.sqlite", "index.sqlite-wal", "index.sqlite-shm"):
            (self.path / name).unlink(missing_ok=True)

    def copy(self, name: str) -> Folder:
        shutil.copytree(self.path, self.path.parent / name)
        return Folder(self.path.parent / name)


async def fill(
    store: FileStorageBackend, runs: int = 3, steps: int = 3, prefix: str = "r"
) -> dict[str, list[Any]]:
    """Commits of several runs; the events of each."""
    appends = [created(f"{prefix}{n}", at=n) for n in range(runs)]
    events: dict[str, list[Any]] = {a.run_id: [] for a in appends}
    for step in range(steps):
        await store.commit(appends)
        for append in appends:
            events[append.run_id] += append.events
        appends = [after(a.record, noted(f'{{"step":{step}}}'), noted('"x"')) for a in appends]
    return events


async def contents(store: FileStorageBackend) -> dict[str, list[Any]]:
    return {r.run_id: await store.read(r.run_id) for r in (await store.find()).records}


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "store")


@pytest.fixture
def disk() -> FaultyDisk:
    return FaultyDisk()


@pytest.fixture(name="fill")
def _fill() -> Any:
    return fill


@pytest.fixture(name="contents")
def _contents() -> Any:
    return contents


@pytest.fixture
def descriptors() -> Callable[[], int]:
    return lambda: len(os.listdir("/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd"))
