"""What steps ask and record while they run: who they are, progress, checkpoints, hooks."""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import sys
import threading
from typing import Any

import pytest

from pyworkflow import (
    FatalError,
    HookAlreadyReceivedError,
    HookExpiredError,
    InMemoryStorageBackend,
    StepHeartbeatTimeoutError,
    StepOutsideWorkflowError,
    UnserializableValueError,
    delete_step_checkpoint,
    delete_step_checkpoint_blocking,
    heartbeat,
    hook,
    list_hooks,
    load_step_checkpoint,
    load_step_checkpoint_blocking,
    resume,
    resume_hook,
    save_step_checkpoint,
    save_step_checkpoint_blocking,
    start,
    step,
    step_hook,
    step_hook_blocking,
    step_info,
    workflow,
)
from pyworkflow.engine.clock import VirtualClock
from pyworkflow.engine.engine import Engine, Settings
from pyworkflow_core.payloads import StepHeartbeat, StepRetrying
from pyworkflow_core.storage import StorageBackend

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from simulated_runs import SECOND, check_log, log_of, make_engine, recorded, replay

sys.path.pop(0)

QUICK = Settings(poll=2000)  # what another process appends is seen after 2 ms


def _simulated(*, auto: bool = False) -> tuple[InMemoryStorageBackend, VirtualClock, Engine]:
    storage, clock = InMemoryStorageBackend(), VirtualClock(auto=auto)
    return storage, clock, make_engine(storage, clock, settings=QUICK)


async def _checked(storage: StorageBackend, run_id: str) -> list[Any]:
    """The payloads of a run's log, after the checks that hold of every log."""
    record = await storage.get(run_id)
    assert record is not None
    check_log(await storage.read(run_id), record)
    history = await log_of(storage, run_id)
    assert replay(history) == recorded(history)
    assert replay(history, one_by_one=True) == recorded(history)
    return [envelope.data for envelope in history]


async def _result(storage: StorageBackend, run_id: str) -> Any:
    await _checked(storage, run_id)
    return await resume(run_id, storage=storage)


# ---- who it is ---------------------------------------------------------------------------


@step(name="inside.who", retry_delay=0)
def who(fail: int) -> Any:
    info = step_info()
    if info.attempt <= fail:
        raise OSError(info.idempotency_key)
    return [info.run_id, info.workflow_name, info.step_id, info.name, info.ordinal, info.attempt]


@step(name="inside.key", retry_delay=0)
async def key(keys: list[str]) -> str:
    info = step_info()
    seen.append(info.idempotency_key)
    if info.attempt == 1:
        raise OSError
    return info.idempotency_key


seen: list[str] = []


def test_a_step_knows_its_run_its_call_and_its_attempt() -> None:
    @workflow(name="inside.knowing")
    async def knowing() -> Any:
        return [await who(0), await who(2)]

    async def main() -> None:
        storage, _, _ = _simulated(auto=True)
        run_id = await start(knowing, storage=storage, wait=True)
        first = [run_id, "inside.knowing", "inside.who#1", "inside.who", 1, 1]
        second = [run_id, "inside.knowing", "inside.who#2", "inside.who", 2, 3]
        assert await _result(storage, run_id) == [first, second]

    asyncio.run(main())


def test_the_idempotency_key_is_the_same_in_every_attempt_and_differs_between_steps() -> None:
    seen.clear()

    @workflow(name="inside.keys")
    async def keys() -> Any:
        return [await key([]), await key([])]

    async def main() -> None:
        storage, _, _ = _simulated(auto=True)
        one, two = await _result(storage, await start(keys, storage=storage, wait=True))
        assert seen == [one, one, two, two]
        assert one != two
        other, _ = await _result(storage, await start(keys, storage=storage, wait=True))
        assert other not in {one, two}

    asyncio.run(main())


