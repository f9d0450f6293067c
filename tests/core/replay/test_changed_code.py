"""Code that no longer fits its history is told so: what, where, and what it was before."""

from __future__ import annotations

import asyncio
import pathlib
import sys
from typing import Any

import msgspec
import pytest

from pyworkflow_core.errors import CodecError, NonDeterminismError
from pyworkflow_core.events import Envelope
from pyworkflow_core.payloads import StepCompleted, WorkflowCompleted, WorkflowStarted

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from recording import Live, Program, Recording, hook, new_machine, replay, sleep, step

sys.path.pop(0)


async def original(log: list[Any]) -> Any:
    await step("reserve", 1)
    await sleep(5)
    await hook("approval", 10**6)
    await step("charge", 2)
    return await step("ship", 3)


def recorded(program: Program = original) -> Recording:
    """A history without failures."""
    for seed in range(1000):
        live = Live(program, seed).run()
        if live.outcome.startswith("returned") and "retrying" not in "".join(live.bodies):
            return live
    raise AssertionError("no seed leads to an undisturbed history")


async def added(log: list[Any]) -> Any:
    await step("reserve", 1)
    await step("notify", 1)
    await sleep(5)
    await hook("approval", 10**6)
    await step("charge", 2)
    return await step("ship", 3)


async def removed(log: list[Any]) -> Any:
    await step("reserve", 1)
    await sleep(5)
    await hook("approval", 10**6)
    return await step("ship", 3)


async def renamed(log: list[Any]) -> Any:
    await step("book", 1)


async def swapped(log: list[Any]) -> Any:
    await step("reserve", 1)
    await sleep(5)
    await hook("approval", 10**6)
    await step("ship", 3)
    return await step("charge", 2)


async def other_argument(log: list[Any]) -> Any:
    await step("reserve", 7)


async def other_length(log: list[Any]) -> Any:
    await step("reserve", 1)
    await sleep(6)


async def other_timeout(log: list[Any]) -> Any:
    await step("reserve", 1)
    await sleep(5)
    await hook("approval", 60)


async def shorter(log: list[Any]) -> Any:
    await step("reserve", 1)
    await sleep(5)
    return "early"


async def longer(log: list[Any]) -> Any:
    await original(log)
    return await step("more", 4)


async def step_for_a_sleep(log: list[Any]) -> Any:
    await step("reserve", 1)
    await step("wait", 5)


async def nothing_at_all(log: list[Any]) -> Any:
    return 1


async def waiting_for_something_else(log: list[Any]) -> Any:
    await asyncio.sleep(3)


