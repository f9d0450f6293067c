"""Changing the code of workflows whose runs are under way."""

from __future__ import annotations

import sys

from pyworkflow_core.ids import validate_id

from .deterministic import machine_here, writing_machine


def patched(change_id: str) -> bool:
    """Whether the run takes the new way at a change of the workflow's code.

    True where the run comes to the change for the first time; that is recorded. False where the
    history shows that the run went past it before the change was made. A run gets one answer for
    one name, wherever and however often it asks.

    ::

        if patched("check first"):
            await check(item)

    Args:
        change_id: a name for the change, new in this workflow.

    Raises:
        StepOutsideWorkflowError: no workflow runs here.
    """
    machine = machine_here("patched()")
    if change_id not in machine.notebook.patches:
        writing_machine("patched()")
    frame = sys._getframe(1)
    return machine.notebook.patched(validate_id(change_id, "name of a change"), (frame.f_code, frame.f_lasti))
