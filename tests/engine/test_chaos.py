"""Workers that are killed at random while runs of every feature are under way: nothing is lost or doubled.

``PYWORKFLOW_CHAOS=500`` starts so many runs, some each second, and kills a worker every second for a minute.
"""

from __future__ import annotations

import asyncio
import os
import pathlib
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from pyworkflow import InMemoryStorageBackend, open_storage, start
from pyworkflow.engine.engine import Engine, use_engine
from pyworkflow.engine.outside import end_of_chain
from pyworkflow_core.storage import StorageBackend

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE))
from any_storage import namespaces_of  # noqa: E402
from chaos_worker import SETTINGS, FastClock  # noqa: E402
from feature_programs import Program, all_programs  # noqa: E402
from feature_runs import all_records, outcome_of, run_program  # noqa: E402
from simulated_runs import check_log  # noqa: E402

sys.path.pop(0)

pytestmark = pytest.mark.kills

RUNS = int(os.environ.get("PYWORKFLOW_CHAOS", "0"))
KILLS = 60 if RUNS else 4
WORKERS = 4
PROGRAMS = [program for program in all_programs().values() if program.in_numbers]
COUNT = RUNS or len(PROGRAMS)
AT_ONCE = -(-COUNT * 5 // (KILLS * 4))  # a second: so that all but the last kills meet runs at work


def spawn(url: str, epoch: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(HERE / "chaos_worker.py"), url, str(epoch)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


async def expected_outcomes() -> dict[str, tuple[str, Any]]:
    return {p.name: p.outcome or await run_program(InMemoryStorageBackend(), p) for p in PROGRAMS}


async def begin(storage: StorageBackend, numbers: range) -> list[tuple[Program, str]]:
    begun = []
    for n in numbers:
        program = PROGRAMS[n % len(PROGRAMS)]
        key = f"{program.name} {n}"
        run_id = await start(
            program.workflow, *program.args, storage=storage, idempotency_key=key, queue=f"q{n % 3}"
        )
        begun.append((program, run_id))
    return begun


async def act(engine: Engine, begun: list[tuple[Program, str]]) -> int:
    """Do what the outside world does for each run that has not ended; how many there are.

    Its clock is the workers': whoever looks for the end of a chain creates the run that is owed there.
    """
    storage = engine.storage
    left = 0
    for program, run_id in begun:
        record = await end_of_chain(engine, run_id)
        assert record is not None
        if not record.status.is_terminal:
            left += 1
            if program.act is not None:
                await program.act(storage, run_id)
        elif record.detail.owes:
            left += 1
    return left


@pytest.mark.timeout(900 if RUNS else 180)
@pytest.mark.parametrize("kind", ["file", "postgresql", "redis", "mongodb"] if RUNS else ["file"])
def test_runs_of_every_feature_end_well_while_their_workers_are_killed(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    epoch = time.time_ns()
    rng = random.Random(kind)

    async def main(url: str) -> None:
        expected = await expected_outcomes()
        async with open_storage(url) as storage:
            engine = Engine(storage, clock=FastClock(epoch), settings=SETTINGS)
            use_engine(engine)
            begun: list[tuple[Program, str]] = []
            workers = [spawn(url, epoch) for _ in range(WORKERS)]
            try:
                for _ in range(KILLS):
                    begun += await begin(storage, range(len(begun), min(len(begun) + AT_ONCE, COUNT)))
                    await asyncio.sleep(1)
                    n = rng.randrange(WORKERS)
                    workers[n].kill()
                    workers[n].wait()
                    workers[n] = spawn(url, epoch)
                    await act(engine, begun)
                assert len(begun) == COUNT
                while await act(engine, begun):
                    assert all(worker.poll() is None for worker in workers), "a worker ended by itself"
                    await asyncio.sleep(0.5)
            finally:
                for worker in workers:
                    worker.kill()
                    worker.wait()
            wrong = []
            for program, run_id in begun:
                record = await end_of_chain(engine, run_id)
                assert record is not None
                outcome = await outcome_of(storage, engine, record, family=False)
                if outcome != expected[program.name]:
                    log = [str(event.type) for event in await storage.read(record.run_id)]
                    wrong.append((program.name, record.run_id, outcome, expected[program.name], log))
            assert wrong == []
            for record in await all_records(storage):  # of children, streams and schedules, too
                check_log(await storage.read(record.run_id), record)

    with namespaces_of(kind, request, tmp_path).fresh() as url:
        asyncio.run(main(url))
