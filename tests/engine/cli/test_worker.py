"""`pyworkflow worker`: it says what it serves, and ends in good order."""

from __future__ import annotations

import json
import signal
import time
from typing import Any

import pytest


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_steps_end_and_the_worker_exits_with_0(cli: Any, begun: Any, number: int) -> None:
    run_id = cli.json("run", "shop:patient", "--queue", "slow")["run_id"]
    process = begun(cli.begin("worker", "shop", "--poll-interval", "50ms"))
    ends = time.monotonic() + 60
    while not (cli.folder / "began").exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < ends
        time.sleep(0.01)
    process.send_signal(number)
    while "stopping" not in process.stderr.readline():
        assert process.poll() is None
    (cli.folder / "go").touch()
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, ""), err
    assert err.endswith("stopped; runs taken up: 1\n")
    assert "step_completed" in cli("events", run_id).stdout
    assert cli.json("resume", run_id, "--module", "shop")["result"] == "went"


def test_a_worker_says_what_it_serves_and_where(cli: Any) -> None:
    done = cli("worker", "shop.py", "--once", "--queue", "a", "--queue", "b", "--concurrency", "3")
    assert "serving queue a, b of file:.pyworkflow" in done.stderr
    assert "3 runs at once: approval, countdown, echo" in done.stderr
    assert "every queue" in cli("worker", "--once", PYWORKFLOW_MODULE="shop").stderr


def test_a_worker_takes_up_what_is_due_and_nothing_else(cli: Any, suspended: str) -> None:
    due = cli.json("run", "shop:order", "A", "--queue", "slow")["run_id"]
    done = cli("worker", "shop", "--once", "--json")
    assert json.loads(done.stdout) == {"driven": 1}
    assert cli.json("runs", "show", due)["status"] == "completed"
    assert cli.json("runs", "show", suspended)["status"] == "suspended"


def test_a_worker_writes_its_health_to_a_file_until_it_ends(cli: Any, begun: Any) -> None:
    process = begun(cli.begin("worker", "shop", "--poll-interval", "50ms", "--health", "health.json"))
    path = cli.folder / "health.json"
    ends = time.monotonic() + 60
    while not path.exists() or json.loads(path.read_text())["status"] == "stopped":
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < ends
        time.sleep(0.01)
    assert json.loads(path.read_text())["stats"]["failed"] == 0
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert not path.exists()


def test_a_health_that_cannot_be_shown_is_a_mistake_of_the_command(cli: Any) -> None:
    done = cli("worker", "shop", "--once", "--health", "no/such/folder/health", code=2)
    assert "the health cannot be written to no/such/folder/health" in done.stderr
