"""Many who tell one run something at the same time: few appends, and each is heard, or learns why not."""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import sys
from typing import Any

import pytest

from pyworkflow import InMemoryStorageBackend, emit, start, stream_step, workflow
from pyworkflow.engine.clock import VirtualClock
from pyworkflow.engine.together import deliver_together
from pyworkflow.streams.looking import get_stream_run
from pyworkflow.streams.naming import stream_run
from pyworkflow_core.errors import LimitExceeded
from pyworkflow_core.payloads import SignalReceived
from pyworkflow_core.storage import Limits, StorageBackend

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from simulated_runs import log_of, make_engine
from storage_wrappers import Wrapper

sys.path.pop(0)

NAME = "together.stream"


@stream_step(NAME, ["word"])
async def hears() -> None:
    """Nothing."""


async def heard(storage: StorageBackend) -> list[str]:
    log = await log_of(storage, stream_run(NAME, None))
    return [e.data.signal_id for e in log[1:] if e.data.signal == "word"]


def test_signals_of_one_process_share_appends_and_keep_their_order() -> None:
    async def main() -> None:
        storage = Wrapper(InMemoryStorageBackend())
        make_engine(storage, VirtualClock(auto=True), 1)
        await emit(NAME, "word", signal_id="first", storage=storage)
        names = [f"n {n}" for n in range(100)]
        before = storage.commits
        await asyncio.gather(*(emit(NAME, "word", signal_id=name, storage=storage) for name in names))
        assert await heard(storage) == ["first", *names]
        assert storage.commits - before < 10
        assert (await get_stream_run(NAME, storage=storage)).signals == 101

    asyncio.run(main())


def test_a_signal_that_the_storage_refuses_is_refused_to_its_sender_alone() -> None:
    async def main() -> None:
        storage = Wrapper(InMemoryStorageBackend(), limits=Limits(event_bytes=5000))
        make_engine(storage, VirtualClock(auto=True), 1)
        payloads: list[Any] = ["a", "b", "x" * 6000, "c"]
        done = await asyncio.gather(
            *(emit(NAME, "word", p, signal_id=str(p)[:3], storage=storage) for p in payloads),
            return_exceptions=True,
        )
        assert [isinstance(one, LimitExceeded) for one in done] == [False, False, True, False]
        assert sorted(set(await heard(storage))) == ["a", "b", "c"]

    asyncio.run(main())


@pytest.mark.parametrize("which", range(5))
def test_a_sender_that_is_cancelled_takes_nobody_with_it(which: int) -> None:
    async def main() -> None:
        storage = Wrapper(InMemoryStorageBackend())
        engine = make_engine(storage, VirtualClock(auto=True), 1)
        for turns in range(12):
            senders = [
                asyncio.create_task(emit(NAME, "word", signal_id=f"{turns} {n}", storage=storage))
                for n in range(5)
            ]
            for _ in range(turns):
                await asyncio.sleep(0)
            senders[which].cancel()
            for n, sender in enumerate(senders):
                with contextlib.suppress(asyncio.CancelledError):
                    await sender
                assert n == which or not sender.cancelled()
            found = set(await heard(storage))
            assert found.issuperset({f"{turns} {n}" for n in range(5) if n != which})
            assert not engine.told

    asyncio.run(main())


@workflow(name="together.ended")
async def ended() -> None:
    """Nothing."""


def test_several_that_tell_a_run_that_has_ended_all_learn_that() -> None:
    async def main() -> None:
        async with InMemoryStorageBackend() as storage:
            engine = make_engine(storage, VirtualClock(auto=True), 1)
            run_id = await start(ended, storage=storage)
            told = [SignalReceived("word", str(n)) for n in range(3)]
            assert await asyncio.gather(*(deliver_together(engine, run_id, [s]) for s in told)) == 3 * [False]

    asyncio.run(main())
