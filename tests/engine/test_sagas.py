"""Sagas: what was registered is undone when a run does not succeed, in reverse, each step durably."""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import sys
from typing import Any

import pytest

from pyworkflow import (
    CompensationError,
    ConfigurationError,
    FatalError,
    InMemoryStorageBackend,
    RetryableError,
    Saga,
    StepNotAwaitedError,
    StepOutsideWorkflowError,
    UnserializableValueError,
    cancel_workflow,
    compensate,
    continue_as_new,
    get_workflow_run,
    hook,
    resume,
    saga,
    sleep,
    start,
    start_child_workflow,
    step,
    workflow,
)
from pyworkflow.engine.clock import VirtualClock
from pyworkflow_core.payloads import StepCompleted, WorkflowFailed
from pyworkflow_core.storage import Limits

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from simulated_runs import SECOND, log_of, make_engine, recorded, replay
from storage_wrappers import Wrapper

sys.path.pop(0)

done: list[str] = []


@pytest.fixture(autouse=True)
def _nothing_done() -> None:
    done.clear()


@step(name="saga.do", max_retries=0)
async def do(what: str) -> str:
    done.append(what)
    return what


@step(name="saga.undo", max_retries=0)
async def undo(what: Any) -> None:
    done.append(f"not {what}")


@step(name="saga.fail", max_retries=0)
async def fail(what: str) -> None:
    raise FatalError(what)


@step(name="saga.stubborn", max_retries=0)
async def stubborn(what: str) -> None:
    done.append(f"not {what}?")
    raise LookupError(f"{what} cannot be undone")


async def ended(
    flow: Any, *args: Any, cancel_after: int | None = None, storage: Any = None, same: bool = True
) -> tuple[str, Any]:
    """How a run ends, its clock moving by itself; checked against its replay, unless that differs."""
    inner = storage or InMemoryStorageBackend()
    clock = VirtualClock(auto=cancel_after is None)
    make_engine(inner, clock)
    with contextlib.suppress(Exception):
        await start(flow, *args, storage=inner, wait=cancel_after is None)
    (record,) = await inner.list_runs()
    if cancel_after is not None:
        clock.advance(cancel_after * SECOND)
        await cancel_workflow(record.run_id, "enough", storage=inner)
        await resume(record.run_id, storage=inner)
    history = await log_of(inner, record.run_id)
    if same:
        assert replay(history) == replay(history, one_by_one=True)
        assert replay(history)[0] == recorded(history)[0]
    return recorded(history)


@workflow(name="saga.trip")
async def trip(ending: str) -> str:
    for what in ("flight", "hotel", "car"):
        compensate(undo, what)
        await do(what)
    if ending == "a step fails":
        await fail("no luck")
    if ending == "the code fails":
        raise ValueError("no luck")
    if ending == "it waits":
        await sleep("1h")
    if ending == "a child fails":
        await start_child_workflow(trip, "the code fails")
    return "booked"


BOOKED = ["flight", "hotel", "car"]
UNDONE = ["not car", "not hotel", "not flight"]


def test_a_run_that_returns_keeps_what_it_did() -> None:
    assert asyncio.run(ended(trip, "well")) == ("completed", b'"booked"')
    assert done == BOOKED


@pytest.mark.parametrize("ending", ["a step fails", "the code fails"])
def test_a_run_that_fails_undoes_what_it_did_the_last_first(ending: str) -> None:
    kind, error = asyncio.run(ended(trip, ending))
    assert kind == "failed"
    assert error.endswith("no luck")
    assert done == BOOKED + UNDONE


def test_a_run_that_is_cancelled_undoes_what_it_did_and_is_cancelled() -> None:
    assert asyncio.run(ended(trip, "it waits", cancel_after=1)) == ("cancelled", None)
    assert done == BOOKED + UNDONE


def test_a_run_that_suspends_and_goes_on_undoes_nothing() -> None:
    assert asyncio.run(ended(trip, "it waits")) == ("completed", b'"booked"')
    assert done == BOOKED


