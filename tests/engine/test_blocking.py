"""Blocking twins: each async function of the front door has one, and many threads may call them."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import inspect
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import pyworkflow
from pyworkflow import (
    ConfigurationError,
    HookAlreadyReceivedError,
    InMemoryStorageBackend,
    RunStatus,
    blocking,
    cancel_workflow_blocking,
    get_workflow_chain_blocking,
    get_workflow_events_blocking,
    get_workflow_run_blocking,
    get_workflow_run_by_idempotency_key_blocking,
    hook,
    list_hooks_blocking,
    list_workflow_runs_blocking,
    open_storage,
    resume_blocking,
    resume_hook_blocking,
    run_blocking,
    sleep,
    start_blocking,
    step,
    workflow,
)
from pyworkflow.engine.loop_thread import LoopThread

ONLY_INSIDE = {"get_checkpoint", "get_current_signal", "save_checkpoint", "set_result"}
"""Async functions that are called in workflows and steps only, and so need no blocking twin."""

ASYNC = [
    name
    for name in pyworkflow.__all__
    if inspect.iscoroutinefunction(getattr(pyworkflow, name)) and name not in ONLY_INSIDE
]
trace: contextvars.ContextVar[str] = contextvars.ContextVar("trace", default="none")


@step(name="blocking.double")
def double(n: int) -> int:
    return 2 * n


@step(name="blocking.traced")
async def traced() -> str:
    return trace.get()


@step(name="blocking.nested")
def nested(n: int) -> Any:
    run = get_workflow_run_blocking(start_blocking(doubling, n, storage=storages[0]), storages[0])
    assert run is not None
    return run.result


@workflow(name="blocking.doubling")
async def doubling(n: int) -> int:
    return await double(n)


@workflow(name="blocking.nesting")
async def nesting(n: int) -> Any:
    return await nested(n), await traced()


@workflow(name="blocking.asking")
async def asking() -> Any:
    return await hook("question")


@workflow(name="blocking.sleeping")
async def sleeping() -> None:
    await sleep("1h")


storages: list[Any] = []


@pytest.mark.parametrize("name", ASYNC)
def test_every_async_function_of_the_front_door_has_a_blocking_twin(name: str) -> None:
    twin = getattr(blocking, f"{name}_blocking", None)
    assert twin is not None, (
        f"add '{name}_blocking = twin({name})' to pyworkflow/blocking.py and its name to "
        "pyworkflow/__init__.py; or add it to ONLY_INSIDE here"
    )
    assert f"{name}_blocking" in pyworkflow.__all__
    assert inspect.signature(twin) == inspect.signature(getattr(pyworkflow, name))
    assert f"`{name}`" in (twin.__doc__ or "")

    async def inside_a_loop() -> None:
        with pytest.raises(ConfigurationError, match=rf"write 'await {name}\(…\)' here"):
            twin()

    asyncio.run(inside_a_loop())


def test_a_program_without_an_event_loop_does_everything() -> None:
    storage = InMemoryStorageBackend()
    run_id = start_blocking(asking, storage=storage, idempotency_key="once")
    (waiting,) = list_hooks_blocking(run_id, storage=storage)
    assert resume_hook_blocking(waiting.token, {"n": 1}, storage=storage).run_id == run_id
    with pytest.raises(HookAlreadyReceivedError):
        resume_hook_blocking(waiting.token, 2, storage=storage)
    assert resume_blocking(run_id, storage=storage) == {"n": 1}
    run = get_workflow_run_by_idempotency_key_blocking("once", storage)
    assert run == get_workflow_run_blocking(run_id, storage)
    assert (
        [run] == get_workflow_chain_blocking(run_id, storage) == list_workflow_runs_blocking(storage=storage)
    )
    assert get_workflow_events_blocking(run_id, storage)[-1].type == "workflow_completed"
    other = start_blocking(sleeping, storage=storage)
    assert cancel_workflow_blocking(other, "enough", wait=True, storage=storage)
    stopped = get_workflow_run_blocking(other, storage)
    assert stopped is not None
    assert stopped.status is RunStatus.CANCELLED
    run_blocking(storage.close())


@pytest.mark.parametrize("scheme", ["memory", "file", "sqlite"])
def test_many_threads_share_one_storage(scheme: str, tmp_path: Path) -> None:
    url = {"memory": "memory:", "file": f"file:{tmp_path}/runs", "sqlite": f"sqlite:///{tmp_path}/runs.db"}
    storage = open_storage(url[scheme])

    def work(n: int) -> Any:
        run = get_workflow_run_blocking(start_blocking(doubling, n, storage=storage), storage)
        assert run is not None
        return run.result

    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        assert list(threads.map(work, range(40))) == [2 * n for n in range(40)]
    assert len(list_workflow_runs_blocking(storage=storage)) == 40
    run_blocking(storage.close())


def test_a_step_in_a_thread_may_call_them_and_sees_what_the_caller_has_set() -> None:
    storages[:] = [InMemoryStorageBackend()]
    before = trace.set("mine")
    try:
        run = get_workflow_run_blocking(start_blocking(nesting, 4, storage=storages[0]), storages[0])
    finally:
        trace.reset(before)
    assert run is not None
    assert run.result == (8, "mine")


def test_an_async_step_that_blocks_is_told_what_to_write() -> None:
    @step(name="blocking.mistaken", max_retries=0)
    async def mistaken() -> None:
        start_blocking(doubling, 1)

    @workflow(name="blocking.mistake")
    async def mistake() -> None:
        await mistaken()

    with pytest.raises(ConfigurationError, match=r"write 'await start\(…\)' here"):
        start_blocking(mistake, storage=InMemoryStorageBackend())


def test_run_blocking_takes_a_coroutine_and_nothing_else() -> None:
    async def answer() -> int:
        return 42

    assert run_blocking(answer()) == 42
    with pytest.raises(TypeError, match="takes a coroutine"):
        run_blocking(answer)  # type: ignore[arg-type]

    async def inside_a_loop() -> None:
        with pytest.raises(ConfigurationError, match="write 'await …' here"):
            run_blocking(answer())

    asyncio.run(inside_a_loop())


def test_an_exception_that_ends_loops_reaches_its_caller_and_the_others_go_on() -> None:
    thread = LoopThread()
    going, goes = threading.Event(), threading.Event()

    async def interrupted() -> None:
        raise KeyboardInterrupt

    async def patient() -> str:
        going.set()
        while not goes.is_set():
            await asyncio.sleep(0.001)
        return "done"

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        other = pool.submit(thread.run, patient)
        going.wait()
        with pytest.raises(KeyboardInterrupt):
            thread.run(interrupted)
        goes.set()
        assert other.result() == "done"
    thread.close()
    thread.close()


PROGRAM = """
import asyncio, os, signal, sys
from pyworkflow import get_workflow_run_blocking, start_blocking, step, workflow

