"""What a drive begins with: the machine that replays, and the event that says who has the run."""

from __future__ import annotations

from typing import Any

from pyworkflow_core.payloads import (
    Payload,
    RunRecovered,
    WorkflowInterrupted,
    WorkflowResumed,
    WorkflowStarted,
)
from pyworkflow_core.record import RunRecord
from pyworkflow_core.replay import Machine

from ..definitions import WorkflowDefinition
from .engine import Engine


def machine_for(engine: Engine, definition: WorkflowDefinition[Any, Any], run_id: str) -> Machine:
    """A machine that has not been fed anything."""
    codec = engine.codec

    async def main(started: WorkflowStarted) -> Any:
        args, kwargs = codec.decode_args(started.args, reach=definition.reach)
        return await definition.func(*args, **kwargs)

    return Machine(run_id, main, codec=codec, draw_token=engine.ids.token)


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
