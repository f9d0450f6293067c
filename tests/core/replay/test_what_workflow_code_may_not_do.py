"""Whatever a replay could not reproduce is refused, with advice."""

from __future__ import annotations

import asyncio
import pathlib
import sys
from collections.abc import Callable
from typing import Any

import pytest

from pyworkflow_core.events import Envelope
from pyworkflow_core.payloads import WorkflowStarted

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from recording import BEGIN, machine_here, new_machine, outcome_of, step

sys.path.pop(0)


async def _step_alone() -> Any:
    return await step("a")


async def _over_coroutines() -> None:
    coroutines = [_step_alone() for _ in range(3)]
    try:
        for found in asyncio.as_completed(coroutines):
            await found
    finally:
        for coroutine in coroutines:
            coroutine.close()


async def _callback_from_a_thread() -> None:
    asyncio.get_running_loop().call_soon_threadsafe(print)


@pytest.mark.parametrize(
    ("make", "advice"),
    [
        (_over_coroutines, "make tasks first, as in as_completed"),
        (lambda: asyncio.to_thread(print), "make it a @step"),
        (lambda: asyncio.open_connection("127.0.0.1", 9), "do them in a @step"),
        (lambda: asyncio.create_subprocess_exec("true"), "do them in a @step"),
        (_callback_from_a_thread, "in a @step"),
    ],
    ids=["as_completed", "to_thread", "open_connection", "subprocess", "call_soon_threadsafe"],
)
def test_what_a_replay_could_not_reproduce_is_refused_with_advice(
    make: Callable[[], Any], advice: str
) -> None:
    async def program(log: list[Any]) -> Any:
        return await make()

    machine = new_machine(program, [])
    machine.feed([Envelope(1, BEGIN, WorkflowStarted("program", owner="o"))])
    assert outcome_of(machine).startswith("raised RuntimeError")
    assert advice in outcome_of(machine)
    assert not machine.pending
    machine.evict()


def test_the_host_loop_is_untouched_by_the_workflows_loop() -> None:
    async def program(log: list[Any]) -> Any:
        log.append(asyncio.get_running_loop() is machine_here().loop)
        log.append(asyncio.current_task().get_name())  # type: ignore[union-attr]
        return await step("a")

    async def main() -> None:
        host, task, hooks = asyncio.get_running_loop(), asyncio.current_task(), sys.get_asyncgen_hooks()
        log: list[Any] = []
        machine = new_machine(program, log)
        machine.feed([Envelope(1, BEGIN, WorkflowStarted("program", owner="o"))])
        assert log == [True, "workflow"]
        assert asyncio.get_running_loop() is host
        assert asyncio.current_task() is task
        assert sys.get_asyncgen_hooks() == hooks
        machine.evict()
        assert asyncio.current_task() is task

    asyncio.run(main())
