"""Processes that append to the same runs, claim the same runs, and are killed in mid-commit.

Short here; PYWORKFLOW_TEST_COMMITS (appends of each process, claims of each process) and
PYWORKFLOW_TEST_KILLS make them long.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from watching import Watcher, whole_appends

from pyworkflow_core.events import Event
from pyworkflow_core.storage import Committed
from pyworkflow_core.testing.appends import created

pytestmark = pytest.mark.kills

PROCESSES = 8
COMMITS = int(os.environ.get("PYWORKFLOW_TEST_COMMITS", "25"))
KILLS = int(os.environ.get("PYWORKFLOW_TEST_KILLS", "8"))
RUNS = 6
SIGKILLED = -9


async def child(program: str, *arguments: object) -> Any:
    """A process that is ready to go."""
    command = [sys.executable, str(Path(__file__).with_name(program)), *map(str, arguments)]
    made = await asyncio.create_subprocess_exec(
        *command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, limit=2**26
    )
    assert made.stdout is not None
    assert b"ready" in await made.stdout.readline()
    return made


async def go(made: Any) -> list[Any]:
    """Let it go, until it ends; what it told."""
    out, _ = await made.communicate(b"go\n")
    return [json.loads(line) for line in out.splitlines()]


async def watched(namespace: Any, work: Any) -> tuple[Any, dict[str, list[Event]]]:
    """What `work` returns, and the logs of the runs, which are watched meanwhile."""
    ended = asyncio.Event()
    async with namespace.open() as store, asyncio.TaskGroup() as tasks:
        watcher = Watcher(store, RUNS)
        watching = tasks.create_task(watcher.watch(ended))
        done = await work
        ended.set()
        logs = await watching
        assert watcher.looks > RUNS
        await nobody_sleeps_who_is_due(store)
    return done, logs


async def nobody_sleeps_who_is_due(store: Any) -> None:
    """Every run with a wake time is claimed, and no other."""
    awake = {r.run_id: r for r in await store.list_runs() if r.wake_at is not None}
    claims = await store.claim(owner="end", now=10**6, lease=10**6, limit=1000)
    assert {claim.run_id: claim.record for claim in claims} == awake


def check(told: Sequence[list[Any]], logs: dict[str, list[Event]]) -> int:
    """What is there was tried, once; what was acknowledged is there. The number of those."""
    tried, made = (
        {(run_id, tuple(ids)) for kind, run_id, ids in told if kind == wanted} for wanted in ("tries", "made")
    )
    there = [(run_id, tuple(ids)) for run_id, log in logs.items() for ids in whole_appends(log).values()]
    assert len(there) == len(set(there))
    assert set(there) <= tried
    assert made <= set(there)
    return len(made)


@pytest.mark.timeout(1200)
def test_what_eight_processes_append_is_there_once_and_true_at_every_moment(namespace: Any) -> None:
    async def work() -> list[Any]:
        children = [
            await child("appending.py", namespace.url, f"p{n}", COMMITS, RUNS, "never")
            for n in range(PROCESSES)
        ]
        told = await asyncio.gather(*map(go, children))
        assert [each.returncode for each in children] == [0] * PROCESSES
        return list(itertools.chain(*told))

    told, logs = asyncio.run(watched(namespace, work()))
    assert check(told, logs) == PROCESSES * COMMITS
    assert sum(len(whole_appends(log)) for log in logs.values()) == PROCESSES * COMMITS


@pytest.mark.timeout(3600)
def test_writers_that_are_killed_at_a_full_tail_leave_nothing_wrong(namespace: Any) -> None:
    numbers = iter(range(KILLS))

    async def writers() -> list[Any]:
        told = []
        for number in numbers:
            death = ("before", "after")[number % 2]
            made = await child("appending.py", namespace.url, f"p{number}", 10**6, RUNS // 2, death)
            told += await go(made)
            assert made.returncode == SIGKILLED
        return told

    async def work() -> list[Any]:
        return list(itertools.chain(*await asyncio.gather(writers(), writers())))

    told, logs = asyncio.run(watched(namespace, work()))
    assert check(told, logs) > KILLS
    assert len([each for each in told if each[0] == "tries"]) > KILLS


@pytest.mark.timeout(600)
def test_no_run_is_claimed_twice_under_one_lease(namespace: Any) -> None:
    due = [created(f"r{n}") for n in range(20)]

    async def work() -> list[Any]:
        async with namespace.open() as store:
            assert await store.commit(due) == [Committed(append.run_id, 1) for append in due]
            children = [await child("claiming.py", namespace.url, f"p{n}", COMMITS) for n in range(PROCESSES)]
            return list(itertools.chain(*await asyncio.gather(*map(go, children))))

    began = time.time_ns() // 1000
    leases: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for run_id, now, until in asyncio.run(work()):
        leases[run_id].append((now, until))
    assert leases.keys() == {append.run_id for append in due}
    for run_id, held in leases.items():
        for (begin, end), (later, _) in itertools.pairwise(sorted(held)):
            assert began < begin < end <= later, f"{run_id}: claimed at {later}, leased until {end}"
