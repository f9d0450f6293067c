"""Children: workflows that a run starts, and that belong to it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Literal, cast

from msgspec import Raw

from pyworkflow_core.codec import EMPTY_REACH, Codec, RecordedError, default_codec
from pyworkflow_core.errors import ConfigurationError, LimitExceeded
from pyworkflow_core.events import Event, encode_body
from pyworkflow_core.ids import derive_run_id, validate_id
from pyworkflow_core.payloads import (
    ChildWorkflowCancelled,
    ChildWorkflowCompleted,
    ChildWorkflowFailed,
    WorkflowStarted,
)
from pyworkflow_core.record import GROWTH_BYTES, RunStatus, check_record, evolve
from pyworkflow_core.replay import (
    Child,
    ChildCall,
    ChildEnd,
    Machine,
    ReleaseCall,
    current_machine,
    wait_for_end,
)

from .config import get_config, get_storage
from .definitions import WorkflowDefinition, list_workflows
from .durations import Duration, to_duration
from .engine.attempt import Attempt, current_attempt
from .engine.engine import Engine, engine_for
from .errors import (
    ChildWorkflowError,
    ChildWorkflowFailedError,
    MaxNestingDepthError,
    StepOutsideWorkflowError,
)

_OVERHEAD = 4096  # what the event of a child's start holds beside the arguments


@dataclass(frozen=True)
class ChildWorkflowHandle:
    """A child that was started and not waited for. It can be recorded, returned and handed on.

    In a workflow it says what the run's log says: the child's end is known once the run was told
    of it. In steps and outside of workflows it looks into the storage.

    Attributes:
        run_id: the child's run.
        workflow_name: its workflow.
    """

    run_id: str
    workflow_name: str

    @property
    def child_run_id(self) -> str:
        """Same as `run_id`."""
        return self.run_id

    @property
    def child_workflow_name(self) -> str:
        """Same as `workflow_name`."""
        return self.workflow_name

    async def result(self, timeout: Duration | None = None) -> Any:
        """Wait for the child's end, and return what it returned.

        Args:
            timeout: how long to wait; the child goes on regardless.

        Raises:
            ChildWorkflowFailedError: it failed, or was cancelled.
            TimeoutError: it did not end in time.
            ChildWorkflowError: a workflow asks for a child that is not its own.
        """
        seconds = None if timeout is None else to_duration(timeout, "timeout") / 1e6
        machine = current_machine.get()
        async with asyncio.timeout(seconds):
            if machine is not None:
                return outcome_of_child(machine.codec, await wait_for_end(machine, _child(machine, self)))
            from .engine.looking import end_of_child

            engine = _engine_here()
            return outcome_of_child(engine.codec, await end_of_child(engine, self.run_id, self.workflow_name))

    async def get_status(self) -> RunStatus:
        """What the child is doing; in a workflow ``running`` until the run was told of its end."""
        machine = current_machine.get()
        if machine is not None:
            return _STATUS[type(_child(machine, self).ended)]
        from .engine.results import record_of

        return (await record_of(_engine_here(), self.run_id)).status

    async def is_running(self) -> bool:
        """Whether it has not ended."""
        return not await self.is_terminal()

    async def is_terminal(self) -> bool:
        """Whether it has ended."""
        return (await self.get_status()).is_terminal

    async def cancel(self, reason: str | None = None) -> bool:
        """Ask the child to stop; False if it has ended."""
        machine = current_machine.get()
        if machine is not None:
            child = _child(machine, self)
            if child.ended is not None:
                return False
            return bool(await ReleaseCall(machine, child, reason, None))
        from .engine.external import cancel_workflow

        return await cancel_workflow(self.run_id, reason, storage=_engine_here().storage)


default_codec.register(ChildWorkflowHandle, name="pyworkflow.ChildWorkflowHandle")

_STATUS: dict[type[Any], RunStatus] = {
    type(None): RunStatus.RUNNING,
    ChildWorkflowCompleted: RunStatus.COMPLETED,
    ChildWorkflowFailed: RunStatus.FAILED,
    ChildWorkflowCancelled: RunStatus.CANCELLED,
}


def start_child_workflow(
    workflow: WorkflowDefinition[Any, Any],
    *args: Any,
    wait_for_completion: bool = True,
    parent_close_policy: Literal["cancel", "abandon"] = "cancel",
    queue: str | None = None,
    priority: int | None = None,
    **kwargs: Any,
) -> Coroutine[Any, Any, Any]:
    """Start a child of the run, from a workflow or from an ``async def`` step; await what this returns.

    The child has a run and a log of its own. Its run id follows from the run and the call, so that
    starting it again after a crash is starting it once. A parent that waits may leave memory.

    Args:
        workflow: a function decorated with ``@workflow``.
        *args: its positional arguments.
        wait_for_completion: wait for the child's result; otherwise get a `ChildWorkflowHandle` at once.
        parent_close_policy: ``cancel``: the child is asked to stop when the parent ends, or stops
            waiting for it; ``abandon``: it goes on.
        queue: whose workers may run it; the parent's queue unless given.
        priority: 0 is claimed first; the parent's unless given.
        **kwargs: its keyword arguments.

    Raises:
        ChildWorkflowFailedError: the child failed, or was cancelled (from the await).
        MaxNestingDepthError: the parent is a child of a child … already.
        TypeError: the arguments do not fit the workflow.
        UnserializableValueError: an argument cannot be written to the log.
        StepOutsideWorkflowError: neither a workflow nor a step runs here.
    """
    if not isinstance(workflow, WorkflowDefinition):
        raise ConfigurationError(
            f"start_child_workflow() takes a function decorated with @workflow and its arguments, not "
            f"{workflow!r}"
        )
    if parent_close_policy not in {"cancel", "abandon"}:
        raise ConfigurationError(f"parent_close_policy is 'cancel' or 'abandon', not {parent_close_policy!r}")
    machine, attempt = current_machine.get(), current_attempt.get()
    parent = machine or (attempt.call.machine if attempt is not None else None)
    if parent is None or parent.started is None:
        raise StepOutsideWorkflowError(
            "start_child_workflow() was called outside a workflow and its steps: elsewhere use start(…)"
        )
    abandon = parent_close_policy == "abandon"
    start = _first_event(parent, workflow, args, kwargs, queue, priority)
    frame = sys._getframe(1)
    if machine is None:
        assert attempt is not None
        where = f"{frame.f_code.co_filename.rpartition('/')[2]}:{frame.f_lineno}"
        return _from_step(attempt, start, abandon, wait_for_completion, queue is None, where)

    def derive(name: str, ordinal: int) -> str:
        return derive_run_id("child", parent.run_id, parent.incarnation, name, str(ordinal))

    call = ChildCall(
        machine,
        start,
        derive,
        abandon=abandon,
        make_handle=None
        if wait_for_completion
        else lambda run_id: ChildWorkflowHandle(run_id, workflow.name),
        revive=lambda how: outcome_of_child(parent.codec, how),
        site=(frame.f_code, frame.f_lasti),
    )
    return cast("Coroutine[Any, Any, Any]", call)


def outcome_of_child(codec: Codec, how: ChildEnd) -> Any:
    """What the child returned.

    Raises:
        ChildWorkflowFailedError: it did not.
    """
    definition = list_workflows().get(how.child)
    reach = EMPTY_REACH if definition is None else definition.reach
    if isinstance(how, ChildWorkflowCompleted):
        return codec.decode(how.result, reach=reach)
    if isinstance(how, ChildWorkflowFailed):
        error = codec.decode_error(how.error, reach=reach)
        name = error.type if isinstance(error, RecordedError) else type(error).__name__
        raise ChildWorkflowFailedError(how.run_id, how.child, str(error), name.rpartition(".")[2]) from error
    raise ChildWorkflowFailedError(how.run_id, how.child, how.reason or "cancelled", "CancellationError")


def _first_event(
    parent: Machine,
    workflow: WorkflowDefinition[Any, Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    queue: str | None,
    priority: int | None,
) -> WorkflowStarted:
    """The first event of the child's log.

    Raises:
        LimitExceeded: the storage would refuse it.
    """
    started = parent.started
    assert started is not None
    workflow.bind(args, kwargs)
    depth, most = started.depth + 1, get_config().max_nesting_depth
    if depth > most:
        raise MaxNestingDepthError(
            f"run {parent.run_id!r} is {started.depth} levels deep and cannot have children: "
            f"max_nesting_depth is {most}",
            most,
        )
    if priority is not None and (isinstance(priority, bool) or not isinstance(priority, int)):
        raise ConfigurationError(f"priority is a whole number, 0 first, not {priority!r}")
    encoded = parent.codec.encode_args(args, kwargs, where=workflow.name, reach=workflow.reach)
    if parent.event_bytes is not None and len(encoded) + _OVERHEAD > parent.event_bytes:
        raise LimitExceeded(
            f"the arguments of child {workflow.name!r} take {len(encoded)} bytes and the storage takes "
            f"{parent.event_bytes} an event; store the values elsewhere and pass a reference"
        )
    longest = workflow.max_duration
    start = WorkflowStarted(
        workflow.name,
        Raw(encoded),
        queue=started.queue if queue is None else validate_id(queue, "queue"),
        priority=started.priority if priority is None else priority,
        python=f"{sys.version_info.major}.{sys.version_info.minor}",
        workflow_version=workflow.version,
        parent=parent.run_id,
        depth=depth,
        tags=workflow.tags,
        deadline=None if longest is None else parent.now + longest,
        max_recoveries=workflow.max_recovery_attempts,
    )
    first = Event("run_" + 26 * "x", 1, "x", encode_body(start, parent.now))
    check_record(evolve(None, [first], incarnation=12 * "x"), growth=GROWTH_BYTES)
    return start


async def _from_step(
    attempt: Attempt, start: WorkflowStarted, abandon: bool, wait: bool, here: bool, where: str
) -> Any:
    run_id = await attempt.start_child(start, abandon=abandon, at=where)
    if not wait:
        return ChildWorkflowHandle(run_id, start.workflow)
    from .engine.looking import end_of_child

    # The step holds its worker while it waits, so the child is driven here if it may be.
    how = await end_of_child(attempt.engine, run_id, start.workflow, here=here)
    return outcome_of_child(attempt.engine.codec, how)


def _child(machine: Machine, handle: ChildWorkflowHandle) -> Child:
    child = machine.children.get(handle.run_id)
    if child is None:
        raise ChildWorkflowError(
            f"run {machine.run_id!r} has no child {handle.run_id!r} ({handle.workflow_name}); look at runs "
            "that are not its children from a step"
        )
    return child


def _engine_here() -> Engine:
    attempt = current_attempt.get()
    return attempt.engine if attempt is not None else engine_for(get_storage())
