"""Time and chance for workflow code: the same in every replay, and without an event for each."""

from __future__ import annotations

import random as _random
import uuid as _uuid
from datetime import datetime

from pyworkflow_core.events import from_micros
from pyworkflow_core.replay import Machine, current_machine

from .errors import StepOutsideWorkflowError


def now() -> datetime:
    """The workflow's time, in UTC: the time of the event that was delivered to the run last.

    It stands still between two awaits, and is the same in every replay.

    Raises:
        StepOutsideWorkflowError: no workflow runs here.
    """
    return from_micros(machine_here("now()", "datetime.now(UTC)").now)


def random() -> float:
    """A random number from 0.0 up to, but not including, 1.0: the same in every replay.

    Raises:
        StepOutsideWorkflowError: no workflow runs here.
    """
    return machine_here("random()", "random.random()").notebook.rng.random()


def rng() -> _random.Random:
    """The run's own source of chance, for `choice`, `shuffle`, `randint` and the like.

    Its numbers follow from the run; a replay draws the same ones in the same order. They are no
    secrets: whoever can read the log can work them out.

    Raises:
        StepOutsideWorkflowError: no workflow runs here.
    """
    return machine_here("rng()", "the random module").notebook.rng


def uuid4() -> _uuid.UUID:
    """A UUID of version 4 that no other run draws, the same in every replay. It is no secret.

    Raises:
        StepOutsideWorkflowError: no workflow runs here.
    """
    return machine_here("uuid4()", "uuid.uuid4()").notebook.next_uuid()


def machine_here(what: str, instead: str = "") -> Machine:
    """The machine of the workflow that runs here.

    Args:
        what: what was called, for the error.
        instead: what to use in steps and outside of workflows, if there is anything.

    Raises:
        StepOutsideWorkflowError: no workflow runs here.
    """
    machine = current_machine.get()
    if machine is None or machine.started is None:
        advice = f"; in steps and elsewhere use {instead}" if instead else ""
        raise StepOutsideWorkflowError(
            f"{what} was called outside a workflow: it belongs into a function decorated with @workflow"
            f"{advice}"
        )
    return machine


def writing_machine(what: str, instead: str = "") -> Machine:
    """As `machine_here`, for what is recorded: a query must not do that.

    Raises:
        StepOutsideWorkflowError: no workflow runs here, or a query does.
    """
    machine = machine_here(what, instead)
    if machine.notebook.answering:
        raise StepOutsideWorkflowError(
            f"{what} was called in a query, which only looks at a run: call it in the workflow itself"
        )
    return machine
