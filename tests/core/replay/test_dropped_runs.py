"""A suspended run that leaves memory runs no command, ends its clean-up where it is, and is silent."""

from __future__ import annotations

import asyncio
import gc
import logging
import pathlib
import sys
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from asyncio_programs import PROGRAMS
from recording import BEGIN, Program, new_machine, step

sys.path.pop(0)

from pyworkflow_core.events import Envelope
from pyworkflow_core.payloads import StepCompleted, StepStarted, WorkflowStarted
from pyworkflow_core.replay import Machine


@pytest.fixture(autouse=True)
def silence(monkeypatch: pytest.MonkeyPatch, capfd: Any, caplog: Any) -> Iterator[None]:
    """Nothing is printed, logged, warned of or raised where nobody sees it."""
    unraisable: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", unraisable.append)
    with warnings.catch_warnings(record=True) as warned, caplog.at_level(logging.DEBUG):
        warnings.simplefilter("always")
        yield
        _collect_in_another_thread()
    assert [str(u.exc_value) for u in unraisable] == []
    assert [str(w.message) for w in warned] == []
    assert caplog.records == []
    assert capfd.readouterr() == ("", "")


def _collect_in_another_thread() -> None:
    thread = threading.Thread(target=gc.collect)
    thread.start()
    thread.join()


def begun(program: Program, log: list[Any]) -> Machine:
    machine = new_machine(program, log)
    machine.feed([Envelope(1, BEGIN, WorkflowStarted("program", owner="o"))])
    machine.take_commands()
    return machine


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_dropped_run_issues_no_command_and_leaves_nothing_to_collect(name: str) -> None:
    log: list[Any] = []
    machine = begun(PROGRAMS[name], log)
    machine.evict()
    noted = list(log)
    assert not machine.pending
    assert not machine.loop.ready
    del machine
    _collect_in_another_thread()
    assert log == noted


def test_cleanup_runs_in_the_order_of_creation_on_the_thread_that_drops_the_run() -> None:
    async def program(log: list[Any]) -> None:
        async def part(i: int) -> None:
            try:
                await step("a", i)
            finally:
                log.append((i, threading.current_thread()))

        await asyncio.gather(*[part(i) for i in range(20)])

    log: list[Any] = []
    begun(program, log).evict()
    assert log == [(i, threading.current_thread()) for i in range(20)]


def test_cleanup_that_awaits_a_step_is_refused_and_comes_to_its_end() -> None:
    async def program(log: list[Any]) -> None:
        try:
            try:
                await step("a")
            finally:
                try:
                    await step("clean up")
                except RuntimeError as error:
                    log.append(str(error))
                    raise
        finally:
            log.append("outer")

    log: list[Any] = []
    machine = begun(program, log)
    machine.evict()
    assert len(log) == 2
    assert "suspended and left memory" in log[0]
    assert log[1] == "outer"


@pytest.mark.parametrize("wait", ["sleep(0)", "sleep(1)", "event", "task", "step", "lock"])
def test_cleanup_that_awaits_anything_comes_to_its_end_at_once(wait: str) -> None:
    async def program(log: list[Any]) -> None:
        lock = asyncio.Lock()
        await lock.acquire()
        waits = {
            "sleep(0)": lambda: asyncio.sleep(0),
            "sleep(1)": lambda: asyncio.sleep(1),
            "event": lambda: asyncio.Event().wait(),
            "task": lambda: asyncio.create_task(asyncio.sleep(1)),
            "step": lambda: step("b"),
            "lock": lock.acquire,
        }
        try:
            try:
                await step("a")
            finally:
                await waits[wait]()
        finally:
            log.append("ended")

    log: list[Any] = []
    machine = begun(program, log)
    machine.evict()
    assert log == ["ended"]
    assert not machine.pending


def test_code_that_catches_everything_cannot_hold_up_who_drops_the_run() -> None:
    async def program(log: list[Any]) -> None:
        for _ in range(10**9):
            try:
                await asyncio.sleep(0)
                await step("a")
            except BaseException:
                log.append("caught")

    log: list[Any] = []
    machine = begun(program, log)
    machine.evict()
    noted = len(log)
    del machine
    _collect_in_another_thread()
    assert len(log) == noted


def test_suspension_is_no_exception_that_a_broad_except_swallows() -> None:
    async def program(log: list[Any]) -> str:
        try:
            await step("a")
        except Exception as error:
            log.append(error)
        return "done"

    log: list[Any] = []
    begun(program, log).evict()
    assert log == []


def test_a_generator_that_was_left_early_ends_in_no_other_thread() -> None:
    threads: list[Any] = []

    async def program(log: list[Any]) -> None:
        async def numbers() -> Any:
            try:
                for i in range(3):
                    yield i
            finally:
                threads.append(threading.current_thread())

        async for _ in numbers():
            break
        await step("a")

    machine = begun(program, [])
    _collect_in_another_thread()
    machine.evict()
    del machine
    _collect_in_another_thread()
    assert set(threads) <= {threading.current_thread()}


def test_a_dropped_machine_is_dropped_once_and_keeps_no_call() -> None:
    machine = begun(PROGRAMS["gather_of_calls"], [])
    machine.evict()
    machine.evict()
    assert not machine.steps
    assert machine.loop.is_closed()


def test_a_run_that_ended_is_dropped_as_silently() -> None:
    async def program(log: list[Any]) -> int:
        task = asyncio.create_task(step("left behind"))
        await asyncio.sleep(0)
        failing = asyncio.create_task(_fail())
        await step("a")
        return id(task) and id(failing) and 1

    async def _fail() -> None:
        raise ValueError("nobody looks")

    machine = begun(program, [])
    machine.feed([Envelope(1, BEGIN, StepCompleted("a", 1, b"1"))])  # type: ignore[arg-type]
    assert machine.outcome is not None
    assert machine.outcome.value == 1
    machine.evict()


def test_a_step_awaited_by_a_program_is_started_only_once() -> None:
    async def program(log: list[Any]) -> Any:
        call = step("a")
        return await asyncio.gather(call, call, asyncio.shield(call))

    machine = new_machine(program, [])
    machine.feed([Envelope(1, BEGIN, WorkflowStarted("program", owner="o"))])
    assert [type(payload) for _, payload in machine.take_commands()] == [StepStarted]
    machine.evict()
