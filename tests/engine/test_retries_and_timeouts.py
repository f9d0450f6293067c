"""When a failed step is tried again, and what its attempts may do."""

from __future__ import annotations

import asyncio
import contextvars
import pathlib
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from pyworkflow import (
    FatalError,
    InMemoryStorageBackend,
    RetryableError,
    StepTimeoutError,
    UnserializableValueError,
    start,
    step,
    workflow,
)
from pyworkflow.engine.clock import VirtualClock
from pyworkflow_core.errors import LimitExceeded
from pyworkflow_core.payloads import StepFailed, StepRetrying
from pyworkflow_core.storage import Limits

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from simulated_runs import SECOND, log_of, make_engine
from storage_wrappers import Wrapper

sys.path.pop(0)


def run(flow: Any, *args: Any, storage: Any = None) -> tuple[list[Any], BaseException | None]:
    """Run a workflow to its end in simulated time: its log's payloads, and what it raised."""

    async def main() -> tuple[list[Any], BaseException | None]:
        backend = storage or InMemoryStorageBackend()
        engine = make_engine(backend, VirtualClock(auto=True))
        error: BaseException | None = None
        try:
            await start(flow, *args, storage=backend, wait=True)
        except Exception as caught:
            error = caught
        (record,) = await engine.storage.list_runs()
        return await log_of(backend, record.run_id), error

    return asyncio.run(main())


def failing(times: int, make: Callable[[int], BaseException], **options: Any) -> tuple[Any, list[int]]:
    """A workflow of one step that fails so often, and the list of its executions."""
    executions: list[int] = []

    @step(**options)
    async def fails() -> int:
        executions.append(1)
        if len(executions) <= times:
            raise make(len(executions))
        return len(executions)

    @workflow
    async def flow() -> Any:
        return await fails()

    return flow, executions


def waits(history: list[Any]) -> list[float]:
    """Seconds between each failure and its retry."""
    return [(e.data.retry_at - e.at) / SECOND for e in history if isinstance(e.data, StepRetrying)]


@pytest.mark.parametrize(
    ("delay", "expected"),
    [("fixed", [1, 1, 1]), ("2s", [2, 2, 2]), (0.5, [0.5] * 3), ([1, "5s"], [1, 5, 5])],
)
def test_a_step_is_tried_again_after_the_delays_that_it_names(delay: Any, expected: list[float]) -> None:
    flow, executions = failing(3, ValueError, retry_delay=delay)
    history, error = run(flow)
    assert error is None
    assert waits(history) == expected
    assert len(executions) == 4


def test_exponential_delays_double_up_to_a_bound_and_are_shortened_at_random() -> None:
    flow, _ = failing(12, ValueError, max_retries=12)
    history, _ = run(flow)
    longest = [min(2.0**n, 300.0) for n in range(12)]
    found = waits(history)
    assert all(most / 2 <= wait <= most for wait, most in zip(found, longest, strict=True))
    assert found != longest


def test_a_step_fails_for_good_after_its_last_retry_and_the_starter_gets_its_error() -> None:
    flow, executions = failing(99, ValueError, max_retries=2, retry_delay=1)
    history, error = run(flow)
    assert len(executions) == 3
    assert type(error) is ValueError
    assert error.args == (3,)
    assert any("pyworkflow run: run_" in note for note in error.__notes__)
    assert [e.data.attempt for e in history if isinstance(e.data, StepFailed)] == [3]


def test_a_step_chooses_the_moment_of_its_retry() -> None:
    flow, _ = failing(2, lambda n: RetryableError("later", retry_after=f"{n * 10}s"))
    assert waits(run(flow)[0]) == [10, 20]
    flow, _ = failing(1, lambda n: RetryableError("later"), retry_delay="7s")
    assert waits(run(flow)[0]) == [7]
    flow, _ = failing(1, lambda n: RetryableError("later", retry_after="soon"), retry_delay="7s")
    assert waits(run(flow)[0]) == [7]


def test_a_fatal_error_is_not_tried_again() -> None:
    flow, executions = failing(9, lambda n: FatalError("no"))
    history, error = run(flow)
    assert isinstance(error, FatalError)
    assert (waits(history), len(executions)) == ([], 1)


@pytest.mark.parametrize("kind", [SystemExit, StopIteration, StopAsyncIteration, GeneratorExit])
@pytest.mark.parametrize("threaded", [False, True], ids=["async def", "def"])
def test_whatever_a_step_raises_is_recorded_as_its_failure(kind: type[BaseException], threaded: bool) -> None:
    def body() -> None:
        raise kind("odd")

    async def async_body() -> None:
        body()

    odd = step(name="odd", max_retries=0)(body if threaded else async_body)

    @workflow
    async def flow() -> Any:
        try:
            await odd()
        except BaseException as error:
            return type(error).__name__

    history, error = run(flow)
    assert error is None
    assert [e.data.attempt for e in history if isinstance(e.data, StepFailed)] == [1]


