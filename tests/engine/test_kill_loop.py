"""Processes killed at random moments and started again lose nothing that was acknowledged.

``PYWORKFLOW_KILL_RUNS=200`` makes it a long loop.
"""

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

from pyworkflow_core.ids import derive_run_id
from pyworkflow_file import FileStorageBackend

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE))
from killable_program import RESULT, STEPS, program  # noqa: E402
from simulated_runs import check_log, log_of, places_completed, recorded, replay  # noqa: E402

sys.path.pop(0)

RUNS = int(os.environ.get("PYWORKFLOW_KILL_RUNS", "6"))
AT_ONCE = 3


def spawn(folder: Path, key: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(HERE / "killable_program.py"), str(folder / "store"), key]
    return subprocess.Popen([*command, str(folder / "acks")], stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def wait_until_killed(process: subprocess.Popen[bytes], seconds: float) -> bool:
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


async def check(folder: Path, key: str) -> dict[str, Any]:
    storage = FileStorageBackend(base_path=str(folder / "store"))
    run_id = derive_run_id("key", key)
    try:
        events = await storage.read(run_id)
        record = await storage.get(run_id)
        assert record is not None
        check_log(events, record)
        history = await log_of(storage, run_id)
        assert recorded(history) == ("completed", str(RESULT).encode())
        assert replay(history) == recorded(history)
        assert len(places_completed(history)) == STEPS
        acknowledged = [line.split() for line in (folder / "acks").read_text().splitlines()]
        stored = {(str(e.sequence), e.event_id) for e in events}
        lost = {(n, event) for run, n, event in acknowledged if run == run_id} - stored
        assert lost == set(), "acknowledged, and not in the log"
        return {"acknowledged": len(acknowledged), "events": len(events)}
    finally:
        await storage.close()


@pytest.mark.timeout(60 + 10 * RUNS)
def test_runs_whose_processes_are_killed_again_and_again_complete_and_lose_nothing(tmp_path: Path) -> None:
    rng = random.Random(RUNS)
    keys = [f"run{n}" for n in range(RUNS)]
    left = list(keys)
    kills = 0
    for turn in range(1000):
        now = left[:AT_ONCE]
        if not now:
            break
        # Patience grows, so that every run gets through in the end.
        moments = [rng.uniform(0.0, 0.15) + 0.05 * (turn // 10) for _ in now]
        processes = [spawn(tmp_path, key) for key in now]
        done = [wait_until_killed(p, s) for p, s in zip(processes, moments, strict=True)]
        kills += done.count(False)
        left = [key for key, ended in zip(now, done, strict=True) if not ended] + left[AT_ONCE:]
        rng.shuffle(left)
    assert left == []
    assert kills > 0
    for key in keys:
        asyncio.run(check(tmp_path, key))


def test_two_processes_that_drive_one_run_record_each_step_once(tmp_path: Path) -> None:
    first = spawn(tmp_path, "shared")
    wait_until_killed(first, 0.0)
    both = [spawn(tmp_path, "shared") for _ in range(2)]
    assert [wait_until_killed(process, 60) for process in both] == [True, True]
    asyncio.run(check(tmp_path, "shared"))


def test_the_killed_program_is_the_one_that_is_replayed() -> None:
    assert program.name == "killable.program"
