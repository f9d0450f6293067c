"""Several processes on one folder, and processes that die."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import pytest

from pyworkflow_core.storage import Committed
from pyworkflow_core.testing.appends import after, created
from pyworkflow_file import FileStorageBackend

CHILD = Path(__file__).with_name("child.py")


def start(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, str(CHILD), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_what_a_killed_writer_was_told_is_stored_and_dense(folder: Any, contents: Any) -> None:
    for n in range(6):
        child = start("forever", folder.path, f"c{n}")
        told = [0, 0]
        assert child.stdout is not None
        for _ in range(3 + 5 * n):
            told = [int(word) for word in child.stdout.readline().split()]
        child.kill()
        for line in child.stdout.read().splitlines(keepends=True):
            if line.endswith("\n"):
                told = [int(word) for word in line.split()]
        child.wait()
        child.stdout.close()
        found = folder.run(contents)
        for run, head in zip((f"c{n}-1", f"c{n}-2"), told, strict=True):
            assert [e.sequence for e in found[run]] == list(range(1, len(found[run]) + 1))
            assert len(found[run]) >= head
            assert len(found[run]) % 2 == 1  # whole appends


def test_four_processes_append_to_one_run_and_each_append_is_there_once(folder: Any) -> None:
    folder.run(lambda s: s.commit([created("a")]))
    children = [start("racing", folder.path, f"p{n}", 50) for n in range(4)]
    told = [line for child in children for line in child.communicate(timeout=100)[0].split()]
    assert [child.returncode for child in children] == [0] * 4
    events = folder.run(lambda s: s.read("a"))
    assert [e.sequence for e in events] == list(range(1, 202))
    assert sorted(e.event_id for e in events[1:]) == sorted(told)
    folder.forget()
    assert folder.run(lambda s: s.read("a")) == events


def test_threads_and_loops_share_a_folder_and_a_handle(folder: Any) -> None:
    shared = folder.open()

    def work(name: str) -> None:
        async def main() -> None:
            own = folder.open()
            append = created(name)
            for n in range(20):
                assert await (shared if n % 2 else own).commit([append]) == [Committed(name, n + 1)]
                append = after(append.record)
            await own.close()

        asyncio.run(main())

    threads = [threading.Thread(target=work, args=(f"t{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    asyncio.run(shared.close())
    heads = folder.run(lambda s: s.list_runs())
    assert [(r.run_id, r.head) for r in heads] == [(f"t{n}", 20) for n in range(4)]


def test_a_forked_child_opens_its_own_files(folder: Any) -> None:
    store = folder.open()
    first = created("a")
    asyncio.run(store.commit([first]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads is what is tested
        child = os.fork()
    if child == 0:
        try:
            answers = asyncio.run(store.commit([after(first.record), created("c")]))
            os._exit(answers != [Committed("a", 2), Committed("c", 1)])
        except BaseException:
            os._exit(9)
    append = created("p")
    for n in range(10):
        assert asyncio.run(store.commit([append])) == [Committed("p", n + 1)]
        append = after(append.record)
    assert os.waitpid(child, 0)[1] == 0
    assert asyncio.run(store.get("a")).head == 2
    asyncio.run(store.close())
    assert [r.run_id for r in folder.run(lambda s: s.list_runs())] == ["a", "c", "p"]


def test_a_taken_lock_is_waited_for_beside_the_loop(folder: Any) -> None:
    async def main() -> None:
        async with folder.open() as store, folder.open() as other:
            assert other._store.lock.acquire(blocking=False)
            task = asyncio.ensure_future(store.commit([created("a")]))
            for _ in range(50):
                await asyncio.sleep(0)
            assert not task.done()
            other._store.lock.release()
            assert await task == [Committed("a", 1)]

    asyncio.run(main())


def test_a_removed_lock_file_excludes_again(folder: Any) -> None:
    async def main() -> None:
        async with folder.open() as store:
            first = created("a")
            await store.commit([first])
            folder.forget("lock")
            async with folder.open() as other:
                assert await other.commit([after(first.record)]) == [Committed("a", 2)]
                assert (await store.get("a")).head == 2

    asyncio.run(main())


def test_opening_and_closing_leaves_no_descriptor_thread_or_task(folder: Any, descriptors: Any) -> None:
    async def once() -> None:
        async with folder.open() as store:
            await store.commit([created("a")])
            await store.read("a")
            await store.find()
            assert len(asyncio.all_tasks()) == 1

    asyncio.run(once())
    before = descriptors(), threading.active_count()
    for _ in range(20):
        asyncio.run(once())
    assert (descriptors(), threading.active_count()) == before


def test_a_slow_disk_is_waited_for_beside_the_loop(folder: Any, disk: Any) -> None:
    async def main() -> None:
        async with folder.open(disk) as store:
            append = created("a")
            await store.commit([append])
            threads = []
            disk.on_sync = lambda: threads.append(threading.current_thread() is threading.main_thread())
            for slow in (0.0, 10**6):
                store._commit_time = slow
                append = after(append.record)
                await store.commit([append])
            assert threads == [True, False]

    asyncio.run(main())


def test_cancelled_in_its_thread_an_append_is_still_whole(folder: Any, disk: Any) -> None:
    async def main() -> None:
        async with folder.open(disk) as store:
            gate = threading.Event()
            first = created("a")
            await store.commit([first])
            store._commit_time = 10**6
            disk.on_sync = lambda: gate.wait(10) and None
            task = asyncio.ensure_future(store.commit([after(first.record)]))
            while not disk.bytes_written > len(first.events[0].body) * 2:
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            gate.set()
            assert await store.commit([after(first.record)]) == [Committed("a", 2)]
            assert len(await store.read("a")) == 2

    asyncio.run(main())


def test_a_handle_works_on_one_loop_after_another(folder: Any) -> None:
    store = FileStorageBackend(folder.path)
    append = created("a")
    for n in range(3):
        assert asyncio.run(store.commit([append])) == [Committed("a", n + 1)]
        append = after(append.record)
    asyncio.run(store.close())


def test_a_lock_file_that_is_lost_and_a_segment_begun_meanwhile_lose_nothing(folder: Any, fill: Any) -> None:
    async def main() -> None:
        async with folder.open(segment_bytes=600) as store:
            await store.commit([created("a")])
            async with folder.open(segment_bytes=600) as other:
                await fill(other, runs=3, steps=6)
            folder.forget("lock")
            append = created("b")
            for n in range(12):
                assert await store.commit([append]) == [Committed("b", n + 1)]
                append = after(append.record)
            records = await store.list_runs()
        assert {r.run_id: r.head for r in records} == {"a": 1, "b": 12, "r0": 11, "r1": 11, "r2": 11}

    asyncio.run(main())
