"""Streams between processes: emitters that race, workers that are killed, appends that conflict."""

from __future__ import annotations

import asyncio
import json
import pathlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pyworkflow import InMemoryStorageBackend, emit, get_workflow_run, resume, start
from pyworkflow.engine.clock import VirtualClock
from pyworkflow.streams.naming import stream_run
from pyworkflow_core.ids import derive_run_id
from pyworkflow_core.record import RunRecord
from pyworkflow_core.storage import StorageBackend
from pyworkflow_file import FileStorageBackend

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE))
from families import work_off  # noqa: E402
from feature_programs.streams import streaming  # noqa: E402
from killable_stream import SIGNALS, stream  # noqa: E402
from simulated_runs import check_log, log_of, make_engine, recorded, replay  # noqa: E402
from storage_wrappers import DisturbedStorage  # noqa: E402

sys.path.pop(0)

HUB = stream_run("killable.stream", None)


def spawn(*args: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, str(HERE / "killable_stream.py"), *args], stdout=subprocess.PIPE)


async def until(storage: FileStorageBackend, reached: Any) -> RunRecord:
    """Look at the stream's run until it has come so far."""
    while True:
        record = await storage.get(HUB)
        if record is not None and reached(record):
            return record
        await asyncio.sleep(0.02)


@pytest.mark.timeout(180)
def test_steps_handle_the_signals_of_racing_processes_once_and_in_one_order_though_a_worker_is_killed(
    tmp_path: Path,
) -> None:
    emitters = [spawn("emit", str(tmp_path), name) for name in ("a", "b", "c")]
    workers = [spawn("work", str(tmp_path)) for _ in range(2)]

    async def main() -> dict[str, list[str]]:
        async with FileStorageBackend(base_path=str(tmp_path)) as storage:
            await until(storage, lambda record: record.head >= 150)
            workers[0].kill()
            for emitter in emitters:
                await asyncio.to_thread(emitter.wait)
                assert emitter.returncode == 0
            await emit(stream, "end", storage=storage)
            await until(storage, lambda record: record.status.is_terminal)
            run = await get_workflow_run(HUB, storage)
            assert run is not None
            assert run.result["status"] == "completed"
            while any(record.detail.owes for record in await storage.list_runs()):
                await asyncio.sleep(0.02)
            for record in await storage.list_runs():
                check_log(await storage.read(record.run_id), record)
            return {name: json.loads(end["result"]) for name, end in run.result["steps"].items()}

    try:
        seen = asyncio.run(main())
    finally:
        for process in (*emitters, *workers):
            process.kill()
            process.communicate()
    assert seen["first"] == seen["second"]
    expected = {f"{name} {n}" for name in "abc" for n in range(SIGNALS)}
    assert len(seen["first"]) == len(expected)
    assert set(seen["first"]) == expected
    for name in "abc":  # what one process said one after the other stays in that order
        own = [signal for signal in seen["first"] if signal.startswith(name)]
        assert own == [f"{name} {n}" for n in range(SIGNALS)]


async def play(storage: StorageBackend, clock: VirtualClock) -> Any:
    engine = make_engine(storage, clock, 1)
    run_id = await start(streaming, "x", storage=storage, queue="q", idempotency_key="p")
    await work_off(engine, clock)
    for record in await storage.list_runs():
        history = await log_of(storage, record.run_id)
        assert replay(history, run=record) == recorded(history)
    return await resume(run_id, storage=storage)


@pytest.mark.parametrize("every", [1, 2, 3, 5])
def test_signals_that_come_while_the_stream_appends_are_neither_lost_nor_doubled(every: int) -> None:
    async def main() -> None:
        expected = await play(InMemoryStorageBackend(), VirtualClock(auto=True))
        inner, clock = InMemoryStorageBackend(), VirtualClock(auto=True)
        make_engine(inner, clock, 2)
        said: list[int] = []

        async def say_something(run_id: str) -> None:
            told = derive_run_id("key", "p")
            hub = await inner.get(stream_run("programs.letters", told))
            if hub is not None and not hub.status.is_terminal and len(said) < 12:
                n = len(said)
                said.append(n)
                await emit(
                    "programs.letters", "number", n, stream_run_id=told, signal_id=f"n {n}", storage=inner
                )

        result = await play(DisturbedStorage(inner, say_something, lambda n: n % every == 0), clock)
        assert len(said) == 12
        heard = result["collects"]
        assert [x for x in heard if isinstance(x, int)] == said
        assert [x for x in heard if isinstance(x, str)] == expected["collects"]

    asyncio.run(main())