@pytest.mark.parametrize("where", ["nowhere", "workflow"])
@pytest.mark.parametrize(
    "call",
    [
        step_info,
        heartbeat,
        lambda: save_step_checkpoint(1),
        load_step_checkpoint,
        delete_step_checkpoint,
        lambda: step_hook("h"),
        lambda: save_step_checkpoint_blocking(1),
        load_step_checkpoint_blocking,
        delete_step_checkpoint_blocking,
        lambda: step_hook_blocking("h"),
    ],
)
def test_outside_a_step_every_one_of_them_says_where_it_belongs(call: Any, where: str) -> None:
    @workflow(name="inside.outside")
    async def outside() -> None:
        call()

    async def main() -> None:
        storage, _, _ = _simulated()
        with pytest.raises(StepOutsideWorkflowError, match="belongs into a function decorated with @step"):
            await start(outside, storage=storage)

    if where == "workflow":
        asyncio.run(main())
    else:
        with pytest.raises(StepOutsideWorkflowError, match="belongs into a function decorated with @step"):
            call()


# ---- checkpoints -------------------------------------------------------------------------


@step(name="inside.counting", retry_delay=0)
async def counting(failures: int) -> Any:
    at = await load_step_checkpoint(0)
    for n in range(at, 5):
        worked.append(n)
        await save_step_checkpoint(n + 1)
        if n < failures and step_info().attempt <= failures:
            raise OSError
    removed = await delete_step_checkpoint(), await delete_step_checkpoint()
    return [*removed, await load_step_checkpoint("none")]


@step(name="inside.counting_in_a_thread", retry_delay=0)
def counting_in_a_thread(failures: int) -> Any:
    at = load_step_checkpoint_blocking(0)
    for n in range(at, 5):
        worked.append(n)
        save_step_checkpoint_blocking(n + 1)
        if n < failures and step_info().attempt <= failures:
            raise OSError
    removed = delete_step_checkpoint_blocking(), delete_step_checkpoint_blocking()
    return [*removed, load_step_checkpoint_blocking("none")]


worked: list[int] = []


@pytest.mark.parametrize("how", [counting, counting_in_a_thread], ids=["async", "def"])
def test_a_retry_goes_on_from_the_last_checkpoint(how: Any) -> None:
    worked.clear()

    @workflow(name="inside.checkpoints")
    async def checkpoints() -> Any:
        return await how(3)

    async def main() -> None:
        storage, _, _ = _simulated(auto=True)
        run_id = await start(checkpoints, storage=storage, wait=True)
        assert await _result(storage, run_id) == [True, False, "none"]
        assert worked == [0, 1, 2, 3, 4]

    asyncio.run(main())


def test_checkpoints_have_names_and_belong_to_one_call_of_a_step() -> None:
    @step(name="inside.named", retry_delay=0)
    async def named(value: Any) -> Any:
        before = [await load_step_checkpoint(name=name) for name in ("a", "b")]
        if step_info().attempt == 1:
            await save_step_checkpoint({"n": (1, value)}, name="a")
            await asyncio.gather(save_step_checkpoint(2, name="b"), save_step_checkpoint(None))
            raise OSError
        return [*before, await load_step_checkpoint("default")]

    @workflow(name="inside.names")
    async def names() -> Any:
        return list(await asyncio.gather(named("x"), named("y")))

    async def main() -> None:
        storage, _, _ = _simulated(auto=True)
        one, two = await _result(storage, await start(names, storage=storage, wait=True))
        assert one == [{"n": (1, "x")}, 2, None]
        assert two == [{"n": (1, "y")}, 2, None]

    asyncio.run(main())


