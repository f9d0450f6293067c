"""Every feature, stopped at every append and taken up again: the outcome is the same.

In process on memory, at every boundary. By SIGKILL on every storage that lasts, at every
boundary with ``PYWORKFLOW_KILLS=all``, and at a few of them otherwise.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pathlib
import random
import subprocess
import sys
from pathlib import Path

import pytest

from pyworkflow import InMemoryStorageBackend

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE))
from any_storage import PERSISTENT, namespaces_of  # noqa: E402
from feature_programs import Program, all_programs  # noqa: E402
from feature_runs import run_program  # noqa: E402
from storage_wrappers import Killed, KillingStorage, Wrapper  # noqa: E402

sys.path.pop(0)

PROGRAMS = all_programs()
KILLS = os.environ.get("PYWORKFLOW_KILLS", "1")


async def count_commits(program: Program) -> int:
    """How many commits a calm run takes; also that it ends as the program says."""
    storage = Wrapper(InMemoryStorageBackend())
    outcome = await run_program(storage, program)
    assert program.outcome is None or outcome == program.outcome
    return storage.commits


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_that_is_stopped_at_any_append_ends_as_if_nothing_had_happened(name: str) -> None:
    program = PROGRAMS[name]

    async def main() -> None:
        expected = program.outcome or await run_program(InMemoryStorageBackend(), program)
        for n in range(1, await count_commits(program) + 1):
            for acknowledged in (False, True):
                storage = InMemoryStorageBackend()
                with contextlib.suppress(Killed):
                    await run_program(KillingStorage(storage, n, acknowledged=acknowledged), program)
                assert await run_program(storage, program, lives=1) == expected, (n, acknowledged)

    asyncio.run(main())


def boundaries(program: Program, seed: str) -> list[tuple[int, bool]]:
    """Where to kill: commits, and whether they are made before the end comes."""
    commits = asyncio.run(count_commits(program))
    every = [(n, made) for n in range(1, commits + 1) for made in (False, True)]
    return every if KILLS == "all" else random.Random(seed).sample(every, min(int(KILLS), len(every)))


# Many boundaries are a test for each program; a few are one for all, with one process to fork from.
TOGETHER = [[name] for name in PROGRAMS] if KILLS == "all" else [list(PROGRAMS)]


@pytest.mark.timeout(300 if KILLS != "all" else 3600)
@pytest.mark.parametrize("names", TOGETHER, ids=lambda names: names[0] if len(names) == 1 else "all")
@pytest.mark.parametrize(
    "kind", ["file", *[pytest.param(kind, marks=pytest.mark.kills) for kind in PERSISTENT if kind != "file"]]
)
def test_programs_whose_processes_are_killed_around_an_append_end_as_if_nothing_had_happened(
    kind: str, names: list[str], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    namespaces = namespaces_of(kind, request, tmp_path)
    with contextlib.ExitStack() as stack:
        jobs = [
            json.dumps([stack.enter_context(namespaces.fresh()), name, n, made])
            for name in names
            for n, made in boundaries(PROGRAMS[name], f"{kind} {name}")
        ]
        command = [sys.executable, str(HERE / "killed_features.py"), stack.enter_context(namespaces.fresh())]
        done = subprocess.run(command, input="\n".join(jobs), capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr[-5000:]}"
