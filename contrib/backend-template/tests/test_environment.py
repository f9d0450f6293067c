"""What LMDB demands beyond the laws: its map grows, processes fork, disks fill, formats change."""

from __future__ import annotations

import asyncio
import errno
import resource
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lmdb
import pytest
from pyworkflow_core.errors import (
    ConfigurationError,
    CorruptLog,
    OutcomeUnknown,
    StorageFull,
    StorageUnavailable,
    UnsupportedSchema,
)
from pyworkflow_core.storage import Committed, Unknown
from pyworkflow_core.testing.appends import after, created, noted

from pyworkflow_lmdb import LmdbStorageBackend, environment
from pyworkflow_lmdb.backend import open_url

SMALL = 96 * 1024
MUCH = noted('{"text":"' + "x" * 200_000 + '"}')


@pytest.fixture(autouse=True)
def _closes_every_environment() -> Iterator[None]:
    yield
    assert environment._acquired == {}


def in_another_process(program: str, *arguments: object) -> str:
    """What a new process prints that runs `program`."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_map_grows_with_what_is_written(tmp_path: Path) -> None:
    async def main() -> None:
        async with LmdbStorageBackend(tmp_path, map_size=SMALL) as store:
            append = created("a")
            assert await store.commit([append]) == [Committed("a", 1)]
            for _ in range(20):
                append = after(append.record, MUCH)
                assert await store.commit([append]) == [Committed("a", append.record.head)]
            assert [event.sequence for event in await store.read("a")] == list(range(1, 22))

    asyncio.run(main())


def test_a_map_that_another_process_has_grown_is_followed(tmp_path: Path) -> None:
    program = """
        import asyncio, sys
        from pyworkflow_core.testing.appends import after, created, noted
        from pyworkflow_lmdb import LmdbStorageBackend

        async def main():
            async with LmdbStorageBackend(sys.argv[1], map_size=int(sys.argv[2])) as store:
                record = (await store.get("a"))
                for _ in range(20):
                    append = after(record, noted('{"text":"' + "y" * 200_000 + '"}'))
                    await store.commit([append])
                    record = append.record

        asyncio.run(main())
    """

    async def main() -> None:
        async with LmdbStorageBackend(tmp_path, map_size=SMALL) as store:
            await store.commit([created("a")])
            in_another_process(program, tmp_path, SMALL)
            record = await store.get("a")
            assert record is not None
            assert record.head == 21
            assert await store.commit([after(record, MUCH)]) == [Committed("a", 22)]

    asyncio.run(main())


def test_one_folder_is_one_environment_by_whichever_path(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "there").symlink_to(tmp_path / "here")

    async def main() -> None:
        async with (
            LmdbStorageBackend(tmp_path / "here") as one,
            LmdbStorageBackend(tmp_path / "there") as two,
        ):
            await one.commit([created("a")])
            assert (await two.get("a")) == created("a").record
            await one.close()
            assert await two.commit([created("b")]) == [Committed("b", 1)]

    asyncio.run(main())


def test_a_handle_that_is_cancelled_while_it_closes_closes(tmp_path: Path) -> None:
    async def main() -> None:
        store = LmdbStorageBackend(tmp_path)
        await store.open()
        closing = asyncio.ensure_future(store.close())
        await asyncio.sleep(0)
        closing.cancel()
        await asyncio.gather(closing, return_exceptions=True)
        async with LmdbStorageBackend(tmp_path) as again:
            assert await again.get("a") is None

    asyncio.run(main())


def test_a_forked_child_opens_an_environment_of_its_own(tmp_path: Path) -> None:
    program = """
        import asyncio, os, sys, warnings
        from pyworkflow_core.testing.appends import created
        from pyworkflow_lmdb import LmdbStorageBackend

        warnings.filterwarnings("ignore", category=DeprecationWarning)  # 3.12 warns of forks beside threads
        store = LmdbStorageBackend(sys.argv[1])
        asyncio.run(store.commit([created("a")]))
        child = os.fork()
        if child == 0:
            try:
                async def main():
                    print((await store.get("a")).run_id, await store.commit([created("b")]), flush=True)
                    await store.close()
                asyncio.run(main())
            finally:
                os._exit(0)
        os.waitpid(child, 0)

        async def main():
            print((await store.get("b")).run_id, await store.commit([created("c")]))
            await store.close()
        asyncio.run(main())
    """
    assert in_another_process(program, tmp_path) == (
        "a [Committed(run_id='b', head=1)]\nb [Committed(run_id='c', head=1)]\n"
    )


def test_a_newer_format_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    async def main() -> None:
        async with LmdbStorageBackend(tmp_path) as store:
            await store.commit([created("a")])
        with lmdb.open(str(tmp_path)) as env, env.begin(write=True) as txn:
            txn.put(b"m.format", b"2")
        with pytest.raises(UnsupportedSchema, match="format 2"):
            async with LmdbStorageBackend(tmp_path):
                pass

    asyncio.run(main())


def test_a_path_that_is_no_folder_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    async def main() -> None:
        with pytest.raises(StorageUnavailable, match="file"):
            async with LmdbStorageBackend(tmp_path / "file"):
                pass

    asyncio.run(main())


def test_a_file_that_is_not_lmdbs_is_called_corrupt(tmp_path: Path) -> None:
    (tmp_path / "data.mdb").write_bytes(b"rubbish" * 10_000)

    async def main() -> None:
        with pytest.raises(CorruptLog) as caught:
            async with LmdbStorageBackend(tmp_path):
                pass
        assert caught.value.location == str(tmp_path)

    asyncio.run(main())


def test_an_entry_that_names_a_missing_one_is_called_corrupt(tmp_path: Path) -> None:
    async def main() -> None:
        async with LmdbStorageBackend(tmp_path) as store:
            await store.commit([created("a")])
        with lmdb.open(str(tmp_path)) as env, env.begin(write=True) as txn:
            txn.delete(b"ra")
        async with LmdbStorageBackend(tmp_path) as store:
            with pytest.raises(CorruptLog, match="missing") as caught:
                await store.find()
            assert caught.value.location == "b'ra'"

    asyncio.run(main())


def test_a_disk_that_takes_a_part_of_a_commit_leaves_the_log_as_it_was(tmp_path: Path) -> None:
    async def main() -> None:
        async with LmdbStorageBackend(tmp_path, map_size=SMALL) as store:
            first = created("a")
            second = after(first.record, MUCH)
            await store.commit([first])
            soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
            try:
                # LMDB takes a write that is cut short for a broken disk, and so it is not known.
                (answer,) = await store.commit([second])
                assert isinstance(answer, Unknown)
                assert await store.read("a") == list(first.events)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            assert await store.commit([second]) == [Committed("a", 2)]

    asyncio.run(main())


class Wrapped:
    """Something of LMDB's with another behaviour: what `change` names is `change`'s."""

    def __init__(self, inner: Any, **change: Any) -> None:
        self.__dict__ |= change
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


def change_environment(path: Path, **change: Any) -> None:
    """Change the open environment of the folder, until it is opened again."""
    opened = environment._acquired[str(path)]
    opened._env = Wrapped(opened._env, **change)  # type: ignore[assignment]


def fail_commits(path: Path, code: int) -> None:
    """Let commits in the folder fail with that error number, and write nothing."""
    env = environment._acquired[str(path)]._env
    assert env is not None

    def begin(write: bool) -> Any:
        txn = env.begin(write=write)

        def commit() -> None:
            txn.abort()
            error = lmdb.Error("mdb_txn_commit")
            error.code = code  # type: ignore[misc]
            raise error

        return Wrapped(txn, commit=commit)

    change_environment(path, begin=begin)


def test_a_commit_that_fails_is_unknown_and_can_be_settled(tmp_path: Path) -> None:
    async def main() -> None:
        async with LmdbStorageBackend(tmp_path) as store:
            fail_commits(tmp_path, errno.EIO)
            (answer,) = await store.commit([created("a")])
            assert isinstance(answer, Unknown)
            assert await store.commit([created("a")]) == [Committed("a", 1)]
            fail_commits(tmp_path, errno.EIO)
            with pytest.raises(OutcomeUnknown):
                await store.claim(owner="o", now=1, lease=1)

    asyncio.run(main())


def test_a_commit_without_room_is_storage_full(tmp_path: Path) -> None:
    async def main() -> None:
        async with LmdbStorageBackend(tmp_path) as store:
            fail_commits(tmp_path, errno.ENOSPC)
            with pytest.raises(StorageFull):
                await store.commit([created("a")])
            assert await store.commit([created("a")]) == [Committed("a", 1)]

    asyncio.run(main())


def test_a_map_that_cannot_grow_is_storage_full_and_the_handle_goes_on(tmp_path: Path) -> None:
    async def main() -> None:
        async with LmdbStorageBackend(tmp_path, map_size=SMALL) as store:
            first = created("a")
            await store.commit([first])
            env = environment._acquired[str(tmp_path)]._env
            assert env is not None
            # LMDB lets go of its memory before it asks for more.
            change_environment(tmp_path, set_mapsize=lambda size: env.set_mapsize(2**62))
            with pytest.raises(StorageFull):
                await store.commit([after(first.record, MUCH)])
            assert await store.commit([after(first.record, MUCH)]) == [Committed("a", 2)]

    asyncio.run(main())


@pytest.mark.parametrize("url", ["lmdb:", "lmdb://host/path", "lmdb:///path?size=1", "lmdb:///path#part"])
def test_a_url_is_a_folder_and_nothing_else(url: str) -> None:
    with pytest.raises(ConfigurationError, match="lmdb:///absolute/path"):
        open_url(url)


def test_a_url_names_absolute_and_relative_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert open_url("lmdb:///var/a%20b").path == "/var/a b"
    assert open_url("lmdb:runs/now").path == str(tmp_path / "runs/now")
