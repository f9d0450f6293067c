"""What a step costs, in counts that are the same on every machine: calls, trips, syncs, events, bytes."""

from __future__ import annotations

import asyncio
import pathlib
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct

from pyworkflow import resume, resume_hook, start
from pyworkflow.engine.clock import VirtualClock
from pyworkflow.engine.engine import Engine, Settings
from pyworkflow_core.storage import StorageBackend

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from any_storage import STORAGES, namespaces_of
from counted_programs import asks, at_once, much_to_replay, parent, sequence, sleeps
from counted_storages import Counts, counted
from counted_trips import COMMIT, TRIPS
from simulated_runs import make_engine, take_up

sys.path.pop(0)

HOUR = 3_600_000_000
# So far ahead that no run is due by the machine's clock, for which some storages would ring a bell.
BEGINNING = 4_000_000_000_000_000
CROWD = 200
STEPS_OF_THE_CROWD = 10
# 200 runs append 11 times each. Were each append a commit of its own, these were 2,200; if all went
# together each time, 11. 13 are counted: the first to begin does not wait for the others.
MOST_COMMITS_OF_THE_CROWD = 18
# A step's line: 205 bytes of events, and 125 for the run, its incarnation, two ids and the checksum. The
# record is not there, since it follows from the events.
BYTES_IN_THE_JOURNAL = 330


class Cost(Struct):
    """What a program costs, whatever the storage.

    Attributes:
        calls: calls of the contract by name: all of them.
        events: events appended.
        bodies: bytes of these; None where a storage's own token is among them.
        records: bytes of the records of all appends; None likewise.
    """

    calls: dict[str, int]
    events: int = 0
    bodies: int | None = None
    records: int | None = None


# Every number is exact: ids, time and chance are given. Who changes one should want to.
COSTS = {
    # A step is one commit of two events: how the last step ended goes with the beginning of the next. It
    # is 205 bytes of log, 119 for the call and 86 for the result, and a record of 382 beside them.
    "20 more steps": Cost({"commit": 20}, 40, 4100, 7640),
    # Beginning and end are one append where nothing has to be waited for.
    "a run without steps": Cost({"commit": 1}, 2, 199, 407),
    # All calls are appended with the beginning. All steps end before the loop comes to the run again,
    # and so all results are one append with the end.
    "100 steps at once": Cost({"commit": 2}, 202, 20642, 790),
    "a run for a worker": Cost({"commit": 1}, 1, 114, 279),
    # One commit says what is waited for, and that nobody drives the run any more.
    "a sleep": Cost({"commit": 1}, 3, 374, 381),
    "a hook": Cost({"commit": 1}, 3, 341, 383),
    # The hook's state is in the log, which is read for it.
    "an answer to a hook": Cost({"get": 1, "read": 1, "commit": 1}, 1, 72, 395),
    # Claimed, read once however long it is, and its new owner recorded before any code runs. The second
    # commit is the end, or the next sleep.
    "a run taken up": Cost({"claim": 1, "read": 1, "commit": 2}, 2),
    "1,000 steps taken up": Cost({"claim": 1, "read": 1, "commit": 2}, 4),
    # `resume` looks for the run before.
    "1,000 steps resumed": Cost({"get": 1, "claim": 1, "read": 1, "commit": 2}, 3),
    "ten runs claimed": Cost({"claim": 1}),
}

# A parent that starts a child and waits for it, in one process: two runs, ten appends. The two go on side
# by side, so that some of their appends may share a commit, and some looks at them may be one.
A_CHILD = {"commit": 10, "get": 9, "read": 5, "claim": 2}


def taken(counts: Counts) -> dict[str, Any]:
    """What was counted, and begin anew."""
    found = dict(vars(counts))
    counts.reset()
    return found


def minus(more: dict[str, Any], less: dict[str, Any]) -> dict[str, Any]:
    return {name: more[name] - less[name] for name in more}


def engine_on(storage: StorageBackend) -> Engine:
    """An engine with given time, ids and chance, which never looks by itself."""
    return make_engine(storage, VirtualClock(BEGINNING), 1, Settings(lease=HOUR, poll=HOUR))