def test_what_cannot_be_recorded_fails_where_it_is_saved() -> None:
    @step(name="inside.unwritable")
    async def unwritable() -> Any:
        with pytest.raises(UnserializableValueError, match="checkpoint"):
            await save_step_checkpoint({"at": object()})
        with pytest.raises(UnserializableValueError, match="details"):
            heartbeat(object())
        with pytest.raises(ValueError, match="name of a checkpoint"):
            await save_step_checkpoint(1, name="")
        return await load_step_checkpoint("nothing")

    @workflow(name="inside.unwritten")
    async def unwritten() -> Any:
        return await unwritable()

    async def main() -> None:
        storage, _, _ = _simulated()
        assert await _result(storage, await start(unwritten, storage=storage)) == "nothing"

    asyncio.run(main())


def test_the_twins_of_threads_and_of_the_loop_name_each_other() -> None:
    @step(name="inside.twins")
    async def on_the_loop() -> list[str]:
        found = []
        for call in (lambda: save_step_checkpoint_blocking(1), lambda: step_hook_blocking("h")):
            with pytest.raises(StepOutsideWorkflowError) as caught:
                call()
            found.append(str(caught.value))
        await asyncio.to_thread(save_step_checkpoint_blocking, 7)  # a thread of an async step may
        return [*found, await load_step_checkpoint()]

    @step(name="inside.twins_in_a_thread")
    def in_a_thread() -> list[str]:
        found = []
        for call in (lambda: save_step_checkpoint(1), load_step_checkpoint, lambda: step_hook("h")):
            with pytest.raises(StepOutsideWorkflowError) as caught:
                call()
            found.append(str(caught.value))
        return found

    @workflow(name="inside.mistaken")
    async def mistaken() -> Any:
        return [await on_the_loop(), await in_a_thread()]

    async def main() -> None:
        storage, _, _ = _simulated()
        loop, thread = await _result(storage, await start(mistaken, storage=storage))
        assert "await save_step_checkpoint(…)" in loop[0]
        assert "await step_hook(…)" in loop[1]
        assert loop[2] == 7
        assert ["call save_step_checkpoint_blocking()" in text for text in thread] == [True, False, False]
        assert "call step_hook_blocking()" in thread[2]

    asyncio.run(main())


# ---- heartbeats --------------------------------------------------------------------------


def test_heartbeats_are_recorded_seldom_and_the_next_attempt_has_the_last_details() -> None:
    @step(name="inside.beating", retry_delay=0)
    async def beating() -> Any:
        info = step_info()
        if info.attempt == 1:
            for n in range(100):
                heartbeat({"row": n})
                await asyncio.sleep(0)
            raise OSError
        heartbeat()
        return [info.heartbeat_details, step_info().heartbeat_details]

    @workflow(name="inside.beats")
    async def beats() -> Any:
        return await beating()

    async def main() -> None:
        storage, clock, _ = _simulated()
        run_id = await start(beats, storage=storage)
        clock.advance(SECOND)
        await resume(run_id, storage=storage)
        assert await _result(storage, run_id) == [{"row": 99}, {"row": 99}]
        payloads = await _checked(storage, run_id)
        assert len([p for p in payloads if isinstance(p, StepHeartbeat)]) <= 2
        (retrying,) = [p for p in payloads if isinstance(p, StepRetrying)]
        assert bytes(retrying.details) == b'{"row":99}'

    asyncio.run(main())


def test_details_that_came_between_two_records_are_recorded_when_it_is_time() -> None:
    go = asyncio.Event()

    @step(name="inside.silent")
    async def silent() -> None:
        heartbeat(1)
        heartbeat(2)
        await go.wait()

    @workflow(name="inside.silence")
    async def silence() -> None:
        await silent()

    async def main() -> None:
        storage, clock, engine = _simulated()
        task = asyncio.create_task(start(silence, storage=storage))

        async def details() -> list[bytes]:
            runs = await storage.list_runs()
            history = await log_of(storage, runs[0].run_id) if runs else []
            return [bytes(e.data.details) for e in history if isinstance(e.data, StepHeartbeat)]

        while await details() != [b"1"]:
            await asyncio.sleep(0)
        clock.advance(engine.settings.beat)
        while await details() != [b"1", b"2"]:
            await asyncio.sleep(0)
        go.set()
        await _checked(storage, await task)

    asyncio.run(main())


