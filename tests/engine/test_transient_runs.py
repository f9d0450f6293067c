"""Runs without a log: the same code, nothing written, everything within one call of `start`."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import pathlib
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pyworkflow import (
    CancellationError,
    ConfigurationError,
    FatalError,
    HookAlreadyReceivedError,
    HookNotFoundError,
    InMemoryStorageBackend,
    RetryableError,
    StepTransactionError,
    TransientRun,
    WorkflowNotFoundError,
    WorkflowStalledError,
    WorkflowTimeoutError,
    cancel_workflow,
    compensate,
    configure,
    continue_as_new,
    get_workflow_events,
    get_workflow_run,
    get_workflow_run_by_idempotency_key,
    get_workflow_state,
    hook,
    list_hooks,
    publish,
    reset_config,
    resume,
    resume_hook,
    shield,
    sleep,
    start,
    start_blocking,
    start_child_workflow,
    step,
    step_transaction,
    workflow,
)
from pyworkflow.engine.clock import VirtualClock
from pyworkflow.engine.engine import Engine, Settings, _engines

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from family_programs import PROGRAMS
from feature_programs import Program, all_programs
from simulated_runs import SECOND, make_engine

sys.path.pop(0)

FAMILIES = [p for p in PROGRAMS if p.name != "family.asking"]  # which nobody is there to answer
seen: list[Any] = []


@pytest.fixture(autouse=True)
def _clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    seen.clear()
    reset_config()
    yield
    reset_config()
    assert not list(tmp_path.iterdir()), "something was written"


@step(name="transient.note")
async def note(what: Any) -> Any:
    seen.append(what)
    return what


@step(name="transient.threaded")
def threaded(what: int) -> int:
    return 2 * what


async def run(flow: Any, *args: Any, clock: VirtualClock | None = None, **options: Any) -> TransientRun:
    """Run it without a log, in simulated time, and see that nothing of it is left."""
    storage = InMemoryStorageBackend()
    make_engine(storage, clock or VirtualClock(auto=True))
    before = asyncio.all_tasks()
    try:
        found = await start(flow, *args, durable=False, storage=storage, **options)
        assert isinstance(found, TransientRun)
        return found
    finally:
        assert await storage.list_runs() == []
        assert [engine for engine in _engines[asyncio.get_running_loop()].values() if engine.transient] == []
        assert asyncio.all_tasks() <= before


def test_steps_and_sleeps_happen_and_the_id_holds_the_result() -> None:
    tries: list[int] = []

    @step(retry_delay="1h", max_retries=3)
    async def flaky() -> str:
        tries.append(1)
        if len(tries) < 3:
            raise RetryableError("not yet")
        return "at last"

    @workflow
    async def flow(name: str) -> Any:
        await sleep("30d")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(hook("never"), 3600)
        return name, await asyncio.gather(note(1), threaded(2), flaky())

    clock = VirtualClock(auto=True)
    before = clock.now()
    found = asyncio.run(run(flow, "x", clock=clock))
    assert found.result == ("x", [1, 4, "at last"])
    assert found.status == "completed"
    assert clock.now() - before == (30 * 24 + 1 + 2) * 3600 * SECOND
    assert found == str(found)
    assert found.startswith("transient_")


def test_the_call_decides_before_the_workflow_and_that_before_the_configuration() -> None:
    @workflow
    async def undecided() -> int:
        return 1

    @workflow(durable=False)
    async def careless() -> int:
        return 2

    async def main() -> None:
        configure(storage="memory://")
        assert not isinstance(await start(undecided), TransientRun)
        assert isinstance(await start(careless), TransientRun)
        assert not isinstance(await start(careless, durable=True), TransientRun)
        configure(default_durable=False)
        assert isinstance(await start(undecided), TransientRun)
        assert not isinstance(await start(undecided, durable=True), TransientRun)

    asyncio.run(main())


def test_the_configured_storage_is_not_even_opened() -> None:
    @workflow(durable=False)
    async def flow() -> int:
        return int(await note(7))

    for url in ("file:runs", "redis://nowhere.invalid/0", "nothing-of-the-kind://"):
        configure(storage=url)
        found = start_blocking(flow)
        assert isinstance(found, TransientRun)
        assert found.result == 7


def test_what_the_function_raises_comes_out_with_a_note() -> None:
    @workflow
    async def failing() -> None:
        compensate(note, "undone")
        await note("done")
        raise LookupError("no luck")

    with pytest.raises(LookupError, match="no luck") as raised:
        asyncio.run(run(failing))
    assert any("pyworkflow run: transient_" in note for note in raised.value.__notes__)
    assert seen == ["done", "undone"]


def test_a_run_that_takes_too_long_or_waits_for_nothing_fails() -> None:
    @workflow(max_duration="1h")
    async def slow() -> None:
        await sleep("1d")

    @workflow
    async def stalled() -> None:
        await asyncio.Event().wait()

    with pytest.raises(WorkflowTimeoutError):
        asyncio.run(run(slow))
    with pytest.raises(WorkflowStalledError):
        asyncio.run(run(stalled))


@workflow(name="transient.child")
async def child(what: str, seconds: int = 0) -> str:
    await sleep(seconds)
    return str(await note(what))


def test_children_and_successors_run_here_whatever_their_queue() -> None:
    @step
    async def from_a_step() -> Any:
        handle = await start_child_workflow(child, "handle", 5, wait_for_completion=False)
        return await start_child_workflow(child, "step", queue="b"), await handle.result()

    @workflow(name="transient.parent")
    async def parent(left: int = 1) -> Any:
        if left:
            continue_as_new(left - 1)
        later: Any = {"wait_for_completion": False}
        await start_child_workflow(child, "left", 60, parent_close_policy="abandon", **later)
        handle = await start_child_workflow(child, "later", 10, queue="elsewhere", **later)
        here = await asyncio.gather(*(start_child_workflow(child, w, queue="elsewhere") for w in "ab"))
        return here, await handle.result(), await from_a_step()

    found = asyncio.run(run(parent))
    assert found.result == (["a", "b"], "later", ("step", "handle"))
    assert seen[-1] == "left"


@pytest.mark.parametrize("program", FAMILIES, ids=lambda p: p.name)
def test_a_family_without_a_log_ends_as_one_with_a_log(program: Any) -> None:
    async def main(durable: bool) -> Any:
        storage = InMemoryStorageBackend()
        make_engine(storage, VirtualClock(auto=True))
        try:
            found = await start(program, storage=storage, durable=durable, wait=True)
        except Exception as error:
            return f"{type(error).__name__}: {error}".partition("(")[0]
        return found.result if isinstance(found, TransientRun) else await resume(found, storage=storage)

    assert asyncio.run(main(False)) == asyncio.run(main(True))


# Without those that look at runs beside their own, and those that somebody outside has to help.
WITHIN_THE_RUN = (
    "steps retries sleeps children chain chance context patches versions progress step-hooks saga_fails"
)
STREAM = "streams: a workflow runs one"
FEATURES = [p for p in all_programs().values() if p.name in {*WITHIN_THE_RUN.split(), STREAM}]


@pytest.mark.parametrize("program", FEATURES, ids=lambda p: p.name)
def test_a_feature_works_without_a_log(program: Program) -> None:
    status, expected = program.outcome
    if status == "failed":
        with pytest.raises(Exception, match=re.escape(expected.partition(": ")[2])):
            asyncio.run(run(program.workflow, *program.args))
    else:
        found = asyncio.run(run(program.workflow, *program.args))
        assert (found.status, found.result) == (status, expected)


def test_an_answer_from_the_same_process_goes_on_with_the_run() -> None:
    tokens: asyncio.Queue[str] = asyncio.Queue()

    @workflow
    async def asking() -> Any:
        first = await hook("first", on_created=tokens.put)
        return first, await hook("second", timeout="1h", on_created=tokens.put), await note("end")

    async def main() -> None:
        task = asyncio.create_task(run(asking, clock=VirtualClock()))
        token = await tokens.get()
        assert (await resume_hook(token, {"n": 1})).status == "resumed"
        with pytest.raises(HookAlreadyReceivedError):
            await resume_hook(token, {"n": 2})
        run_id = token.rpartition(".")[0]
        assert await get_workflow_run(run_id, "memory://") is None
        token = await tokens.get()
        await resume_hook(f"{run_id}:second", "x", storage="memory://")
        assert (await task).result == ({"n": 1}, "x", "end")
        with pytest.raises(HookNotFoundError):
            await resume_hook(token, "late", storage="memory://")

    asyncio.run(main())


def test_a_run_under_way_is_found_by_its_hooks_tokens_and_says_what_it_publishes() -> None:
    @workflow
    async def publishing() -> Any:
        publish({"step": 1})
        return await hook("approval", token="order-7"), await note("end")

    async def main() -> None:
        task = asyncio.create_task(run(publishing, clock=VirtualClock()))
        while True:
            with contextlib.suppress(HookNotFoundError):
                found = await resume_hook("order-7", "yes", storage="memory://")
                break
            await asyncio.sleep(0)
        assert await get_workflow_state(found.run_id, storage="memory://") == {"step": 1}
        assert [
            info.status for info in await list_hooks(found.run_id, only_open=False, storage="memory://")
        ] == ["received"]
        assert (await task).result == ("yes", "end")

    asyncio.run(main())


def test_answers_that_come_amid_everything_else_meet_conflicts_and_all_arrive() -> None:
    @step
    async def asked(token: str) -> None:
        await resume_hook(token, len(token))

    @workflow
    async def busy() -> int:
        async def one(n: int) -> Any:
            await note(n)
            answer = await hook(f"h{n}", on_created=answer_soon)
            await asyncio.gather(note(n), threaded(n))
            return answer

        return len(await asyncio.gather(*(one(n) for n in range(30))))

    async def answer_soon(token: str) -> None:
        await asyncio.sleep(0)
        await resume_hook(token, "answer")

    assert asyncio.run(run(busy)).result == 30


def test_a_run_that_is_asked_to_stop_cleans_up_and_is_cancelled() -> None:
    tokens: asyncio.Queue[str] = asyncio.Queue()

    @workflow
    async def tidy() -> str:
        compensate(note, "undone")
        handle = await start_child_workflow(child, "child", 7200, wait_for_completion=False)
        try:
            await hook("never", on_created=tokens.put)
        except CancellationError as request:
            await note(request.reason)
            await sleep("1h")
            raise
        return str(handle)

    async def main() -> None:
        task = asyncio.create_task(run(tidy))
        run_id = (await tokens.get()).rpartition(".")[0]
        assert await cancel_workflow(run_id, "enough", wait=True)
        found = await task
        assert (found.status, found.result) == ("cancelled", None)
        with pytest.raises(WorkflowNotFoundError, match="durable=False"):
            await cancel_workflow(run_id, storage="memory://")

    asyncio.run(main())
    assert seen == ["enough", "undone"]


def test_cancelling_the_call_asks_the_run_to_stop_and_waits_for_its_clean_up() -> None:
    begun = asyncio.Event()

    @step
    async def hanging() -> None:
        begun.set()
        await asyncio.Event().wait()

    @workflow
    async def tidy() -> None:
        try:
            await hanging()
        finally:
            await sleep(60)
            await note("cleaned up")

    async def main() -> None:
        task = asyncio.create_task(run(tidy))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert seen == ["cleaned up"]


def test_cancelling_the_call_twice_cuts_the_clean_up_off() -> None:
    begun, cleaning = asyncio.Event(), asyncio.Event()

    @step
    async def hanging(event: str) -> None:
        (begun if event == "begun" else cleaning).set()
        await asyncio.Event().wait()

    @workflow
    async def tidy() -> None:
        try:
            await hanging("begun")
        finally:
            async with shield():
                await hanging("cleaning")

    async def main() -> None:
        task = asyncio.create_task(run(tidy))
        for event in (begun, cleaning):
            await event.wait()
            task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())


def test_what_needs_a_log_is_refused_in_words() -> None:
    @workflow(durable=False)
    async def flow() -> None:
        await note("never")

    async def main() -> None:
        names = ("idempotency_key", "queue", "delay", "deduplication_id", "concurrency_key")
        options: dict[str, Any] = {**dict.fromkeys(names, "1s"), "start_at": datetime(2030, 1, 1, tzinfo=UTC)}
        for name, value in options.items():
            with pytest.raises(ConfigurationError, match=f"'flow': {name} needs a log"):
                await start(flow, storage="memory://", **{name: value})
        assert await get_workflow_run_by_idempotency_key("k", "memory://") is None

    asyncio.run(main())
    assert seen == []


def test_a_transaction_with_the_log_is_refused_because_there_is_none() -> None:
    @step
    async def paying() -> None:
        async with step_transaction():
            pass

    @workflow
    async def flow() -> None:
        await paying()

    with pytest.raises(StepTransactionError, match="durable=False"):
        asyncio.run(run(flow))


def test_looking_for_a_run_that_is_gone_says_why_it_is_not_there() -> None:
    @workflow(durable=False)
    async def flow() -> int:
        return 1

    async def main() -> None:
        configure(storage="memory://")
        run_id = await start(flow)
        assert await get_workflow_run(run_id) is None
        for ask in (resume, get_workflow_events, cancel_workflow):
            with pytest.raises(WorkflowNotFoundError, match="leaves nothing behind"):
                await ask(run_id)
        assert json.dumps([run_id]) == f'["{run_id}"]'

    asyncio.run(main())


def test_many_at_once_do_not_know_of_each_other_and_leave_no_storage_behind() -> None:
    @workflow
    async def flow(n: int) -> int:
        await sleep(n)
        return int(await note(n)) if n % 7 else await failing(n)

    @step(name="transient.failing")
    async def failing(n: int) -> int:
        raise FatalError(str(n))

    async def work(storage: InMemoryStorageBackend) -> None:
        calls = [start(flow, n, durable=False, storage=storage) for n in range(1, 100)]
        for n, found in enumerate(await asyncio.gather(*calls, return_exceptions=True), 1):
            assert isinstance(found, FatalError) if n % 7 == 0 else found.result == n  # type: ignore[union-attr]

    async def main() -> None:
        storage = InMemoryStorageBackend()
        make_engine(storage, VirtualClock(auto=True), settings=Settings(poll=1000))
        before = transient_engines()
        await work(storage)
        await asyncio.sleep(0)  # asyncio lets go of what it handed over in its next turn
        assert transient_engines() <= before

    asyncio.run(main())


def transient_engines() -> set[int]:
    """Those that anything still refers to."""
    gc.collect()
    return {id(o) for o in gc.get_objects() if isinstance(o, Engine) and o.transient}