def test_a_child_undoes_its_own_part_before_its_parent_does() -> None:
    async def main() -> None:
        storage = InMemoryStorageBackend()
        make_engine(storage, VirtualClock(auto=True))
        with pytest.raises(Exception, match="no luck"):
            await start(trip, "a child fails", storage=storage, wait=True)

    asyncio.run(main())
    assert done == [*BOOKED, *BOOKED, *UNDONE, *UNDONE]


def test_a_run_that_took_too_long_undoes_what_it_did() -> None:
    @workflow(max_duration="10s")
    async def slow() -> None:
        compensate(undo, "it")
        await sleep("1h")

    kind, error = asyncio.run(ended(slow, same=False))
    assert (kind, done) == ("failed", ["not it"])
    assert "WorkflowTimeoutError" in error


def test_arguments_are_kept_as_they_were_when_they_were_registered() -> None:
    @workflow
    async def changing() -> None:
        rooms = ["one"]
        compensate(undo, what=rooms)
        rooms.append("two")
        raise ValueError("no luck")

    asyncio.run(ended(changing))
    assert done == ["not ['one']"]


def test_a_compensation_is_tried_again_as_its_own_policy_says() -> None:
    tries: list[int] = []

    @step(retry_delay="1h", max_retries=2)
    async def flaky() -> None:
        tries.append(1)
        if len(tries) < 3:
            raise RetryableError("not now")
        done.append("undone at last")

    @workflow
    async def patient() -> None:
        compensate(flaky)
        raise ValueError("no luck")

    assert asyncio.run(ended(patient))[0] == "failed"
    assert done == ["undone at last"]


@pytest.mark.parametrize("cancelled", [False, True])
def test_what_cannot_be_undone_is_noted_and_the_rest_is_undone(cancelled: bool) -> None:
    @workflow
    async def unlucky() -> None:
        compensate(undo, "first")
        compensate(stubborn, "second")
        compensate(undo, "third")
        if cancelled:
            await hook("never")
        raise ValueError("no luck")

    async def main() -> None:
        storage = InMemoryStorageBackend()
        make_engine(storage, VirtualClock(auto=True))

        async def live() -> None:
            run_id = await start(unlucky, storage=storage)
            await cancel_workflow(run_id, "enough", storage=storage)
            await resume(run_id, storage=storage)

        with pytest.raises(CompensationError if cancelled else ValueError) as raised:
            await live()
        notes = raised.value.__notes__
        (record,) = await storage.list_runs()
        assert "not compensated: step 'saga.stubborn' #1 with" in notes[0]
        assert notes[0].endswith("LookupError: second cannot be undone")
        assert sum("not compensated" in note for note in notes) == 1
        # So it is recorded, too.
        history = await log_of(storage, record.run_id)
        ends = [bytes(e.data.error) for e in history if isinstance(e.data, WorkflowFailed)]
        assert [b"not compensated" in end for end in ends] == [True]
        with pytest.raises((ValueError, CompensationError)) as again:
            await resume(record.run_id, storage=storage)
        assert "not compensated" in again.value.__notes__[0]
        assert replay(history, run=record) == recorded(history)
        run = await get_workflow_run(record.run_id, storage=storage)
        assert run is not None
        assert run.status == "failed"

    asyncio.run(main())
    assert done == ["not third", "not second?", "not first"]


def test_a_request_that_comes_while_a_failed_run_is_undone_does_not_disturb_it() -> None:
    @step
    async def asks_to_stop() -> None:
        (record,) = await places[0].list_runs()
        await cancel_workflow(record.run_id, storage=places[0])
        done.append("asked")

    @workflow
    async def failing() -> None:
        compensate(undo, "first")
        compensate(asks_to_stop)
        raise ValueError("no luck")

    places = [InMemoryStorageBackend()]
    assert asyncio.run(ended(failing, storage=places[0])) == ("failed", "builtins.ValueError: no luck")
    assert done == ["asked", "not first"]


