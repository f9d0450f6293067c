"""Where a store can live, what its URL may say, and what is refused in plain words."""

from __future__ import annotations

import asyncio
import errno
import os
from typing import Any

import pytest

from pyworkflow_core.errors import (
    ConfigurationError,
    CorruptLog,
    StorageUnavailable,
    UnsupportedSchema,
)
from pyworkflow_core.plugins import list_backends, open_storage
from pyworkflow_core.testing.appends import created
from pyworkflow_file import FileStorageBackend
from pyworkflow_file.folder import check_platform


def test_nothing_is_created_before_first_use(folder: Any) -> None:
    store = folder.open()
    asyncio.run(store.close())
    assert not folder.path.exists()
    folder.run(lambda s: s.get("a"))
    assert folder.path.is_dir()


@pytest.mark.parametrize("kind", ["nfs4", "nfs", "cifs", "smb3", "fuse.sshfs", "9p"])
def test_a_network_file_system_is_refused_unless_the_risk_is_taken(
    folder: Any, tmp_path: Any, kind: str
) -> None:
    mounts = tmp_path / "mounts"
    point = str(tmp_path).replace("/", "/")
    mounts.write_text(
        f"/dev/vda / ext4 rw 0 0\nserver:/x {point} {kind} rw 0 0\nz {point}/store2 ext4 rw 0 0\n"
    )

    def opened(**options: Any) -> FileStorageBackend:
        store = folder.open(**options)
        store._mounts = str(mounts)
        store._store = store._new_store()
        return store

    async def main() -> None:
        refused = opened()
        with pytest.raises(StorageUnavailable, match=kind):
            await refused.get("a")
        await refused.close()
        assert not folder.path.exists()
        async with opened(network_ok=True) as store:
            await store.commit([created("a")])

    asyncio.run(main())


def test_a_local_mount_below_a_network_one_is_accepted(folder: Any, tmp_path: Any) -> None:
    (tmp_path / "a b").mkdir()
    mounts = tmp_path / "mounts"
    mounts.write_text(f"server:/x / nfs rw 0 0\n/dev/vda {tmp_path}/a\\040b ext4 rw 0 0\nshort\n")
    folder.path = tmp_path / "a b" / "store"

    async def main() -> None:
        store = folder.open()
        store._mounts = str(mounts)
        store._store = store._new_store()
        async with store:
            assert await store.get("a") is None

    asyncio.run(main())


async def open_and_close(store: FileStorageBackend) -> None:
    try:
        await store.open()
    finally:
        await store.close()


def test_something_that_is_no_folder_is_refused(folder: Any) -> None:
    folder.path.write_text("a file")
    for path in (folder.path, folder.path / "below"):
        with pytest.raises(StorageUnavailable, match="folder"):
            asyncio.run(open_and_close(FileStorageBackend(path)))


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES])
def test_a_folder_that_cannot_be_written_is_refused(folder: Any, disk: Any, code: int) -> None:
    def refuse(path: str, flags: int) -> int:
        raise OSError(code, os.strerror(code))

    disk.open = refuse

    async def main() -> None:
        store = folder.open(disk)
        with pytest.raises(StorageUnavailable, match=str(folder.path)):
            await store.open()
        await store.close()

    asyncio.run(main())


def test_a_newer_format_is_refused_and_an_unreadable_one_named(folder: Any) -> None:
    folder.run(lambda s: s.commit([created("a")]))
    (folder.path / "FORMAT").write_text("pyworkflow file store 2\n")
    with pytest.raises(UnsupportedSchema, match="format 2"):
        folder.run(lambda s: s.get("a"))
    (folder.path / "FORMAT").write_text("something\n")
    with pytest.raises(CorruptLog, match="FORMAT"):
        folder.run(lambda s: s.get("a"))


def test_a_folder_removed_while_open_is_unavailable(folder: Any) -> None:
    import shutil

    async def main() -> None:
        async with folder.open() as store:
            await store.commit([created("a")])
            shutil.rmtree(folder.path)
            with pytest.raises(StorageUnavailable):
                await store.commit([created("b")])

    asyncio.run(main())


def test_other_systems_are_refused_by_name() -> None:
    with pytest.raises(ConfigurationError, match="win32"):
        check_platform("win32")


def test_urls_name_a_folder_and_options(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store: Any = open_storage(f"file://{tmp_path}/a%20b?segment_bytes=100&network_ok=yes&compact_at=0.25")
    assert store.base_path == f"{tmp_path}/a b"
    assert (store.options.segment_bytes, store.options.network_ok, store.options.compact_at) == (
        100,
        True,
        0.25,
    )
    relative: Any = open_storage("file:some/where")
    assert relative.base_path == str(tmp_path / "some" / "where")
    assert FileStorageBackend().base_path == str(tmp_path / ".pyworkflow")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("file:///x?segment_byte=1", "Did you mean 'segment_bytes'"),
        ("file:///x?heads=many", "a whole number"),
        ("file:///x?network_ok=perhaps", "1 or 0"),
        ("file:///x?heads=0", "at least 1"),
        ("file:///x?compact_at=2", "between 0 and 1"),
        ("file://host/x", "file:///host/x"),
        ("file:", "names no folder"),
        ("memory://x?a=b", "no options"),
    ],
)
def test_what_a_url_cannot_say_is_a_configuration_error(url: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        open_storage(url)


def test_both_backends_are_listed_without_importing_them() -> None:
    listed = {b.scheme: b for b in list_backends()}
    assert listed["file"].problem == listed["memory"].problem == ""
    assert listed["file"].example.startswith("file:///")
