"""The same families on storages that last: the same outcomes, also when processes are killed."""

from __future__ import annotations

import asyncio
import os
import pathlib
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pyworkflow import InMemoryStorageBackend, open_storage, start
from pyworkflow.definitions import WorkflowDefinition
from pyworkflow.engine.clock import VirtualClock
from pyworkflow_core.ids import derive_run_id
from pyworkflow_core.storage import StorageBackend
from pyworkflow_file import FileStorageBackend

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE))
from families import outcomes, work_off  # noqa: E402
from family_programs import PROGRAMS  # noqa: E402
from killable_family import RESULT  # noqa: E402
from simulated_runs import make_engine  # noqa: E402

sys.path.pop(0)

KILLS = int(os.environ.get("PYWORKFLOW_KILLS", "6"))


async def worked_off(storage: StorageBackend, program: WorkflowDefinition[Any, Any]) -> list[str]:
    clock = VirtualClock(auto=True)
    async with storage:
        engine = make_engine(storage, clock, 1)
        await start(program, storage=storage, queue="q")
        await work_off(engine, clock)
        return await outcomes(storage)


@pytest.mark.parametrize("scheme", ["file", "sqlite"])
def test_a_family_ends_on_every_storage_as_it_does_in_memory(scheme: str, tmp_path: Path) -> None:
    async def main() -> None:
        for n, program in enumerate(PROGRAMS):
            url = f"file:{tmp_path}/{n}" if scheme == "file" else f"sqlite:///{tmp_path}/{n}.db"
            expected = await worked_off(InMemoryStorageBackend(), program)
            assert await worked_off(open_storage(url), program) == expected, program

    asyncio.run(main())


def spawn(folder: Path, queue: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(HERE / "killable_family.py"), str(folder), queue]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def ended_well(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Kill it so long after it is ready; whether it had ended by itself, and well."""
    assert process.stdout is not None
    process.stdout.readline()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
    _, errors = process.communicate()
    assert process.returncode in {0, -9}, errors.decode()
    return process.returncode == 0


@pytest.mark.timeout(180 + 20 * KILLS)
def test_workers_of_two_queues_that_are_killed_again_and_again_finish_a_family(tmp_path: Path) -> None:
    rng = random.Random(KILLS)
    kills = 0
    for turn in range(200):
        processes = [spawn(tmp_path, queue) for queue in ("parents", "children")]
        # The first two have no time to finish; the last have all they need.
        seconds = 0.02 if turn == 0 else 60.0 if turn >= KILLS else rng.uniform(0.02, 0.4)
        done = [ended_well(process, seconds) for process in processes]
        kills += done.count(False)
        if all(done):
            break
    assert kills > 0

    async def check() -> None:
        async with FileStorageBackend(base_path=str(tmp_path)) as storage:
            record = await storage.get(derive_run_id("key", "family"))
            assert record is not None
            ends = await outcomes(storage)
            assert sum(f'"{RESULT}"' in end for end in ends) == 1
            # Three runs of the parent's chain with two children each, and nothing twice.
            assert len(ends) == 9

    asyncio.run(check())