def test_what_still_runs_beside_a_failed_function_is_stopped_before_it_is_undone() -> None:
    async def part(what: str, seconds: int) -> None:
        compensate(undo, what)
        await do(what)
        try:
            await sleep(seconds)
        except asyncio.CancelledError:
            done.append(f"stopped {what}")
            raise
        await fail(what)

    @workflow
    async def side_by_side() -> None:
        await asyncio.gather(part("a", 1), part("b", 5), sleep("1h"), hook("never"))

    assert asyncio.run(ended(side_by_side))[0] == "failed"
    # A replay runs the code of the `except` again.
    assert list(dict.fromkeys(done)) == ["a", "b", "stopped b", "not b", "not a"]


@pytest.mark.parametrize("mistake", ["not awaited", "not writable", "too large"])
def test_a_result_that_cannot_be_recorded_undoes_what_was_done(mistake: str) -> None:
    @workflow
    async def careless() -> Any:
        compensate(undo, "it")
        if mistake == "not awaited":
            do("this")
        return object() if mistake == "not writable" else "x" * 5000

    storage = Wrapper(InMemoryStorageBackend(), limits=Limits(event_bytes=4096))
    kind, error = asyncio.run(ended(careless, storage=storage, same=mistake != "too large"))
    wanted = {
        "not awaited": StepNotAwaitedError.__name__,
        "not writable": UnserializableValueError.__name__,
        "too large": "LimitExceeded",
    }
    assert kind == "failed"
    assert wanted[mistake] in error
    assert done == ["not it"]


def test_a_block_is_undone_by_itself_and_the_run_goes_on() -> None:
    @workflow
    async def two_offers() -> str:
        compensate(undo, "customer")
        for offer in ("cheap", "dear"):
            try:
                async with saga() as s:
                    s.compensate(undo, offer)
                    compensate(undo, f"{offer} seat")
                    await do(offer)
                    if offer == "cheap":
                        await fail(offer)
                return offer
            except FatalError:
                continue
        return "none"

    assert asyncio.run(ended(two_offers)) == ("completed", b'"dear"')
    assert done == ["cheap", "not cheap seat", "not cheap", "dear"]


def test_a_block_that_ended_well_stands_when_the_run_fails_later() -> None:
    @workflow
    async def in_parts() -> None:
        compensate(undo, "outer")
        async with saga():
            compensate(undo, "inner")
        async with saga() as confirmed:
            compensate(undo, "confirmed")
            confirmed.confirm()
            compensate(undo, "not confirmed")
            raise ValueError("no luck")

    assert asyncio.run(ended(in_parts))[0] == "failed"
    assert done == ["not not confirmed", "not outer"]


def test_a_timeout_around_a_block_lets_it_come_to_the_end_of_its_undoing() -> None:
    @step
    async def slow_undo(what: str) -> None:
        done.append(f"not {what}")

    @workflow
    async def hasty() -> str:
        try:
            async with asyncio.timeout(5), asyncio.timeout(6), saga() as s:
                s.compensate(slow_undo, "a")
                s.compensate(slow_undo, "b")
                await sleep("1h")
        except TimeoutError:
            return "too late"
        return "nothing"

    @workflow
    async def failing_beside() -> None:
        async def undoing() -> None:
            async with saga() as s:
                s.compensate(slow_undo, "c")
                s.compensate(slow_undo, "d")
                raise ValueError("first")

        async with asyncio.TaskGroup() as group:
            group.create_task(undoing())
            await fail("second")

    assert asyncio.run(ended(hasty)) == ("completed", b'"too late"')
    assert done == ["not b", "not a"]
    done.clear()
    assert asyncio.run(ended(failing_beside))[0] == "failed"
    assert done == ["not d", "not c"]


