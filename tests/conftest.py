"""Settings that hold for every test: hypothesis profiles, and no traces left behind."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ["servers.fixtures"]

# Machines differ in speed and run many workers: no example fails for being slow.
CI = os.environ.get("CI") == "true"
settings.register_profile(
    "quick", max_examples=25, deadline=None, derandomize=CI, **({"database": None} if CI else {})
)
settings.register_profile("ci", max_examples=100, deadline=None, derandomize=True, database=None)
settings.register_profile(
    "nightly", max_examples=2000, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or "quick")

THREAD_GRACE = 5.0
"""Seconds that a thread which is already ending may take."""


def _threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if not thread.daemon}


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}


@pytest.fixture(autouse=True)
def _leaves_no_trace() -> Iterator[None]:
    """Fail a test that leaves a thread running, the environment changed or another working directory."""
    folder, environment, threads = os.getcwd(), _environment(), _threads()
    yield
    left = _threads() - threads
    ends = time.monotonic() + THREAD_GRACE
    for thread in left:
        thread.join(max(0.0, ends - time.monotonic()))
    alive = sorted(thread.name for thread in left if thread.is_alive())
    assert not alive, f"threads left running: {', '.join(alive)}"
    assert os.getcwd() == folder, "the working directory was changed"
    changed = {n for n, _ in _environment().items() ^ environment.items()}
    assert not changed, f"environment variables changed: {', '.join(sorted(changed))}"
