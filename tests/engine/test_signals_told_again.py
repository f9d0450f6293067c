"""Signals that are told once more, when the run that heard them has ended: nothing is wrong."""

from __future__ import annotations

import asyncio
import pathlib
import sys
from typing import Any

import pytest

from pyworkflow import (
    InMemoryStorageBackend,
    Signal,
    StreamNotFoundError,
    WorkflowNotFoundError,
    continue_as_new,
    emit,
    get_current_signal,
    resume,
    start,
    step,
    stream_step,
    stream_workflow,
    terminate,
    workflow,
)
from pyworkflow.engine import outbox
from pyworkflow.engine.clock import VirtualClock
from pyworkflow.engine.engine import Engine
from pyworkflow.engine.outside import append_outside
from pyworkflow.engine.signals import receive, tell
from pyworkflow.streams.naming import stream_run
from pyworkflow_core.events import decode_body
from pyworkflow_core.record import RunRecord
from pyworkflow_core.replay import current_machine
from pyworkflow_core.storage import StorageBackend

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from families import take_up_due, work_off
from simulated_runs import make_engine

sys.path.pop(0)


def simulated() -> tuple[VirtualClock, StorageBackend, Engine]:
    clock, storage = VirtualClock(auto=True), InMemoryStorageBackend()
    return clock, storage, make_engine(storage, clock, 1)


@stream_workflow(name="again.news")
async def news() -> None:
    """Nothing: what there is to say is said by others."""


@stream_step(news, ["last"])
async def waits_for_the_last() -> None:
    if await get_current_signal() is not None:
        await terminate()


tried: list[str] = []


@step(name="again.tells_and_fails", retry_delay="1h")
async def tells_and_fails() -> str:
    signal = await emit(news, "last", stream_run_id="s")
    tried.append(signal.signal_id)
    if len(tried) == 1:
        raise OSError("after the signal")
    return signal.signal_id


@step(name="again.ends_and_fails", retry_delay="1h")
async def ends_and_fails() -> str:
    await terminate(news, stream_run_id="s")
    tried.append("ended")
    if len(tried) == 1:
        raise OSError("after the end")
    return "ended"


@workflow(name="again.telling")
async def telling(what: str) -> Any:
    return await {"last": tells_and_fails, "end": ends_and_fails}[what]()


@pytest.mark.parametrize("what", ["last", "end"])
def test_a_step_that_ends_a_stream_and_is_tried_again_after_the_end_has_not_failed(what: str) -> None:
    async def main() -> None:
        tried.clear()
        clock, storage, engine = simulated()
        run_id = await start(telling, what, storage=storage, queue="q")
        await work_off(engine, clock)
        assert len(tried) == 2
        assert len(set(tried)) == 1
        assert await resume(run_id, storage=storage) == tried[0]
        hub = await storage.get(stream_run("again.news", "s"))
        assert hub is not None
        assert hub.status == "completed"

    asyncio.run(main())


def test_a_signal_with_an_id_is_accepted_again_after_the_end_and_a_new_one_is_refused() -> None:
    async def main() -> None:
        clock, storage, engine = simulated()

        async def say(signal_id: str | None) -> str:
            return (
                await emit(news, "last", stream_run_id="s", signal_id=signal_id, storage=storage)
            ).signal_id

        assert await say("order 1") == "order 1"
        await work_off(engine, clock)
        hub = stream_run("again.news", "s")
        before = await storage.get(hub)
        assert await say("order 1") == "order 1"
        for other in ("order 2", None):
            with pytest.raises(StreamNotFoundError, match="cannot be told 'last': it is completed"):
                await say(other)
        assert await storage.get(hub) == before

    asyncio.run(main())


@workflow(name="again.hearing")
async def hearing(left: int = 1) -> Any:
    machine = current_machine.get()
    assert machine is not None
    _, value = await receive(machine)
    if left:
        continue_as_new(left - 1)
    return value


def test_a_run_that_continued_as_new_and_has_ended_was_told_what_its_chain_was_told() -> None:
    async def main() -> None:
        _, storage, engine = simulated()
        run_id = await start(hearing, storage=storage, queue="q")
        for signal_id, value in (("one", 1), ("two", 2)):
            await tell(engine, run_id, "number", value, signal_id=signal_id)
            await take_up_all(engine)
        assert await resume(run_id, storage=storage) == 2
        for signal_id in ("one", "two"):
            assert await tell(engine, run_id, "number", 3, signal_id=signal_id) == signal_id
        for told_to, new in ((run_id, "three"), (run_id, None), ("nobody", "one")):
            with pytest.raises(WorkflowNotFoundError, match="cannot be told 'number'"):
                await tell(engine, told_to, "number", 3, signal_id=new)

    asyncio.run(main())


def test_of_many_who_tell_a_stream_at_once_those_that_it_heard_before_its_end_are_not_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> None:
        _, storage, engine = simulated()
        await emit(news, "first", stream_run_id="s", storage=storage)
        await take_up_all(engine)
        hub = stream_run("again.news", "s")

        async def end_after_a_hundred(engine: Engine, record: RunRecord, payloads: Any, **how: Any) -> Any:
            for _ in range(5):  # while the others come, as they do where an append takes its time
                await asyncio.sleep(0)
            told = await append_outside(engine, record, payloads, **how)
            if len(payloads) == 100:
                await take_up_all(engine)
            return told

        monkeypatch.setattr(outbox, "append_outside", end_after_a_hundred)
        told = [emit(news, "last", n, stream_run_id="s", storage=storage) for n in range(150)]
        answers = await asyncio.gather(*told, return_exceptions=True)
        heard = [
            decode_body(event.body).data.signal_id
            for event in await storage.read(hub)
            if event.type == "signal_received"
        ]
        accepted = [answer.signal_id for answer in answers if isinstance(answer, Signal)]
        assert 100 <= len(accepted) < 150
        assert set(accepted) <= set(heard)
        assert len(heard) == len(accepted) + 2  # the first one, and who the stream's steps are

    asyncio.run(main())


async def take_up_all(engine: Engine) -> None:
    while await take_up_due(engine):
        pass
