"""What steps ask and save while they run: who they are, and how far they have come."""

from __future__ import annotations

import asyncio
import pathlib
import sys
from typing import Any

import pytest

from pyworkflow import (
    StepOutsideWorkflowError,
    UnserializableValueError,
    delete_step_checkpoint,
    delete_step_checkpoint_blocking,
    heartbeat,
    load_step_checkpoint,
    load_step_checkpoint_blocking,
    save_step_checkpoint,
    save_step_checkpoint_blocking,
    start,
    step,
    step_hook,
    step_hook_blocking,
    step_info,
    workflow,
)

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from in_step_runs import result_of, simulated

sys.path.pop(0)


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
        storage, _, _ = simulated(auto=True)
        run_id = await start(knowing, storage=storage, wait=True)
        first = [run_id, "inside.knowing", "inside.who#1", "inside.who", 1, 1]
        second = [run_id, "inside.knowing", "inside.who#2", "inside.who", 2, 3]
        assert await result_of(storage, run_id) == [first, second]

    asyncio.run(main())


def test_the_idempotency_key_is_the_same_in_every_attempt_and_differs_between_steps() -> None:
    seen.clear()

    @workflow(name="inside.keys")
    async def keys() -> Any:
        return [await key([]), await key([])]

    async def main() -> None:
        storage, _, _ = simulated(auto=True)
        one, two = await result_of(storage, await start(keys, storage=storage, wait=True))
        assert seen == [one, one, two, two]
        assert one != two
        other, _ = await result_of(storage, await start(keys, storage=storage, wait=True))
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
        storage, _, _ = simulated()
        with pytest.raises(StepOutsideWorkflowError, match="belongs into a function decorated with @step"):
            await start(outside, storage=storage)

    if where == "workflow":
        asyncio.run(main())
    else:
        with pytest.raises(StepOutsideWorkflowError, match="belongs into a function decorated with @step"):
            call()


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
        storage, _, _ = simulated(auto=True)
        run_id = await start(checkpoints, storage=storage, wait=True)
        assert await result_of(storage, run_id) == [True, False, "none"]
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
        storage, _, _ = simulated(auto=True)
        one, two = await result_of(storage, await start(names, storage=storage, wait=True))
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
        storage, _, _ = simulated()
        assert await result_of(storage, await start(unwritten, storage=storage)) == "nothing"

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
        storage, _, _ = simulated()
        loop, thread = await result_of(storage, await start(mistaken, storage=storage))
        assert "await save_step_checkpoint(…)" in loop[0]
        assert "await step_hook(…)" in loop[1]
        assert loop[2] == 7
        assert ["call save_step_checkpoint_blocking()" in text for text in thread] == [True, False, False]
        assert "call step_hook_blocking()" in thread[2]

    asyncio.run(main())
