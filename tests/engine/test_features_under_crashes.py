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
from typing import Any

import pytest

from pyworkflow import InMemoryStorageBackend
from pyworkflow.durability import Durability

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE))
from any_storage import PERSISTENT, namespaces_of  # noqa: E402
from feature_programs import Program, all_programs, basic  # noqa: E402
from feature_runs import LONG_LEASE, run_program  # noqa: E402
from simulated_runs import LEASE  # noqa: E402
from storage_wrappers import Killed, KillingStorage, Wrapper  # noqa: E402

sys.path.pop(0)

PROGRAMS = all_programs()
BASIC = [program.name for program in basic.PROGRAMS]
KILLS = os.environ.get("PYWORKFLOW_KILLS", "1")


async def count_commits(program: Program, durability: Durability = "sync") -> int:
    """How many commits a calm run takes; also that it ends as the program says."""
    storage = Wrapper(InMemoryStorageBackend())
    outcome = await run_program(storage, program, durability=durability)
    assert program.outcome is None or outcome == program.outcome
    return storage.commits


def programs_by_durability() -> list[Any]:
    """Every program; with results written later the basic ones, and all of them among the kills."""
    cases: list[Any] = [pytest.param(name, "sync", id=name) for name in PROGRAMS]
    for durability in ("pipelined", "exit"):
        for name in PROGRAMS:
            marks = [] if name in BASIC else [pytest.mark.kills]
            cases.append(pytest.param(name, durability, id=f"{name}, {durability}", marks=marks))
    return cases


@pytest.mark.parametrize(("name", "durability"), programs_by_durability())
def test_a_program_that_is_stopped_at_any_append_ends_as_if_nothing_had_happened(
    name: str, durability: Durability
) -> None:
    program = PROGRAMS[name]

    async def main() -> None:
        expected = program.outcome or await run_program(InMemoryStorageBackend(), program)
        for n in range(1, await count_commits(program, durability) + 1):
            for acknowledged in (False, True):
                storage = InMemoryStorageBackend()
                # What one commit has made is what the next one has not: so each state is taken up
                # at once, and also when all else has gone on.
                how: Any = {"durability": durability, "lease": LONG_LEASE if acknowledged else LEASE}
                with contextlib.suppress(Killed):
                    killing = KillingStorage(storage, n, acknowledged=acknowledged)
                    await run_program(killing, program, **how)
                outcome = await run_program(storage, program, lives=1, **how)
                assert outcome == expected, (n, acknowledged)

    asyncio.run(main())


def boundaries(program: Program, durability: Durability, seed: str) -> list[tuple[int, bool]]:
    """Where to kill: commits, and whether they are made before the end comes."""
    commits = asyncio.run(count_commits(program, durability))
    every = [(n, made) for n in range(1, commits + 1) for made in (False, True)]
    return every if KILLS == "all" else random.Random(seed).sample(every, min(int(KILLS), len(every)))


def storages_by_durability() -> list[Any]:
    """Every storage that lasts, and the file store with results written later, too."""
    more = [(kind, "sync") for kind in PERSISTENT if kind != "file"]
    more += [("file", "pipelined"), ("file", "exit")]
    kills = [pytest.param(*case, id=", ".join(case), marks=pytest.mark.kills) for case in more]
    return [pytest.param("file", "sync", id="file, sync"), *kills]


# Many boundaries are a test for each program; a few are one for all, with one process to fork from.
TOGETHER = [[name] for name in PROGRAMS] if KILLS == "all" else [list(PROGRAMS)]


@pytest.mark.timeout(300 if KILLS != "all" else 3600)
@pytest.mark.parametrize("names", TOGETHER, ids=lambda names: names[0] if len(names) == 1 else "all")
@pytest.mark.parametrize(("kind", "durability"), storages_by_durability())
def test_programs_whose_processes_are_killed_around_an_append_end_as_if_nothing_had_happened(
    kind: str, durability: Durability, names: list[str], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    namespaces = namespaces_of(kind, request, tmp_path)
    with contextlib.ExitStack() as stack:
        jobs = [
            json.dumps([stack.enter_context(namespaces.fresh()), name, n, made, durability])
            for name in names
            for n, made in boundaries(PROGRAMS[name], durability, f"{kind} {name}")
        ]
        command = [sys.executable, str(HERE / "killed_features.py"), stack.enter_context(namespaces.fresh())]
        done = subprocess.run(command, input="\n".join(jobs), capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr[-5000:]}"
