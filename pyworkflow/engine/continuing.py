"""Continuing as new: ending a run whose log has grown, and going on in another one."""

from __future__ import annotations

import sys
from typing import Any, NoReturn

from msgspec import Raw
from msgspec.structs import replace

from pyworkflow_core.errors import ConfigurationError
from pyworkflow_core.ids import derive_run_id
from pyworkflow_core.payloads import WorkflowContinuedAsNew
from pyworkflow_core.replay import Machine, current_machine
from pyworkflow_core.replay.mail import carry_over

from ..definitions import WorkflowDefinition, get_workflow
from ..errors import CompensationError, StepOutsideWorkflowError
from ..sagas import Saga, current_saga

_SIGNAL = 1024  # what a signal takes that is handed on, beside its payload
_BESIDE = 16_384  # what a first event holds beside the arguments and the signals


class ContinueAsNew(BaseException):
    """Ends the workflow function; no ``except Exception`` swallows it.

    Attributes:
        encoded: the arguments for the run that goes on.
        definition: the version of the workflow that it goes on with.
    """

    def __init__(self, encoded: bytes, definition: WorkflowDefinition[Any, Any]) -> None:
        super().__init__("the workflow continues as new")
        self.encoded = encoded
        self.definition = definition


def continue_as_new(*args: Any, **kwargs: Any) -> NoReturn:
    """End this run here, and let another one of the same workflow go on, with a log of its own.

    It never returns: write it as the workflow's last word, ``continue_as_new(page + 1)``, with or
    without ``await`` in front. Open hooks and children, and what came for the run that its code
    has not taken, go with it.

    Args:
        *args: the positional arguments of the run that goes on. It takes the newest version of the workflow,
            or the one that stands in front of them, as in ``continue_as_new(order_v1, page + 1)``.
        **kwargs: its keyword arguments.

    Raises:
        TypeError: the arguments do not fit the workflow.
        ConfigurationError: the workflow in front of the arguments is another one.
        UnserializableValueError: an argument cannot be written to the log.
        CompensationError: compensations are registered that nobody confirmed.
        StepOutsideWorkflowError: no workflow runs here.
    """
    machine = current_machine.get()
    if machine is None or machine.started is None:
        raise StepOutsideWorkflowError(
            "continue_as_new() was called outside a workflow: it belongs into a function decorated with "
            "@workflow"
        )
    saga = current_saga.get()
    if saga is not None and saga.is_open:
        raise refuse_to_forget(saga)
    definition = get_workflow(machine.started.workflow)
    if args and isinstance(args[0], WorkflowDefinition):
        definition, args = args[0], args[1:]
        if definition.name != machine.started.workflow:
            raise ConfigurationError(
                f"a run of workflow {machine.started.workflow!r} cannot continue as {definition.name!r}: "
                "start that as a child, or give it the same name and another version"
            )
    definition.bind(args, kwargs)
    encoded = machine.codec.encode_args(args, kwargs, where=definition.name, reach=definition.reach)
    raise ContinueAsNew(encoded, definition)


def refuse_to_forget(saga: Saga) -> CompensationError:
    """The error of a run that wants to continue as new while it may still have to undo something."""
    return CompensationError(
        "continue_as_new() would forget what is registered to be compensated: the run that goes on cannot "
        "undo what this one did. Put what belongs together into an 'async with saga()' block that ends "
        "before, or call confirm() on it, and register again in the run that goes on."
    )


def can_hand_on(machine: Machine, state: Any) -> bool:
    """Whether the first event of a successor would take this state, and the signals that nobody has taken."""
    most = machine.event_bytes
    if most is None:
        return True
    signals = sum(len(signal.payload) + _SIGNAL for signal in machine.inbox.untaken)
    return len(machine.codec.encode(state)) + signals + _BESIDE <= most


def asked_to_continue(error: BaseException | None) -> ContinueAsNew | None:
    """The request to continue as new, if the function ended by it; a TaskGroup wraps it in a group."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error if isinstance(error, ContinueAsNew) else None


def continued(machine: Machine, asked: ContinueAsNew) -> WorkflowContinuedAsNew:
    """The terminal event of a run that continues as new."""
    started, definition = machine.started, asked.definition
    assert started is not None
    longest = definition.max_duration
    start = replace(
        started,
        args=Raw(asked.encoded),
        owner=None,
        idempotency_key=None,
        python=f"{sys.version_info.major}.{sys.version_info.minor}",
        workflow_version=definition.version,
        tags=definition.tags,
        wake_at=None,
        deadline=None if longest is None else machine.now + longest,
        max_recoveries=definition.max_recovery_attempts,
        continued_from=machine.run_id,
        first=started.first or machine.run_id,
        carried=carry_over(machine, asked.encoded),
    )
    return WorkflowContinuedAsNew(derive_run_id("continue", machine.run_id, machine.incarnation), start)
