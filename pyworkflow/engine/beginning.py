"""What a drive begins with: the machine that replays, and the event that says who has the run."""

from __future__ import annotations

from typing import Any

from pyworkflow_core.payloads import (
    Payload,
    RunRecovered,
    WorkflowInterrupted,
    WorkflowResumed,
)
from pyworkflow_core.record import RunRecord
from pyworkflow_core.replay import Machine

from .. import children  # noqa: F401 - handles in arguments and results are read from here on
from ..definitions import WorkflowDefinition
from .compensating import main_of
from .engine import Engine


def machine_for(
    engine: Engine, definition: WorkflowDefinition[Any, Any], run_id: str, incarnation: str
) -> Machine:
    """A machine that has not been fed anything."""
    return Machine(
        run_id,
        main_of(definition, engine.codec),
        codec=engine.codec,
        draw_token=engine.ids.token,
        incarnation=incarnation,
        event_bytes=engine.storage.limits.event_bytes,
    )


def first_event(record: RunRecord, token: str, *, resumed: bool) -> Payload:
    """The first event of a drive that takes up an existing run.

    Args:
        record: the run as it was claimed.
        token: of the claim.
        resumed: whether its last drive left it in good order.
    """
    if resumed:
        return WorkflowResumed(token)
    detail = record.detail
    count = detail.recoveries + 1
    if count <= detail.max_recoveries:
        return RunRecovered(token, count)
    return WorkflowInterrupted(
        f"taken up {detail.recoveries} times after its process died, without a step completed since; "
        f"the limit is {detail.max_recoveries}",
        detail.recoveries,
    )
