"""A logger that says each thing once, however often the workflow's code is replayed."""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from typing import Any

from pyworkflow_core.replay import current_machine

from .engine.attempt import current_attempt

_NOWHERE = {"run_id": "", "workflow": "", "step": ""}


class WorkflowLogger(logging.LoggerAdapter[logging.Logger]):
    """A logger for workflows, steps and what they call. In a workflow it is silent during a replay.

    Each record has `run_id`, `workflow` and `step` (as ``name#ordinal``), empty where there is none.
    """

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - logging's name
        """Whether a message of this level is wanted, and not a repetition."""
        if not self.logger.isEnabledFor(level):
            return False
        machine = current_machine.get()
        return machine is None or not machine.notebook.is_silent

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """Add where the message comes from; what the caller gives as `extra` stays."""
        kwargs["extra"] = {**_where(), **(self.extra or {}), **(kwargs.get("extra") or {})}
        return msg, kwargs


def get_logger(name: str | None = None) -> WorkflowLogger:
    """A logger for workflows and steps. In a workflow it says nothing that it said before a replay.

    It may be said twice where a process died, or somebody answered from outside, before what the
    code did next was recorded.

    Args:
        name: as for `logging.getLogger`; ``pyworkflow.app`` unless given.
    """
    return WorkflowLogger(logging.getLogger("pyworkflow.app" if name is None else name))


def _where() -> dict[str, str]:
    machine, step = current_machine.get(), ""
    if machine is None:
        attempt = current_attempt.get()
        if attempt is None:
            return _NOWHERE
        machine, step = attempt.call.machine, f"{attempt.call.name}#{attempt.call.ordinal}"
    workflow = machine.started.workflow if machine.started is not None else ""
    return {"run_id": machine.run_id, "workflow": workflow, "step": step}
