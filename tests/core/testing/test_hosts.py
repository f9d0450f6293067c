"""The small correct stores: what each of them adds to the rules that the suite checks."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pyworkflow_core.errors import (
    CorruptLog,
    FeedPositionLost,
    StorageClosed,
    StorageFull,
    StorageUnavailable,
    UnsupportedSchema,
)
from pyworkflow_core.storage import Committed, Conflict, Unknown
from pyworkflow_core.testing.appends import after, created, noted
from pyworkflow_core.testing.hosts.lines import LinesStore
from pyworkflow_core.testing.hosts.ram import RamStore, RamTransaction
from pyworkflow_core.testing.hosts.subjects import GOLDEN
from pyworkflow_core.testing.hosts.tcp import TcpStore

FIRST = created("a")
SECOND = after(FIRST.record)


@pytest.fixture
def name(request: pytest.FixtureRequest) -> Iterator[str]:
    yield request.node.name
    RamStore.forget(request.node.name)


async def read_all(store: Any) -> dict[str, int]:
    return {record.run_id: len(await store.read(record.run_id)) for record in await store.list_runs()}


async def fail_within_a_transaction(store: RamStore) -> None:
    with contextlib.suppress(KeyError):
        async with RamTransaction() as transaction:
            await store.commit([created("c")], within=transaction)
            raise KeyError


# ---- memory ----------------------------------------------------------------------------


def test_handles_of_one_name_share_their_runs_until_it_is_forgotten(name: str) -> None:
    async def main() -> None:
        assert await RamStore(name).commit([FIRST]) == [Committed("a", 1)]
        assert await read_all(RamStore(name)) == {"a": 1}
        RamStore.forget(name)
        assert await read_all(RamStore(name)) == {}

    asyncio.run(main())


def test_a_transaction_answers_by_what_it_holds_and_makes_all_or_nothing(name: str) -> None:
    async def main() -> None:
        store, other = RamStore(name), RamStore(name)
        async with RamTransaction() as transaction:
            assert await store.commit([FIRST, created("b")], within=transaction) == [
                Committed("a", 1),
                Committed("b", 1),
            ]
            assert await store.commit([SECOND], within=transaction) == [Committed("a", 2)]
            assert await read_all(other) == {}
        assert await read_all(other) == {"a": 2, "b": 1}
        await fail_within_a_transaction(store)
        assert await read_all(other) == {"a": 2, "b": 1}

    asyncio.run(main())


def test_a_transaction_that_lost_a_race_makes_nothing_at_all(name: str) -> None:
    async def main() -> None:
        store = RamStore(name)
        await store.commit([FIRST])
        transaction = RamTransaction()
        await store.commit([created("b"), SECOND], within=transaction)
        await store.commit([after(FIRST.record, prefix="rival")])
        with pytest.raises(StorageUnavailable, match="'a'"):
            transaction.commit()
        assert await read_all(store) == {"a": 2}
        with pytest.raises(ValueError, match="cannot write to"):
            await RamStore("another").commit([created("c")], within=transaction)
        RamStore.forget("another")

    asyncio.run(main())


# ---- a file ----------------------------------------------------------------------------


def test_a_journal_cut_anywhere_opens_as_whole_appends_and_goes_on(tmp_path: Path) -> None:
    async def main() -> None:
        async with LinesStore(str(tmp_path / "whole")) as store:
            await store.commit([FIRST])
            await store.commit([after(FIRST.record, noted(), noted()), created("b")])
        whole = (tmp_path / "whole" / "journal.jsonl").read_bytes()
        (tmp_path / "cut").mkdir()
        for size in range(len(whole) + 1):
            (tmp_path / "cut" / "journal.jsonl").write_bytes(whole[:size])
            async with LinesStore(str(tmp_path / "cut")) as store:
                runs = await read_all(store)
                assert runs in ({}, {"a": 1}, {"a": 3}, {"a": 3, "b": 1})
                await store.commit([created("new")])
            async with LinesStore(str(tmp_path / "cut")) as store:
                assert await read_all(store) == {**runs, "new": 1}

    asyncio.run(main())


def test_damage_is_named_by_file_and_place_each_time(tmp_path: Path) -> None:
    async def main() -> None:
        journal = tmp_path / "journal.jsonl"
        async with LinesStore(str(tmp_path)) as store:
            await store.commit([FIRST])
            start = journal.stat().st_size
            await store.commit([SECOND])
        data = journal.read_bytes()
        journal.write_bytes(data[: start + 20] + b"?" + data[start + 21 :])
        store = LinesStore(str(tmp_path))
        for call in (store.read("a"), store.get("b")):
            with pytest.raises(CorruptLog) as error:
                await call
            assert error.value.location == f"{journal}:{start}"
        await store.close()

    asyncio.run(main())


def test_an_old_format_is_read_and_gone_on_from_in_the_new_one(tmp_path: Path) -> None:
    async def main() -> None:
        (tmp_path / "journal.jsonl").write_bytes(GOLDEN.read_bytes())
        async with LinesStore(str(tmp_path)) as store:
            before = await read_all(store)
            assert before
            await store.commit([created("new")])
        async with LinesStore(str(tmp_path)) as store:
            assert await read_all(store) == {**before, "new": 1}
        assert (tmp_path / "journal.jsonl").read_bytes().startswith(GOLDEN.read_bytes())

    asyncio.run(main())


def test_a_newer_format_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        with monkeypatch.context() as newer:
            newer.setattr("pyworkflow_core.testing.hosts.lines.FORMAT", 3)
            async with LinesStore(str(tmp_path)):
                pass
        store = LinesStore(str(tmp_path))
        with pytest.raises(UnsupportedSchema, match="format 3"):
            await store.open()
        await store.close()

    asyncio.run(main())


def test_a_failed_write_is_taken_back_and_a_failed_sync_ends_the_handle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.write

    def fill(fd: int, data: bytes) -> int:
        if len(data) > 50:
            return real(fd, data[:50])
        raise OSError(errno.ENOSPC, "full")

    def fail(fd: int) -> None:
        raise OSError(errno.EIO, "broken")

    async def main() -> None:
        async with LinesStore(str(tmp_path)) as store:
            await store.commit([FIRST])
            size = (tmp_path / "journal.jsonl").stat().st_size
            with monkeypatch.context() as disk:
                disk.setattr(os, "write", fill)
                with pytest.raises(StorageFull, match=r"journal\.jsonl"):
                    await store.commit([SECOND])
            assert (tmp_path / "journal.jsonl").stat().st_size == size
            assert await store.commit([SECOND]) == [Committed("a", 2)]
            with monkeypatch.context() as disk:
                disk.setattr(os, "fdatasync", fail)
                third = after(SECOND.record)
                answers = await store.commit([third, after(created("none").record)])
            assert isinstance(answers[0], Unknown)
            assert answers[1] == Conflict("none", 0)
            with pytest.raises(StorageClosed, match="open a new handle"):
                await store.read("a")
        async with LinesStore(str(tmp_path)) as fresh:
            assert await fresh.commit([third]) == [Committed("a", 3)]

    asyncio.run(main())


# ---- a server --------------------------------------------------------------------------


class Server:
    """The toy server in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = 0
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", TcpStore.server_module, "--folder", str(self.folder)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.process = subprocess.Popen([*command, "--port", str(self.port)], **pipes)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def stop(self, how: signal.Signals) -> None:
        with self.process as process:
            process.send_signal(how)

    def open(self, namespace: str = "n", **options: Any) -> TcpStore:
        return TcpStore("127.0.0.1", self.port, namespace, **options)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    started = Server(tmp_path)
    yield started
    started.stop(signal.SIGKILL)


