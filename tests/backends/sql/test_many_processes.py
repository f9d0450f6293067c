"""Eight processes append to the same runs, and a reader follows the feed."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from pyworkflow_core.events import Event
from pyworkflow_core.testing.looks import follow

pytestmark = pytest.mark.kills

PROCESSES = 8
COMMITS = int(os.environ.get("PYWORKFLOW_TEST_COMMITS", "30"))
RUNS = 12


async def follow_while(store: Any, ended: asyncio.Event) -> tuple[list[Event], str | None]:
    """The feed, read as it grows, and the position behind it."""
    found: list[Event] = []
    position = None
    while True:
        last = ended.is_set()
        page = await store.feed(after=position, limit=50)
        found += page.events
        position = page.position
        if not page.events:
            if last:
                return found, position
            await asyncio.sleep(0.005)


async def race(database: Any) -> tuple[list[dict[str, Any]], list[Event], dict[str, list[Event]]]:
    command = [sys.executable, str(Path(__file__).with_name("overlapping.py")), database.url]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    async with database.open(feed=1) as store:
        children = [
            await asyncio.create_subprocess_exec(*command, f"p{n}", str(COMMITS), str(RUNS), **pipes)
            for n in range(PROCESSES)
        ]
        for child in children:
            assert await child.stdout.readline() == b"ready\n"
        ended = asyncio.Event()
        following = asyncio.create_task(follow_while(store, ended))
        outputs = await asyncio.gather(*[child.communicate(b"go\n") for child in children])
        assert [child.returncode for child in children] == [0] * PROCESSES
        ended.set()
        logs = {f"r{n}": await store.read(f"r{n}") for n in range(RUNS)}
        found, position = await following
        seen = {(event.run_id, event.event_id) for event in found}
        last = [(run_id, log[-1].event_id) for run_id, log in logs.items() if log]
        rest = await follow(store, after=position, until=[event for event in last if event not in seen])
        return [json.loads(out) for out, _ in outputs], [*found, *rest.events], logs


@pytest.mark.timeout(600)
def test_nothing_is_lost_or_doubled_and_every_head_was_true(database: Any) -> None:
    told, found, logs = asyncio.run(race(database))
    stored = {(e.run_id, e.sequence): e.event_id for log in logs.values() for e in log}
    acknowledged = [tuple(event) for child in told for event in child["acknowledged"]]
    assert sorted(acknowledged) == sorted((*place, event_id) for place, event_id in stored.items())
    for run_id, log in logs.items():
        assert [e.sequence for e in log] == list(range(1, len(log) + 1)), run_id
        # An append's events share a prefix, and heads are where it changes.
        prefixes = [e.event_id.rpartition("-")[0] for e in log] + [""]
        heads = {n for n in range(1, len(log) + 1) if prefixes[n - 1] != prefixes[n]}
        conflicts = {head for child in told for run, head in child["heads"] if run == run_id}
        assert conflicts <= heads | {0}, run_id
    in_feed: dict[str, list[int]] = defaultdict(list)
    for event in found:
        in_feed[event.run_id].append(event.sequence)
    assert in_feed == {run_id: [e.sequence for e in log] for run_id, log in logs.items()}
