"""What the engine reads out of a history before it replays it."""

from __future__ import annotations

from typing import Any

import pytest

from pyworkflow.engine.history import open_steps
from pyworkflow_core.events import Envelope
from pyworkflow_core.payloads import (
    CancellationRequested,
    SleepStarted,
    StepCompleted,
    StepRetrying,
    StepStarted,
    WorkflowResumed,
    WorkflowSuspended,
)

WAITS = WorkflowSuspended(5, ("sleep 'pause'",))
STOPPED = WorkflowSuspended(None, (), reason="shutdown")


def _open(*payloads: Any) -> list[tuple[str, int, int]]:
    history = [Envelope(1, at, payload) for at, payload in enumerate(payloads, 1)]
    return [(found.step, found.ordinal, found.attempt) for found in open_steps(history)]


def test_the_last_attempt_of_a_step_that_has_no_end_is_open() -> None:
    begun = (StepStarted("a"), StepStarted("b"), StepStarted("b", 2), StepStarted("a", attempt=2))
    assert _open(*begun, StepCompleted("b")) == [("a", 1, 2), ("b", 2, 1)]


def test_a_step_that_waits_to_be_tried_again_is_not_open() -> None:
    assert _open(StepStarted("a"), StepRetrying("a", retry_at=9)) == []


@pytest.mark.parametrize("after", [(), (CancellationRequested(),)], ids=["nothing", "a request"])
def test_a_run_that_only_waits_has_no_open_steps(after: tuple[Any, ...]) -> None:
    done = (StepStarted("a"), StepCompleted("a"), SleepStarted("pause"))
    assert _open(*done, WAITS, *after) == []


@pytest.mark.parametrize("after", [(), (CancellationRequested(),)], ids=["nothing", "a request"])
def test_steps_of_a_run_that_was_stopped_at_work_are_open(after: tuple[Any, ...]) -> None:
    assert _open(StepStarted("a"), STOPPED, *after) == [("a", 1, 1)]


def test_a_step_that_began_after_a_wait_is_open() -> None:
    assert _open(SleepStarted("pause"), WAITS, WorkflowResumed("w1"), StepStarted("a")) == [("a", 1, 1)]