@pytest.mark.parametrize("kind", ["async", "def"])
def test_an_attempt_that_stops_beating_fails_and_is_tried_again(kind: str) -> None:
    release = threading.Event()
    attempts: list[int] = []

    @step(name="inside.stuck", heartbeat_timeout="10s", retry_delay=0)
    async def stuck() -> Any:
        heartbeat("half way")
        attempts.append(step_info().attempt)
        if len(attempts) == 1:
            await asyncio.Event().wait()
        return step_info().heartbeat_details

    @step(name="inside.stuck_in_a_thread", heartbeat_timeout="10s", retry_delay=0)
    def stuck_in_a_thread() -> Any:
        heartbeat("half way")
        attempts.append(step_info().attempt)
        if len(attempts) == 1:
            release.wait()
            with contextlib.suppress(asyncio.CancelledError):
                heartbeat("too late")  # nobody waits for this thread any more
                attempts.append(-1)
        return step_info().heartbeat_details

    @workflow(name="inside.sticking")
    async def sticking() -> Any:
        return await (stuck() if kind == "async" else stuck_in_a_thread())

    async def main() -> None:
        storage, clock, _ = _simulated()
        task = asyncio.create_task(start(sticking, storage=storage))
        try:
            while not attempts:
                await asyncio.sleep(0.001)
            clock.advance(11 * SECOND)
            run_id = await task
        finally:
            release.set()
        assert await _result(storage, run_id) == "half way"
        assert attempts[:2] == [1, 2]
        (retrying,) = [p for p in await _checked(storage, run_id) if isinstance(p, StepRetrying)]
        assert b"heartbeat_timeout of 10 s" in bytes(retrying.error)

    asyncio.run(main())
    assert -1 not in attempts


def test_heartbeats_keep_a_long_attempt_alive() -> None:
    @step(name="inside.long", heartbeat_timeout="10s", max_retries=0)
    async def long(clock_moves: int) -> str:
        for _ in range(clock_moves):
            clocks[0].advance(6 * SECOND)
            heartbeat()
            await asyncio.sleep(0)
        return "done"

    @workflow(name="inside.lasting")
    async def lasting() -> str:
        return await long(10)

    clocks: list[VirtualClock] = []

    async def main() -> None:
        storage, clock, _ = _simulated()
        clocks.append(clock)
        assert await _result(storage, await start(lasting, storage=storage)) == "done"

    asyncio.run(main())


def test_a_heartbeat_timeout_without_retries_fails_the_run() -> None:
    @step(name="inside.dead", heartbeat_timeout=1, max_retries=0)
    async def dead() -> None:
        await asyncio.Event().wait()

    @workflow(name="inside.dying")
    async def dying() -> None:
        await dead()

    async def main() -> None:
        storage, _, _ = _simulated(auto=True)
        with pytest.raises(StepHeartbeatTimeoutError, match=r"'inside.dead' gave no heartbeat .* of 1 s"):
            await start(dying, storage=storage)

    asyncio.run(main())


# ---- hooks -------------------------------------------------------------------------------


async def _open_hook(storage: StorageBackend) -> Any:
    """The first hook that is open, once there is one."""
    while True:
        found = await list_hooks(storage=storage)
        if found:
            return found[0]
        await asyncio.sleep(0)


