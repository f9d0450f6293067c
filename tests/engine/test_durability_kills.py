"""What a crash executes again, by durability: exactly what was not written."""

from __future__ import annotations

import asyncio
import pathlib
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from pyworkflow import resume, start, step, workflow
from pyworkflow.durability import Durability
from pyworkflow.engine.clock import VirtualClock
from pyworkflow.engine.engine import Settings
from pyworkflow_core.ids import derive_run_id
from pyworkflow_core.storage import Append

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE))
from killed_steps import KILLED_IN  # noqa: E402
from simulated_runs import LEASE, check_log, log_of, make_engine, recorded, replay  # noqa: E402
from storage_wrappers import Killed  # noqa: E402
from watched_commits import WatchedCommits  # noqa: E402

sys.path.pop(0)

RUN = derive_run_id("key", "program")
executed: list[int] = []


@step(name="killed.count", max_retries=0)
async def count(n: int) -> int:
    executed.append(n)
    return n


@workflow(name="killed.counts", max_recovery_attempts=10)
async def counts() -> int:
    return sum([await count(n) for n in range(10)])


class Dying(WatchedCommits):
    """Its process dies in the commit of this number, when so many steps were executed."""

    def __init__(self, number: int, executions: int) -> None:
        super().__init__()
        self.number = number
        self.executions = executions

    async def before(self, appends: Sequence[Append]) -> None:
        await super().before(appends)
        if self.commits >= self.number:
            while len(executed) < self.executions:
                await asyncio.sleep(0)
            raise Killed


@pytest.mark.parametrize(
    ("durability", "number", "executions", "again"),
    [
        # The second commit has the completion of 0 and the beginning of 1, the third is not made.
        ("sync", 3, 2, 1),
        ("pipelined", 3, 7, 1),
        ("pipelined", 2, 4, 0),
        ("exit", 2, 10, 0),
    ],
)
def test_a_crash_executes_again_what_was_not_written_and_nothing_else(
    durability: Durability, number: int, executions: int, again: int
) -> None:
    executed.clear()

    async def main() -> None:
        storage = Dying(number, executions)
        clock = VirtualClock(auto=True)
        make_engine(storage, clock, 0, Settings(durability=durability))
        with pytest.raises(Killed):
            await start(counts, storage=storage, idempotency_key="program")
        assert executed[:executions] == list(range(executions))
        executed.clear()
        clock.advance(LEASE)
        make_engine(storage.inner, clock, 1, Settings(durability=durability))
        assert await resume(RUN, storage=storage.inner) == 45
        assert executed == list(range(again, 10))
        record = await storage.inner.get(RUN)
        assert record is not None
        check_log(await storage.inner.read(RUN), record)
        history = await log_of(storage.inner, RUN)
        assert replay(history) == recorded(history)

    asyncio.run(main())


@pytest.mark.kills
@pytest.mark.parametrize(
    ("durability", "earliest", "latest"),
    [
        ("sync", KILLED_IN, KILLED_IN),
        # What was in flight: at least the step under way, and nothing from before the sleep.
        ("pipelined", 4, KILLED_IN),
        ("exit", 4, 4),
    ],
)
def test_a_process_that_is_killed_in_a_step_repeats_no_step_from_before_the_last_barrier(
    durability: Durability, earliest: int, latest: int, tmp_path: Path
) -> None:
    command: list[Any] = [sys.executable, HERE / "killed_steps.py", tmp_path / "store", durability]
    lives = [subprocess.run([*command, tmp_path / "executed"], check=False, timeout=60) for _ in range(2)]
    assert [life.returncode for life in lives] == [-signal.SIGKILL, 0]
    numbers = [int(line) for line in (tmp_path / "executed").read_text().split()]
    first, second = numbers[: KILLED_IN + 1], numbers[KILLED_IN + 1 :]
    assert first == list(range(KILLED_IN + 1))
    assert second == list(range(second[0], 9))
    assert earliest <= second[0] <= latest
