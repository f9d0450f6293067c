"""Runs programs in processes that kill themselves around their n-th commit, and in others to their ends.

``killed_features.py URL``: each line of its input is a job as JSON, ``[URL, PROGRAM, N, MADE, DURABILITY]``.
Both processes are forks of this one, which has imported everything: it has run a program on the URL of its
own, since what a storage imports as it is used takes ten times as long as a job. It says which jobs failed.
"""

from __future__ import annotations

import asyncio
import json
import os
import pathlib
import signal
import sys
import traceback
from collections.abc import Sequence
from typing import Any

from pyworkflow import InMemoryStorageBackend, open_storage
from pyworkflow.durability import Durability
from pyworkflow_core.storage import Answer, Append, StorageBackend

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from feature_programs import all_programs
from feature_runs import LONG_LEASE, run_program
from simulated_runs import LEASE
from storage_wrappers import Wrapper


class Suicidal(Wrapper):
    """Kills its process around the n-th commit: before it is made, or before anybody learns of it."""

    def __init__(self, inner: StorageBackend, at: int, *, made: bool) -> None:
        super().__init__(inner)
        self._at = at
        self._made = made

    async def before(self, appends: Sequence[Append]) -> None:
        if self.commits == self._at and not self._made:
            os.kill(os.getpid(), signal.SIGKILL)

    async def after(self, appends: Sequence[Append], answers: list[Answer]) -> None:
        if self.commits == self._at:
            os.kill(os.getpid(), signal.SIGKILL)


def in_a_fork(work: Any) -> int:
    """Run a coroutine function in a process of its own; how that ended, as `os.wait` says it."""
    child = os.fork()
    if not child:
        code = 1
        try:
            asyncio.run(work())
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main(url: str, name: str, at: int, made: bool, durability: Durability) -> bool:
    """Whether the program ends as it should."""
    program = PROGRAMS[name]
    # In every second case all else goes on before somebody takes up what the dead process had.
    how: Any = {"durability": durability, "lease": LONG_LEASE if made else LEASE}

    async def first_life() -> None:
        async with open_storage(url) as storage:
            await run_program(Suicidal(storage, at, made=made), program, **how)

    async def second_life() -> None:
        expected = program.outcome or await run_program(InMemoryStorageBackend(), program)
        async with open_storage(url) as storage:
            outcome = await run_program(storage, program, lives=1, **how)
            assert outcome == expected, f"{outcome} instead of {expected}"

    # Where a storage answers otherwise than memory does, the commit may never come.
    return in_a_fork(first_life) in {0, -signal.SIGKILL} and in_a_fork(second_life) == 0


async def warm_up(url: str) -> None:
    async with open_storage(url) as storage:
        await run_program(storage, PROGRAMS["steps"])


if __name__ == "__main__":
    PROGRAMS = all_programs()
    asyncio.run(warm_up(sys.argv[1]))
    failed = [job for job in map(json.loads, sys.stdin) if not main(*job)]
    for job in failed:
        print(f"{job[1]}, {job[4]}: killed at {job[2]}, {'made' if job[3] else 'not made'}")
    sys.exit(bool(failed))
