"""Eight processes append to the same runs and handle what is due: nothing is lost, doubled or forgotten."""

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

pytestmark = pytest.mark.kills

PROCESSES = 8
APPENDS = int(os.environ.get("PYWORKFLOW_TEST_APPENDS", "100"))
RUNS = 40
LINE = 2**26


async def follow(store: Any, ended: asyncio.Event) -> list[Event]:
    """The feed, read as it grows."""
    found: list[Event] = []
    position = None
    while True:
        last = ended.is_set()
        page = await store.feed(after=position, limit=500)
        found += page.events
        position = page.position
        if not page.events:
            if last:
                return found
            await asyncio.sleep(0.01)


async def crowd(namespace: Any) -> None:
    program = str(Path(__file__).with_name("crowd.py"))
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "limit": LINE}
    words = [namespace.url, namespace.name]
    async with namespace.open(feed=True) as store:
        children = [
            await asyncio.create_subprocess_exec(
                sys.executable, program, *words, f"p{n}", str(APPENDS), str(RUNS), **pipes
            )
            for n in range(PROCESSES)
        ]
        ended = asyncio.Event()
        following = asyncio.create_task(follow(store, ended))
        for expected in (b"ready\n", b"done\n"):
            for child in children:
                assert await child.stdout.readline() == expected
            for child in children:
                child.stdin.write(b"go\n")
        outputs = await asyncio.gather(*[child.communicate() for child in children])
        assert [child.returncode for child in children] == [0] * PROCESSES
        ended.set()
        found = await following
        told = [tuple(event) for out, _ in outputs for event in json.loads(out)]
        logs = {
            record.run_id: await store.read(record.run_id) for record in await store.list_runs(limit=RUNS)
        }
        records = {run_id: await store.get(run_id) for run_id in logs}
        late = await store.claim(owner="late", now=2**62, lease=1, limit=1)
    check(told, found, logs)
    # Whoever was woken was handled: nobody is due, and everybody waits, unless the last append did not wake.
    assert late == []
    for run_id, record in records.items():
        assert record is not None
        assert record.wake_at is None, run_id


def check(told: list[tuple[Any, ...]], found: list[Event], logs: dict[str, list[Event]]) -> None:
    """What was acknowledged is there exactly once, in the logs and in the feed."""
    assert len(told) >= PROCESSES * APPENDS
    stored = {(e.run_id, e.sequence): e.event_id for log in logs.values() for e in log}
    assert sorted(told) == sorted((*place, event_id) for place, event_id in stored.items())
    in_feed: dict[str, list[int]] = defaultdict(list)
    for event in found:
        in_feed[event.run_id].append(event.sequence)
    for run_id, log in logs.items():
        assert [e.sequence for e in log] == list(range(1, len(log) + 1)), run_id
        assert in_feed[run_id] == list(range(1, len(log) + 1)), run_id


@pytest.mark.timeout(900)
def test_a_crowd_on_one_server_loses_nothing(namespace: Any) -> None:
    asyncio.run(crowd(namespace))


@pytest.mark.timeout(900)
def test_a_crowd_on_a_cluster_loses_nothing(cluster_namespace: Any) -> None:
    asyncio.run(crowd(cluster_namespace))
