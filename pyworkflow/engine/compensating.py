"""Running a workflow's function, and undoing what it did if it does not succeed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from pyworkflow_core.codec import Codec
from pyworkflow_core.payloads import WorkflowStarted
from pyworkflow_core.replay import Call, Machine, current_machine

from ..definitions import WorkflowDefinition
from ..sagas import Saga, current_saga
from .continuing import asked_to_continue, refuse_to_forget
from .ending import check_result


def main_of(
    definition: WorkflowDefinition[Any, Any], codec: Codec
) -> Callable[[WorkflowStarted], Coroutine[Any, Any, Any]]:
    """What a run's machine executes, given the first event of its log."""

    async def main(started: WorkflowStarted) -> Any:
        args, kwargs = codec.decode_args(started.args, reach=definition.reach)
        machine = current_machine.get()
        assert machine is not None
        saga = Saga(machine)
        current_saga.set(saga)
        try:
            value = await definition.func(*args, **kwargs)
            if saga.is_open:
                check_result(machine, definition, codec, value)
        except BaseException as error:
            if not saga.must_undo(error):
                raise
            instead = await _undo(machine, saga, error)
            if instead is None:
                raise
            raise instead from error
        return value

    return main


async def _undo(machine: Machine, saga: Saga, error: BaseException) -> BaseException | None:
    """Undo what the run did, in peace; the error to raise instead of `error`, if any."""
    machine.shields += 1  # for good: a request to stop would come too late
    instead = refuse_to_forget(saga) if asked_to_continue(error) is not None else None
    await _end_what_runs(machine, saga)
    return await saga.undo(instead or error) or instead


async def _end_what_runs(machine: Machine, saga: Saga) -> None:
    """Stop what the function left running, as the run's end would, before it is undone."""
    this = asyncio.current_task()
    for task in machine.loop.tasks():
        if task is not this and task not in saga.undoing.tasks:
            task.cancel()
    calls: list[Call | None] = [call for call, given_up in machine.pending if not given_up]
    calls += [*machine.steps.values(), *machine.sleeps.values(), *machine.hooks.values()]
    calls += [child.call for child in machine.children.values()]
    for call in calls:
        if call is not None and not call.settled and call not in saga.undoing.calls:
            call.cancel()
    while others := [task for task in machine.loop.tasks() if task is not this]:
        await asyncio.wait(others)