@pytest.mark.parametrize("kind", ["async", "def"])
def test_a_step_waits_for_an_answer_from_outside(kind: str) -> None:
    told: list[str] = []

    @step(name="inside.asking")
    async def asking() -> Any:
        return await step_hook("approval", on_created=told.append, payload_schema=int)

    @step(name="inside.asking_in_a_thread")
    def asking_in_a_thread() -> Any:
        return step_hook_blocking("approval", on_created=told.append, payload_schema=int)

    @workflow(name="inside.asked")
    async def asked() -> Any:
        return await asyncio.gather(asking() if kind == "async" else asking_in_a_thread(), hook("approval"))

    async def main() -> None:
        storage, _, _ = _simulated()
        task = asyncio.create_task(start(asked, storage=storage))
        while not told:
            await asyncio.sleep(0)
        waiting = {h.hook_id: h for h in await list_hooks(storage=storage)}
        name = "inside.asking" if kind == "async" else "inside.asking_in_a_thread"
        assert set(waiting) == {"approval#1", f"{name}#1/approval#1"}
        mine = waiting[f"{name}#1/approval#1"]
        assert told == [mine.token]
        with pytest.raises(ValueError, match="fit"):
            await resume_hook(mine.token, "yes", storage=storage)
        result = await resume_hook(f"{mine.run_id}:{name}#1/approval", 5, storage=storage)
        assert result.hook_id == f"{name}#1/approval#1"
        with pytest.raises(HookAlreadyReceivedError):
            await resume_hook(mine.token, 6, storage=storage)
        await task
        await resume_hook(f"{mine.run_id}:approval", "other", storage=storage)
        assert await resume(mine.run_id, storage=storage) == [5, "other"]
        await _checked(storage, mine.run_id)

    asyncio.run(main())


def test_a_further_attempt_finds_the_same_hook_answered_or_not() -> None:
    told: list[str] = []

    @step(name="inside.patient", retry_delay=0)
    async def patient() -> Any:
        attempt = step_info().attempt
        if attempt == 1:
            async with asyncio.timeout(0.001):
                await step_hook("a", on_created=told.append)
        first = await step_hook("a", on_created=told.append)
        if attempt == 2:
            raise OSError
        return [first, await step_hook("a"), await step_hook("b")]

    @workflow(name="inside.patience")
    async def patience() -> Any:
        return await patient()

    async def main() -> None:
        storage, _, _ = _simulated()
        task = asyncio.create_task(start(patience, storage=storage))
        while len(told) < 2:
            await asyncio.sleep(0)
        assert told[0] == told[1]
        for answer in (1, 2, 3):
            await resume_hook((await _open_hook(storage)).token, answer, storage=storage)
        run_id = await task
        assert await _result(storage, run_id) == [1, 2, 3]
        assert len(told) == 2

    asyncio.run(main())


def test_a_hook_in_a_step_expires_and_is_closed_when_the_step_has_ended() -> None:
    @step(name="inside.hasty")
    async def hasty() -> Any:
        try:
            return await step_hook("soon", timeout="1h")
        except HookExpiredError as error:
            return str(error)

    @step(name="inside.leaving")
    async def leaving() -> None:
        task = asyncio.create_task(step_hook("left"))
        (_, pending) = await asyncio.wait([task], timeout=0.001)
        for one in pending:
            one.cancel()
        raise FatalError

    @workflow(name="inside.expiring")
    async def expiring() -> Any:
        found = await hasty()
        with contextlib.suppress(FatalError):
            await leaving()
        await hook("end")
        return found

    async def main() -> None:
        storage, _, _ = _simulated(auto=True)
        run_id = await start(expiring, storage=storage)
        statuses = {h.name: h.status for h in await list_hooks(run_id, only_open=False, storage=storage)}
        assert statuses == {"soon": "expired", "left": "disposed", "end": "open"}
        for name in ("inside.hasty#1/soon", "inside.leaving#1/left"):
            with pytest.raises(HookExpiredError):
                await resume_hook(f"{run_id}:{name}", 1, storage=storage)
        await resume_hook(f"{run_id}:end", 1, storage=storage)
        await resume(run_id, storage=storage)
        assert await _result(storage, run_id) == "hook 'soon' of step 'inside.hasty#1' got no answer in time"

    asyncio.run(main())