@pytest.mark.parametrize(
    ("program", "kind", "expected", "actual"),
    [
        (added, "step", "sleep 'sleep' #1 of 5 s", "step 'notify' #1 with [[1],{}]"),
        (removed, "order", "step 'charge' #1", "step 'ship' #1 with [[3],{}]"),
        (renamed, "step", "step 'reserve' #1 with [[1],{}]", "step 'book' #1 with [[1],{}]"),
        (swapped, "order", "step 'charge' #1 with [[2],{}]", "step 'ship' #1 with [[3],{}]"),
        (other_argument, "arguments", "step 'reserve' #1 with [[1],{}]", "step 'reserve' #1 with [[7],{}]"),
        (other_length, "arguments", "sleep 'sleep' #1 of 5 s", "sleep 'sleep' #1 of 6 s"),
        (other_timeout, "arguments", "hook 'approval' #1", "hook 'approval' #1"),
        (shorter, "missing", "hook 'approval' #1", "nothing more: the function has returned"),
        (nothing_at_all, "missing", "step 'reserve' #1", "nothing more: the function has returned"),
        (waiting_for_something_else, "missing", "step 'reserve' #1", "nothing more"),
        (step_for_a_sleep, "step", "sleep 'sleep' #1 of 5 s", "step 'wait' #1"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
@pytest.mark.parametrize("one_by_one", [False, True], ids=["in one feed", "event by event"])
def test_a_change_of_code_is_named_with_both_sides_and_their_places(
    program: Program, kind: str, expected: str, actual: str, one_by_one: bool
) -> None:
    with pytest.raises(NonDeterminismError) as caught:
        replay(program, recorded(), one_by_one=one_by_one)
    error = caught.value
    if not (one_by_one and kind == "order"):  # what comes later is known only to a feed that holds it
        assert error.kind == kind
    assert expected in error.expected
    assert actual in error.actual
    assert error.run_id == "run"
    assert f"at event {error.sequence}" in str(error)
    assert error.expected in str(error)
    assert error.actual in str(error)
    assert "called at test_changed_code.py:" in error.expected
    if "nothing more" not in actual:
        assert "called at test_changed_code.py:" in error.actual


def test_code_that_goes_on_after_its_recorded_end_is_told_so() -> None:
    live = recorded()
    history = [*live.history, Envelope(1, live.history[-1].at, WorkflowCompleted())]
    machine = new_machine(longer, [])
    with pytest.raises(NonDeterminismError) as caught:
        machine.feed(history)
    assert "workflow_completed" in caught.value.expected
    assert "step 'more' #1" in caught.value.actual
    machine.evict()


def test_a_swap_of_two_calls_in_one_gather_is_a_change_of_order() -> None:
    async def one(log: list[Any]) -> Any:
        return await asyncio.gather(step("a", 1), step("b", 1))

    async def other(log: list[Any]) -> Any:
        return await asyncio.gather(step("b", 1), step("a", 1))

    with pytest.raises(NonDeterminismError) as caught:
        replay(other, recorded(one), one_by_one=False)
    assert caught.value.kind == "order"
    assert "the order of the calls" in str(caught.value)


def test_another_length_of_an_asyncio_sleep_is_noticed_when_it_ends() -> None:
    def sleeping(seconds: float) -> Program:
        async def program(log: list[Any]) -> None:
            await asyncio.sleep(seconds)

        return program

    with pytest.raises(NonDeterminismError, match="timer #1 due at"):
        replay(sleeping(3), recorded(sleeping(2)), one_by_one=False)


def test_a_history_of_another_python_is_named_in_the_message() -> None:
    live = recorded()
    first = msgspec.json.decode(live.bodies[0])
    first[3]["python"] = "3.8"
    bodies = [msgspec.json.encode(first).decode(), *live.bodies[1:]]
    with pytest.raises(NonDeterminismError, match=r"recorded on Python 3\.8 and this is"):
        replay(renamed, Recording(bodies, [], ""), one_by_one=False)
    with pytest.raises(NonDeterminismError) as caught:
        replay(renamed, live, one_by_one=False)
    assert "recorded on Python" not in str(caught.value)


@pytest.mark.parametrize("one_by_one", [False, True], ids=["in one feed", "event by event"])
def test_a_result_that_cannot_be_read_fails_the_replay_and_never_reaches_the_workflow(
    one_by_one: bool,
) -> None:
    seen: list[Any] = []

    async def program(log: list[Any]) -> None:
        try:
            await step("a")
        except Exception as error:
            seen.append(error)

    live = recorded(program)
    history = live.history
    place = next(i for i, e in enumerate(history) if isinstance(e.data, StepCompleted))
    bad = StepCompleted("a", 1, msgspec.Raw(b'{"$":"no such tag"}'))
    history[place] = Envelope(1, history[place].at, bad)
    machine = new_machine(program, [])
    with pytest.raises(CodecError):  # noqa: PT012
        for part in [[e] for e in history] if one_by_one else [history]:
            machine.feed(part)
    assert seen == []
    machine.evict()


def test_a_random_argument_is_noticed_and_advice_is_given() -> None:
    numbers = iter(range(100))

    async def program(log: list[Any]) -> None:
        await step("a", next(numbers))

    live = Live(program, 1).run()
    with pytest.raises(NonDeterminismError, match=r"from random\(\), uuid4\(\) and now\(\)"):
        replay(program, live, one_by_one=False)


def test_the_first_event_of_a_fresh_machine_has_number_one() -> None:
    machine = new_machine(original, [])
    machine.feed([Envelope(1, 1, WorkflowStarted("program", owner="o"))])
    assert machine.head == 1
    machine.evict()
