"""The log of a queue with limits: many processes change it, and it stays short."""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

import pytest

from pyworkflow import InMemoryStorageBackend, list_workflow_runs
from pyworkflow.engine import limiter as limiters
from pyworkflow.engine.clock import VirtualClock
from pyworkflow.engine.limiter import Limiter, _log_id
from pyworkflow.engine.slots import Slots, Wanted
from pyworkflow.queues import QueueLimits
from pyworkflow_core.payloads import SlotsChanged
from pyworkflow_core.storage import Append

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from simulated_runs import log_of, make_engine
from storage_wrappers import Killed, KillingStorage, Wrapper

sys.path.pop(0)

LIMITS = QueueLimits(concurrency=2)


async def give(limiter: Limiter, name: str) -> bool:
    def decide(slots: Slots, now: int) -> SlotsChanged | None:
        change = slots.give([Wanted(name)], LIMITS, now, most=1)
        return change if change.given else None

    return await limiter.change(decide) is not None


async def give_back(limiter: Limiter, name: str) -> bool:
    def decide(slots: Slots, _: int) -> SlotsChanged | None:
        slot = slots.holders.get(name)
        return None if slot is None else SlotsChanged(returned=(slot.number,))

    return await limiter.change(decide) is not None


@pytest.fixture
def _short_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limiters, "PART_EVENTS", 5)


@pytest.mark.usefixtures("_short_parts")
def test_many_processes_never_give_more_slots_than_there_are_and_the_log_stays_short() -> None:
    async def main() -> None:
        storage = InMemoryStorageBackend()
        clock = VirtualClock()
        held: set[str] = set()
        most = 0

        async def process(n: int) -> None:
            nonlocal most
            limiter = Limiter(make_engine(storage, clock, n), "q")
            for turn in range(30):
                name = f"{n}-{turn}"
                while not await give(limiter, name):
                    await asyncio.sleep(0)
                    await limiter.look()
                held.add(name)
                most = max(most, len(held))
                for _ in range(20):
                    await asyncio.sleep(0)
                held.remove(name)
                assert await give_back(limiter, name)

        await asyncio.gather(*(process(n) for n in range(5)))
        assert most == 2
        records = await storage.list_runs()
        assert len(records) <= 3, "the counter of parts, and at most two parts"
        assert all(record.head < 10 or record.run_id == _log_id("q") for record in records)
        assert not any(record.workflow for record in records)
        assert await list_workflow_runs(storage=storage) == []

    asyncio.run(main())


@pytest.mark.usefixtures("_short_parts")
def test_a_process_that_dies_at_any_append_loses_no_slot_and_gives_none_twice() -> None:
    async def changes(limiter: Limiter) -> None:
        for turn in range(8):
            await give(limiter, f"a{turn}")
            await give(limiter, f"b{turn}")
            await give_back(limiter, f"a{turn}")
            await give_back(limiter, f"b{turn}")
        await give(limiter, "last")

    async def main() -> None:
        for n in range(1, 48):
            for acknowledged in (False, True):
                storage, clock = InMemoryStorageBackend(), VirtualClock()
                killing = KillingStorage(storage, n, acknowledged=acknowledged)
                with contextlib.suppress(Killed):
                    await changes(Limiter(make_engine(killing, clock, 1), "q"))
                first, second = (Limiter(make_engine(storage, clock, seed), "q") for seed in (2, 3))
                await first.look()
                await second.look()
                assert first.slots.holders == second.slots.holders
                assert len(first.slots.holders) <= 2
                for name in list(first.slots.holders):
                    assert await give_back(second, name)
                for limiter, name in ((first, "x"), (second, "y")):
                    await limiter.look()
                    assert await give(limiter, name)
                assert not await give(first, "z")
                records = await storage.list_runs()
                assert len(records) <= 3

    asyncio.run(main())


class Stalled(Wrapper):
    """Holds one process's appends up until it is let go."""

    def __init__(self, inner: Any, at: int) -> None:
        super().__init__(inner)
        self.at = at
        self.go = asyncio.Event()
        self.is_held = asyncio.Event()

    async def before(self, appends: Sequence[Append]) -> None:
        if self.commits == self.at:
            self.is_held.set()
            await self.go.wait()


@pytest.mark.usefixtures("_short_parts")
def test_a_process_that_stood_still_while_the_log_moved_on_does_no_harm() -> None:
    async def main() -> None:
        for at in range(1, 20):
            storage, clock = InMemoryStorageBackend(), VirtualClock()
            stalled = Stalled(storage, at)
            slow = Limiter(make_engine(stalled, clock, 1), "q")

            async def works(slow: Limiter = slow) -> None:
                for turn in range(6):
                    if await give(slow, f"slow{turn}"):
                        await give_back(slow, f"slow{turn}")
                    await slow.look()

            working = asyncio.create_task(works())
            await stalled.is_held.wait()
            quick = Limiter(make_engine(storage, clock, 2), "q")
            for turn in range(20):
                if await give(quick, f"quick{turn}"):
                    await give_back(quick, f"quick{turn}")
            await give(quick, "stays")
            stalled.go.set()
            await working
            await slow.look()
            await quick.look()
            assert slow.slots.holders == quick.slots.holders
            assert "stays" in quick.slots.holders
            assert len(await storage.list_runs()) <= 3

    asyncio.run(main())


def test_what_is_in_the_log_says_who_had_a_slot_and_when() -> None:
    async def main() -> None:
        storage, clock = InMemoryStorageBackend(), VirtualClock()
        limiter = Limiter(make_engine(storage, clock), "q")
        await give(limiter, "a")
        clock.advance(7)
        await give_back(limiter, "a")
        history = await log_of(storage, _log_id("q", 1))
        assert [str(e.data.TYPE) for e in history] == ["queue_opened", "slots_changed", "slots_changed"]
        assert history[1].data.given[0].run_id == "a"
        assert history[2].data.returned == (1,)
        assert history[2].at - history[1].at == 7

    asyncio.run(main())