async def cost_of_programs(storage: StorageBackend, counts: Counts) -> dict[str, dict[str, Any]]:
    engine = engine_on(storage)
    clock = engine.clock
    assert isinstance(clock, VirtualClock)
    found: dict[str, dict[str, Any]] = {}

    # What a handle does but once is done before: a server is given scripts, say.
    warm = await start(sleeps, 1, storage=storage)
    clock.advance(HOUR)
    await resume(warm, storage=storage)
    await storage.claim(owner="test", now=clock.now(), lease=HOUR, limit=10, queues=["q"])
    counts.reset()

    await start(sequence, 0, storage=storage)
    found["a run without steps"] = taken(counts)
    await start(sequence, 20, storage=storage)
    twenty = taken(counts)
    await start(sequence, 40, storage=storage)
    found["20 more steps"] = minus(taken(counts), twenty)
    await start(at_once, 100, storage=storage)
    found["100 steps at once"] = taken(counts)

    for _ in range(10):
        counts.reset()
        await start(sequence, 3, storage=storage, queue="q")
        found["a run for a worker"] = taken(counts)
    claims = await storage.claim(owner="test", now=clock.now(), lease=HOUR, limit=10, queues=["q"])
    assert len(claims) == 10
    found["ten runs claimed"] = taken(counts)

    await start(parent, storage=storage)
    found["a child"] = taken(counts)
    await start(sleeps, 0, storage=storage)
    found["a sleep"] = taken(counts)
    run_id = await start(asks, storage=storage)
    found["a hook"] = taken(counts)
    await resume_hook(f"{run_id}:approval", "yes", storage=storage)
    found["an answer to a hook"] = taken(counts)
    assert await take_up(engine, run_id)
    found["a run taken up"] = taken(counts)

    run_id = await start(much_to_replay, 10, storage=storage)
    clock.advance(HOUR)
    counts.reset()
    assert await take_up(engine, run_id)
    found["1,000 steps taken up"] = taken(counts)
    clock.advance(HOUR)
    await resume(run_id, storage=storage)
    found["1,000 steps resumed"] = taken(counts)
    return found


def measured(kind: str, request: pytest.FixtureRequest, folder: Path) -> dict[str, dict[str, Any]]:
    async def main(url: str, patch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
        async with counted(kind, url, patch) as (storage, counts):
            return await cost_of_programs(storage, counts)

    with namespaces_of(kind, request, folder).fresh() as url, pytest.MonkeyPatch.context() as patch:
        return asyncio.run(main(url, patch))


@pytest.mark.parametrize("kind", STORAGES)
def test_a_program_costs_exactly_so_many_calls_trips_syncs_and_bytes(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    found = measured(kind, request, tmp_path)
    child = found.pop("a child")
    costs = {
        name: Cost(
            dict(cost["calls"]),
            cost["events"],
            cost["bodies"] if COSTS[name].bodies is not None else None,
            cost["records"] if COSTS[name].records is not None else None,
        )
        for name, cost in found.items()
    }
    assert costs == COSTS
    for cost in found.values():
        # Where one run is driven alone, each append goes at once.
        assert cost["appends"] == cost["calls"]["commit"]
    assert {name: dict(cost["trips"]) for name, cost in found.items() if cost["trips"]} == TRIPS.get(kind, {})
    # On the file store a commit is one sync of the journal, and nothing else is forced to the disk.
    syncs = {name: cost["syncs"] for name, cost in found.items()}
    assert syncs == {name: cost["calls"]["commit"] if kind == "file" else 0 for name, cost in found.items()}
    assert (child["appends"], child["events"]) == (10, 12)
    assert {name: max(calls, A_CHILD.get(name, 0)) for name, calls in child["calls"].items()} == A_CHILD
    assert found["20 more steps"]["written"] == (20 * BYTES_IN_THE_JOURNAL if kind == "file" else 0)


@pytest.mark.parametrize("kind", STORAGES)
def test_many_runs_at_once_share_their_commits(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    async def main(url: str, patch: pytest.MonkeyPatch) -> dict[str, Any]:
        async with counted(kind, url, patch) as (storage, counts):
            engine_on(storage)
            await start(sequence, 1, storage=storage)
            counts.reset()
            runs = [start(sequence, STEPS_OF_THE_CROWD, storage=storage) for _ in range(CROWD)]
            await asyncio.gather(*runs)
            return taken(counts)

    with namespaces_of(kind, request, tmp_path).fresh() as url, pytest.MonkeyPatch.context() as patch:
        found = asyncio.run(main(url, patch))
    commits = found["calls"]["commit"]
    assert found["calls"] == {"commit": commits}
    assert found["appends"] == CROWD * (STEPS_OF_THE_CROWD + 1)
    assert found["events"] == CROWD * 2 * (STEPS_OF_THE_CROWD + 1)
    assert commits <= MOST_COMMITS_OF_THE_CROWD
    assert found["syncs"] == (commits if kind == "file" else 0)
    # A commit of many runs takes as many trips as one of a single run.
    # (A large one may need a statement more in one of them.)
    begins: Counter[str] = Counter()
    for name, count in found["trips"].items():
        begins[name.partition(";")[0]] += count
    trips = {name.partition(";")[0] for name in COMMIT.get(kind, ())}
    assert {name: begins[name] for name in trips} == dict.fromkeys(trips, commits)
