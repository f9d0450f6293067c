"""However a process is killed, a step's row and its completion are both there, or neither is.

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
from sqlalchemy import text

from pyworkflow_core.codec import default_codec
from pyworkflow_core.ids import derive_run_id
from pyworkflow_core.payloads import StepCompleted
from pyworkflow_core.plugins import open_storage

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE))
from own_tables import OwnTable  # noqa: E402
from paying_program import STEPS, program  # noqa: E402
from simulated_runs import check_log, log_of, recorded, replay  # noqa: E402

sys.path.pop(0)

pytestmark = pytest.mark.kills

RUNS = int(os.environ.get("PYWORKFLOW_KILL_RUNS", "3"))
AT_ONCE = 2


class Processes:
    """Starts processes on runs, and kills them."""

    def __init__(self, own: OwnTable) -> None:
        command = [sys.executable, str(HERE / "paying_program.py"), own.url, own.name]
        self._parent = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def drive(self, seconds: dict[str, float]) -> list[bool]:
        """Kill each run's process after so many seconds; whether it had ended by itself, and well."""
        parent = self._parent
        assert parent.stdin is not None
        assert parent.stdout is not None
        parent.stdin.write(" ".join(f"{key} {moment}" for key, moment in seconds.items()) + "\n")
        parent.stdin.flush()
        codes = [int(code) for code in parent.stdout.readline().split()]
        assert len(codes) == len(seconds)
        assert set(codes) <= {0, -9}
        return [code == 0 for code in codes]

    def close(self) -> None:
        """End the parent of all of them."""
        self._parent.communicate()


async def completed(storage: Any, run_id: str) -> list[int]:
    """The numbers of the paying steps whose completions the log holds."""
    return [
        default_codec.decode(bytes(e.data.result))
        for e in await log_of(storage, run_id)
        if isinstance(e.data, StepCompleted) and e.data.step == "paying.pay"
    ]


async def rows(own: OwnTable, storage: Any, key: str) -> list[int]:
    """The numbers that are in the table."""
    async with storage.transaction() as connection:
        asked = text(f"SELECT n FROM {own.name} WHERE run = :run ORDER BY n")
        return [row[0] for row in await connection.execute(asked, {"run": key})]


async def check(own: OwnTable, key: str, *, ended: bool) -> None:
    """Find no row without a completion, and no completion without its row."""
    async with open_storage(own.url) as storage:
        run_id = derive_run_id("key", key)
        # A server may still commit what a process had sent before it was killed.
        before = await completed(storage, run_id)
        found = await rows(own, storage, key)
        after = await completed(storage, run_id)
        assert len(set(found)) == len(found), "a row was written twice"
        assert set(before) <= set(found), "a completion without its row"
        assert set(found) <= set(after), "a row without its completion"
        if ended:
            record = await storage.get(run_id)
            assert record is not None
            check_log(await storage.read(run_id), record)
            history = await log_of(storage, run_id)
            assert recorded(history) == ("completed", str(sum(range(STEPS))).encode())
            assert replay(history) == recorded(history)
            assert found == list(range(STEPS))


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
@pytest.mark.timeout(120 + 30 * RUNS)
def test_killed_processes_leave_no_row_without_its_completion_and_none_the_other_way_round(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    own = OwnTable(kind, request, tmp_path)

    async def prepare() -> None:
        async with open_storage(own.url) as storage:
            await own.make(storage, "run VARCHAR(50), n INTEGER")

    async def remove() -> None:
        async with open_storage(own.url) as storage:
            await own.drop(storage)

    asyncio.run(prepare())
    rng = random.Random(RUNS)
    left = [f"run{n}" for n in range(RUNS)]
    kills = 0
    processes = Processes(own)
    try:
        for turn in range(1000):
            now = left[:AT_ONCE]
            if not now:
                break
            # Patience grows, so that every run gets through in the end.
            done = processes.drive({key: rng.uniform(0.0, 0.2 + turn / 20) for key in now})
            kills += done.count(False)
            for key, ended in zip(now, done, strict=True):
                asyncio.run(check(own, key, ended=ended))
            left = [key for key, ended in zip(now, done, strict=True) if not ended] + left[AT_ONCE:]
            rng.shuffle(left)
        assert left == []
        assert kills > 0
        assert program.name == "paying.program"
    finally:
        processes.close()
        asyncio.run(remove())