@step(max_retries=0)
async def long():
    print("begun", flush=True)
    await asyncio.sleep(3600)

@step
def pid(): return os.getpid()

@workflow
async def flow(fork): return await pid() if fork else await long()

url = "file:" + sys.argv[2]
if sys.argv[1] == "interrupt":
    # Whoever started the tests in the background had it ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        start_blocking(flow, False, storage=url, idempotency_key="k")
    except KeyboardInterrupt:
        from pyworkflow import get_workflow_run_by_idempotency_key_blocking as look
        print(look("k", url).status)
else:
    first = get_workflow_run_blocking(start_blocking(flow, True, storage=url), url).result
    child = os.fork()
    second = get_workflow_run_blocking(start_blocking(flow, True, storage=url), url).result
    found = first == os.getpid() if child else False, second == os.getpid()
    print("%s %s\\n" % found, end="", flush=True)  # in one piece: both write to the same pipe
    if child:
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""


def test_an_interrupt_leaves_the_run_in_good_order(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, "interrupt", str(tmp_path / "runs")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=60)[0] == "suspended\n"
    assert process.returncode == 0


def test_a_forked_child_has_an_event_loop_of_its_own(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, "fork", str(tmp_path / "runs")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert sorted(done.stdout.splitlines()) == ["False True", "True True"], done.stderr
    assert done.returncode == 0
