"""Limits of queues hold for workers in many processes, also when they are killed."""

from __future__ import annotations

import asyncio
import os
import pathlib
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyworkflow import get_queue, open_storage, reset_config, start
from pyworkflow.engine.engine import Engine, use_engine
from pyworkflow_core.storage import StorageBackend

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE))
from limited_worker import CONCURRENCY, SETTINGS, configure, process  # noqa: E402

sys.path.pop(0)

pytestmark = pytest.mark.kills

RUNS = 18
WORKERS = 4
KILLS = int(os.environ.get("PYWORKFLOW_KILLS", "4"))
each_store = pytest.mark.parametrize("scheme", ["file", "sqlite"])


@pytest.fixture(autouse=True)
def _limits() -> Iterator[None]:
    configure()
    yield
    reset_config()


def url_of(scheme: str, folder: Path) -> str:
    return f"file:{folder}/store" if scheme == "file" else f"sqlite:///{folder}/runs.db"


def spawn(url: str, folder: Path, queue: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(HERE / "limited_worker.py"), url, str(folder), queue]
    spawned = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert spawned.stdout is not None
    spawned.stdout.readline()
    return spawned


def end(processes: list[subprocess.Popen[bytes]]) -> None:
    for one in processes:
        _, errors = one.communicate(timeout=60)
        assert one.returncode in {0, -9}, errors.decode()


async def enqueue(storage: StorageBackend) -> None:
    use_engine(Engine(storage, settings=SETTINGS))
    for n in range(RUNS):
        key = "abc"[n % 3] if n % 2 else None
        await start(
            process,
            str(n),
            key or "-",
            storage=storage,
            queue="limited",
            concurrency_key=key,
            priority=n % 4,
            idempotency_key=f"run {n}",
        )


async def are_done(storage: StorageBackend, count: int = RUNS) -> bool:
    records = [record for record in await storage.list_runs(limit=1000) if record.workflow]
    assert not any(str(record.status) in {"failed", "interrupted"} for record in records)
    return len(records) == count and all(record.status.is_terminal for record in records)


def check_what_was_seen(folder: Path, killed: dict[int, int]) -> Counter[str]:
    """Go through what the steps wrote: who was at work when. How often each was begun.

    A step of a killed process ends for the observer at the moment of the kill.
    """
    events: list[tuple[int, str, int, str, str]] = []
    for line in (folder / "seen").read_text().splitlines():
        what, pid, name, key, at = line.split()
        events.append((int(at), what, int(pid), name, key))
    events += [(at, "killed", pid, "", "") for pid, at in killed.items()]
    at_work: dict[tuple[int, str], str] = {}
    begun: Counter[str] = Counter()
    for _, what, pid, name, key in sorted(events):
        if what == "begin":
            begun[name] += 1
            at_work[pid, name] = key
        elif what == "end":
            at_work.pop((pid, name), None)
        else:
            for other in [other for other in at_work if other[0] == pid]:
                del at_work[other]
        assert len(at_work) <= CONCURRENCY, at_work
        keys = Counter(key for key in at_work.values() if key != "-")
        assert all(count == 1 for count in keys.values()), at_work
    assert at_work == {}
    return begun


@pytest.mark.parametrize(("scheme", "queue"), [("file", "limited"), ("file", "every"), ("sqlite", "every")])
@pytest.mark.timeout(180)
def test_four_processes_never_drive_more_than_the_limit_and_finish_all(
    scheme: str, queue: str, tmp_path: Path
) -> None:
    url = url_of(scheme, tmp_path)

    async def main() -> None:
        async with open_storage(url) as storage:
            await enqueue(storage)
            processes = [spawn(url, tmp_path, queue) for _ in range(WORKERS)]
            try:
                while not await are_done(storage):
                    assert all(p.poll() is None for p in processes)
                    await asyncio.sleep(0.05)
            finally:
                (tmp_path / "stop").touch()
            end(processes)
            assert (await get_queue("limited", storage)).running == {}

    asyncio.run(main())
    begun = check_what_was_seen(tmp_path, {})
    assert begun == Counter({f"{n}.{part}": 1 for n in range(RUNS) for part in (1, 2)})


@each_store
@pytest.mark.timeout(300)
def test_workers_that_are_killed_leak_no_slot_and_give_none_too_many(scheme: str, tmp_path: Path) -> None:
    url = url_of(scheme, tmp_path)
    rng = random.Random(KILLS)
    killed: dict[int, int] = {}

    async def main() -> None:
        async with open_storage(url) as storage:
            await enqueue(storage)
            queues = ["limited", "limited", "limited", "every"]
            processes = [spawn(url, tmp_path, queue) for queue in queues]
            gone: list[subprocess.Popen[bytes]] = []
            try:
                for _ in range(KILLS):
                    await asyncio.sleep(rng.uniform(0.05, 0.3))
                    n = rng.randrange(WORKERS)
                    processes[n].kill()
                    processes[n].wait()
                    killed[processes[n].pid] = time.monotonic_ns()
                    gone.append(processes[n])
                    processes[n] = spawn(url, tmp_path, queues[n])
                while not await are_done(storage):
                    await asyncio.sleep(0.05)
            finally:
                (tmp_path / "stop").touch()
            end(processes + gone)

    asyncio.run(main())
    begun = check_what_was_seen(tmp_path, killed)
    assert set(begun) == {f"{n}.{part}" for n in range(RUNS) for part in (1, 2)}


@pytest.mark.timeout(180)
def test_urgent_runs_begin_first_whichever_process_takes_them(tmp_path: Path) -> None:
    url = url_of("file", tmp_path)

    async def main() -> None:
        async with open_storage(url) as storage:
            use_engine(Engine(storage, settings=SETTINGS))
            for what, priority in (("later", 8), ("urgent", 1)):
                for n in range(8):
                    await start(process, f"{what}{n}", storage=storage, queue="single", priority=priority)
            processes = [spawn(url, tmp_path, "single") for _ in range(WORKERS)]
            try:
                while not await are_done(storage, 16):
                    await asyncio.sleep(0.05)
            finally:
                (tmp_path / "stop").touch()
            end(processes)

    asyncio.run(main())
    begun = [line.split()[2] for line in (tmp_path / "seen").read_text().splitlines() if "begin" in line]
    # Three of four processes may have an urgent run in their hands while the fourth gets the slot.
    assert all(name.startswith("urgent") for name in begun[: 2 * (8 - (WORKERS - 1))]), begun