def test_a_nested_undoing_goes_on_when_the_run_fails_beside_it() -> None:
    async def part() -> None:
        async with saga() as s:
            s.compensate(undo, "inner 1")
            s.compensate(undo, "inner 2")
            raise ValueError("part")

    @workflow
    async def both() -> None:
        compensate(undo, "outer")
        await asyncio.gather(part(), fail("whole"))

    assert asyncio.run(ended(both))[0] == "failed"
    assert sorted(done) == ["not inner 1", "not inner 2", "not outer"]


def test_continuing_as_new_is_refused_while_something_is_registered() -> None:
    @workflow(name="saga.continuing")
    async def continuing(how: str) -> str:
        if how == "block":
            async with saga() as s:
                s.compensate(undo, "block")
            continue_as_new("done")
        if how == "confirmed":
            async with saga() as s:
                s.compensate(undo, "confirmed")
                s.confirm()
                continue_as_new("done")
        if how == "registered":
            compensate(undo, "it")
            await do("it")
            continue_as_new("done")
        return how

    async def main(how: str) -> Any:
        storage = InMemoryStorageBackend()
        make_engine(storage, VirtualClock(auto=True))
        run_id = await start(continuing, how, storage=storage, wait=True)
        return await resume(run_id, storage=storage)

    assert asyncio.run(main("block")) == "done"
    assert asyncio.run(main("confirmed")) == "done"
    assert done == []
    with pytest.raises(CompensationError, match="continue_as_new"):
        asyncio.run(main("registered"))
    assert done == ["it", "not it"]


MISTAKES: dict[str, tuple[Any, type[Exception], str]] = {
    "a call": (lambda: compensate(undo("x")), ConfigurationError, r"write compensate\(saga.undo, …\)"),
    "a function": (lambda: compensate(print), ConfigurationError, "decorated with @step"),
    "wrong arguments": (lambda: compensate(undo), TypeError, "it takes undo"),
    "an unwritable argument": (lambda: compensate(undo, object()), UnserializableValueError, "saga.undo"),
    "a call as argument": (lambda: compensate(undo, do("x")), StepNotAwaitedError, "write 'await'"),
    "no block": (lambda: saga().compensate(undo, "x"), CompensationError, "async with"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named_where_it_is_made(mistake: str) -> None:
    make, kind, text = MISTAKES[mistake]

    @workflow
    async def mistaken() -> None:
        make()

    async def main() -> None:
        await start(mistaken, storage=InMemoryStorageBackend())

    with pytest.raises(kind, match=text):
        asyncio.run(main())
    with pytest.raises(StepOutsideWorkflowError, match=r"saga\(\) was called outside a workflow"):
        saga()
    with pytest.raises(StepOutsideWorkflowError, match=r"compensate\(\) was called outside a workflow"):
        compensate(undo, "x")


def test_a_block_is_entered_once_and_takes_nothing_after_its_end() -> None:
    kept: list[Saga] = []

    @workflow
    async def again() -> None:
        async with saga() as s:
            kept.append(s)
        with pytest.raises(CompensationError, match="not under way"):
            s.compensate(undo, "late")
        with pytest.raises(CompensationError, match="another"):
            async with s:
                pass

    assert asyncio.run(ended(again))[0] == "completed"
    assert kept


def test_the_log_holds_each_compensation_as_a_step_like_any_other() -> None:
    async def main() -> list[str]:
        storage = InMemoryStorageBackend()
        make_engine(storage, VirtualClock(auto=True))
        with pytest.raises(ValueError, match="no luck"):
            await start(trip, "the code fails", storage=storage)
        (record,) = await storage.list_runs()
        history = await log_of(storage, record.run_id)
        return [f"{e.data.step}#{e.data.ordinal}" for e in history if isinstance(e.data, StepCompleted)]

    does, undoes = [f"saga.do#{n}" for n in (1, 2, 3)], [f"saga.undo#{n}" for n in (1, 2, 3)]
    assert asyncio.run(main()) == does + undoes
