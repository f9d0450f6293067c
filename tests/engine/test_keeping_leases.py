"""Leases of many runs in one process: extended in the order in which they end, several at once."""

from __future__ import annotations

import asyncio
from typing import Any

from pyworkflow import InMemoryStorageBackend
from pyworkflow.engine.engine import Engine
from pyworkflow_core.errors import StorageUnavailable


class Held:
    """Stands for a drive, on a storage that answers when the test says so."""

    def __init__(self, n: int, answers: asyncio.Semaphore, asked: list[int]) -> None:
        self.run_id = f"run {n}"
        self.held_until = n
        self.error: Exception | None = None
        self._answers = answers
        self._asked = asked

    async def keep_alive(self) -> None:
        self._asked.append(self.held_until)
        await self._answers.acquire()
        if self.error is not None:
            raise self.error


def held_runs(engine: Engine, count: int) -> tuple[list[Held], asyncio.Semaphore, list[int]]:
    answers, asked = asyncio.Semaphore(0), list[int]()
    drives = [Held(n, answers, asked) for n in range(count)]
    live: dict[str, Any] = engine.live
    live.update((drive.run_id, drive) for drive in reversed(drives))
    return drives, answers, asked


async def a_moment() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def test_the_lease_that_ends_first_is_extended_first_and_none_waits_for_one_slow_answer() -> None:
    async def main() -> None:
        engine = Engine(InMemoryStorageBackend())
        drives, answers, asked = held_runs(engine, 20)
        watching = asyncio.ensure_future(engine._watch())
        await a_moment()
        assert asked == [0, 1, 2, 3]
        answers.release()
        await a_moment()
        assert asked == [0, 1, 2, 3, 4]
        del engine.live[drives[5].run_id]  # it ends before it is its turn
        drives[6].error = StorageUnavailable("away")
        drives[7].error = RuntimeError("a mistake")
        for _ in range(20):
            answers.release()
        await watching  # whatever becomes of one of them
        assert asked == [n for n in range(20) if n != 5]

    asyncio.run(main())