class _Unspeakable(Exception):
    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError("nobody may look at this error")


@pytest.mark.parametrize("what", ["an error that cannot be looked at", "a delay that is none"])
def test_whatever_is_wrong_with_an_error_the_step_fails_and_the_run_ends(what: str) -> None:
    @step(max_retries=1, retry_delay=1)
    async def bad() -> None:
        if what == "a delay that is none":
            raise RetryableError("later", retry_after=1e308)
        raise _Unspeakable

    @workflow
    async def flow() -> None:
        await bad()

    _, error = run(flow)
    assert isinstance(error, RetryableError if what == "a delay that is none" else RuntimeError)


def test_a_result_that_cannot_be_written_fails_the_step_once_and_names_the_place() -> None:
    executions = []

    @step
    async def bad() -> Any:
        executions.append(1)
        return {"items": [1, object()]}

    @workflow
    async def flow() -> Any:
        return await bad()

    _, error = run(flow)
    assert isinstance(error, UnserializableValueError)
    assert "result['items'][1]" in str(error)
    assert executions == [1]


class _Small(Wrapper):
    def __init__(self) -> None:
        super().__init__(InMemoryStorageBackend(), limits=Limits(event_bytes=20_000))


@pytest.mark.parametrize("raising", [False, True], ids=["result", "error"])
def test_a_step_that_says_more_than_the_storage_takes_fails_with_that_reason(raising: bool) -> None:
    executions = []

    @step(max_retries=0)
    async def large() -> str:
        executions.append(1)
        if raising:
            raise ValueError("x" * 100_000)
        return "x" * 100_000

    @workflow
    async def flow() -> Any:
        return await large()

    _, error = run(flow, storage=_Small())
    assert isinstance(error, LimitExceeded)
    assert "20000" in str(error).replace(",", "")
    assert executions == [1]


def test_a_workflow_whose_result_is_larger_than_the_storage_takes_fails_with_that_reason() -> None:
    @workflow
    async def flow() -> str:
        return "x" * 100_000

    assert isinstance(run(flow, storage=_Small())[1], LimitExceeded)


@pytest.mark.parametrize("threaded", [False, True], ids=["async def", "def"])
def test_an_attempt_that_takes_too_long_is_a_timeout_and_is_tried_again(threaded: bool) -> None:
    executions: list[int] = []
    release = threading.Event()

    def blocking() -> int:
        executions.append(1)
        if len(executions) == 1:
            release.wait(30)
        return len(executions)

    async def waiting() -> int:
        executions.append(1)
        if len(executions) == 1:
            await asyncio.Event().wait()
        return len(executions)

    slow = step(name="slow", timeout=0.05, retry_delay=0)(blocking if threaded else waiting)

    @workflow
    async def flow() -> Any:
        try:
            return await slow()
        finally:
            release.set()

    history, error = run(flow)
    assert error is None
    retries = [e.data for e in history if isinstance(e.data, StepRetrying)]
    assert len(retries) == 1
    assert b"StepTimeoutError" in bytes(retries[0].error)


def test_a_timeout_error_of_the_step_itself_is_not_taken_for_the_limit() -> None:
    flow, _ = failing(9, lambda n: TimeoutError("the server's"), timeout=60, max_retries=0)
    error = run(flow)[1]
    assert type(error) is TimeoutError
    assert not isinstance(error, StepTimeoutError)


def test_sync_steps_run_in_other_threads_with_the_callers_context() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")
    seen: list[Any] = []
    barrier = threading.Barrier(2, timeout=20)

    @step
    def threaded(n: int) -> int:
        barrier.wait()
        seen.append((variable.get(), threading.current_thread() is threading.main_thread()))
        variable.set("from the step")
        return n

    @workflow
    async def flow() -> Any:
        return await asyncio.gather(threaded(1), threaded(2))

    async def main() -> None:
        variable.set("outside")
        storage = InMemoryStorageBackend()
        make_engine(storage, VirtualClock())
        await start(flow, storage=storage)
        assert variable.get() == "outside"

    asyncio.run(main())
    assert seen == [("outside", False)] * 2


def test_the_same_seed_draws_the_same_jitter() -> None:
    flow, _ = failing(5, ValueError, max_retries=5)
    first = waits(run(flow)[0])
    again, _ = failing(5, ValueError, max_retries=5)
    assert waits(run(again)[0]) == first
