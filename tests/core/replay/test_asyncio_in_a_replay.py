"""Everything that asyncio offers runs the same live, in a replay, and in another process."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys

import msgspec
import pytest

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE))
from asyncio_programs import PROGRAMS  # noqa: E402
from recording import Live, Recording, digest_of, new_machine, outcome_of, replay  # noqa: E402

sys.path.pop(0)

SEEDS = range(60)


def record(name: str, *, cancels: bool = False) -> list[Recording]:
    return [Live(PROGRAMS[name], seed, cancels=cancels).run() for seed in SEEDS]


@pytest.mark.parametrize("cancels", [False, True], ids=["", "with cancellation requests"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_replay_issues_delivers_and_notes_what_the_live_run_did(name: str, cancels: bool) -> None:
    for seed, live in zip(SEEDS, record(name, cancels=cancels), strict=True):
        assert replay(PROGRAMS[name], live, one_by_one=False) == live, f"in one feed, seed {seed}"
        assert replay(PROGRAMS[name], live, one_by_one=True) == live, f"event by event, seed {seed}"


@pytest.mark.parametrize("name", PROGRAMS)
def test_random_orders_of_delivery_lead_to_different_histories(name: str) -> None:
    recordings = record(name)
    assert len({tuple(r.bodies) for r in recordings}) > 20
    ended = [r for r in recordings if not r.outcome.startswith("waits")]
    assert len(ended) == len(recordings), [r.outcome for r in recordings if r not in ended]


@pytest.mark.parametrize("hash_seed", ["0", "1", "4242"])
def test_another_process_with_other_hashes_replays_the_same(hash_seed: str) -> None:
    recordings = {name: record(name, cancels=True) for name in PROGRAMS}
    script = subprocess.run(
        [sys.executable, str(HERE / "recording.py")],
        input=msgspec.json.encode(recordings),
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        check=False,
    )
    assert script.returncode == 0, script.stderr.decode()
    assert json.loads(script.stdout) == digest_of(PROGRAMS, recordings)


@pytest.mark.parametrize("cut", [0.2, 0.5, 0.8])
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_history_that_was_replayed_in_part_goes_on_event_by_event(name: str, cut: float) -> None:
    for live in record(name)[:10]:
        history, effects = live.history, []
        here = int(len(history) * cut)
        machine = new_machine(PROGRAMS[name], effects)
        machine.feed(history[:here])
        for envelope in history[here:]:
            machine.feed([envelope])
        assert (effects, outcome_of(machine)) == (live.effects, live.outcome)
        machine.evict()