def test_a_server_that_is_killed_keeps_what_it_acknowledged_and_is_found_again(server: Server) -> None:
    async def main() -> None:
        async with server.open() as store, server.open("other") as other:
            assert await store.commit([FIRST]) == [Committed("a", 1)]
            server.stop(signal.SIGKILL)
            with pytest.raises(StorageUnavailable, match="no server"):
                await store.commit([SECOND])
            server.start()
            assert await store.commit([SECOND]) == [Committed("a", 2)]
            assert await read_all(other) == {}
            position = (await store.feed()).position
            with pytest.raises(FeedPositionLost):
                await other.feed(after=position)

    asyncio.run(main())


def test_a_server_that_says_nothing_leaves_the_outcome_unknown(server: Server) -> None:
    async def main() -> None:
        async with server.open(patience=0.2) as store:
            await store.commit([FIRST])
            server.process.send_signal(signal.SIGSTOP)
            try:
                (answer,) = await store.commit([SECOND])
                assert isinstance(answer, Unknown)
                with pytest.raises(StorageUnavailable):
                    await store.read("a")
            finally:
                server.process.send_signal(signal.SIGCONT)
        async with server.open() as store:
            assert await store.commit([SECOND]) == [Committed("a", 2)]
            assert await read_all(store) == {"a": 2}

    asyncio.run(main())


def test_the_server_answers_no_half_of_a_request_and_ends_with_its_input(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(b'{"namespace":"n","call":"get","arguments":["a"]}')
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(100) == b""
    assert server.process.stdin is not None
    server.process.stdin.close()
    assert server.process.wait(timeout=30) == 0
