"""Hooks and steps that record, while others append to the same logs; and answers that race."""

from __future__ import annotations

import asyncio
import json
import pathlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pyworkflow import InMemoryStorageBackend, hook, open_storage, resume, start, workflow
from pyworkflow.engine.clock import VirtualClock

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE))
from feature_programs import inside  # noqa: E402
from feature_runs import BEGINNING, run_program  # noqa: E402
from simulated_runs import make_engine  # noqa: E402
from storage_wrappers import NOISE, DisturbedStorage, Wrapper, append_from_outside  # noqa: E402

sys.path.pop(0)

PROCESSES = 8


@pytest.mark.parametrize("program", inside.PROGRAMS, ids=lambda p: p.name)
def test_a_program_whose_appends_meet_conflicts_ends_as_if_nothing_had_happened(program: Any) -> None:
    async def main() -> None:
        calm = Wrapper(InMemoryStorageBackend())
        assert await run_program(calm, program) == program.outcome
        patterns: list[Callable[[int], bool]] = [lambda k, n=n: k == n for n in range(2, calm.commits + 1)]
        patterns += [lambda k: k % 2 == 0 and k < 40, lambda k: k < 12]
        for when in patterns:
            storage = InMemoryStorageBackend()
            outsider = make_engine(storage, VirtualClock(BEGINNING), 5)

            async def noise(run_id: str, ids: Any = outsider.ids, inner: Any = storage) -> None:
                await append_from_outside(inner, run_id, NOISE, ids, BEGINNING)

            disturbed = DisturbedStorage(storage, noise, when)
            assert await run_program(disturbed, program) == program.outcome

    asyncio.run(main())


@workflow(name="disturbed.asking")
async def asking() -> Any:
    return await hook("question", token="the-answer")


def test_of_the_answers_of_eight_processes_exactly_one_is_accepted(tmp_path: Path) -> None:
    url = f"file:{tmp_path}/runs"

    async def begin() -> str:
        async with open_storage(url) as storage:
            return await start(asking, storage=storage)

    async def end(run_id: str) -> Any:
        async with open_storage(url) as storage:
            return await resume(run_id, storage=storage)

    run_id = asyncio.run(begin())
    go = tmp_path / "go"
    command = [sys.executable, str(HERE / "answering_process.py"), url, str(go)]
    pipe = subprocess.PIPE
    processes = [
        subprocess.Popen([*command, str(n)], stdout=pipe, stderr=pipe, text=True) for n in range(PROCESSES)
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        go.touch()
        ended = [process.communicate(timeout=100) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    said = [json.loads(out) if out else err for out, err in ended]
    accepted = [n for n, what in enumerate(said) if what == "accepted"]
    assert len(accepted) == 1, said
    assert said.count("HookAlreadyReceivedError") == PROCESSES - 1
    assert asyncio.run(end(run_id)) == accepted[0]
