"""Starts with an idempotency key: what counts as the same, and what a deletion in between does."""

from __future__ import annotations

import asyncio
import gc
import pathlib
import sys
from typing import Any

import pytest

from pyworkflow import IdempotencyConflictError, InMemoryStorageBackend, resume, start, workflow
from pyworkflow.engine import engine as engines
from pyworkflow_core.events import Event

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from storage_wrappers import Wrapper

sys.path.pop(0)


@workflow(name="idempotent.takes")
async def takes(order: Any = None, **more: Any) -> Any:
    return order


def test_the_order_of_keys_makes_no_other_arguments_and_other_values_do() -> None:
    async def main() -> None:
        storage = InMemoryStorageBackend()
        one = await start(takes, {"a": 1, "b": [2]}, c=3, d=4, storage=storage, idempotency_key="k")
        assert await start(takes, {"b": [2], "a": 1}, d=4, c=3, storage=storage, idempotency_key="k") == one
        for other in ({"a": 1, "b": [2, 2]}, {"a": True, "b": [2]}, {"a": 1.0, "b": [2]}):
            with pytest.raises(IdempotencyConflictError):
                await start(takes, other, c=3, d=4, storage=storage, idempotency_key="k")

    asyncio.run(main())


@pytest.mark.parametrize("before_reading", [True, False])
def test_a_start_whose_earlier_run_is_deleted_meanwhile_starts_a_new_one(before_reading: bool) -> None:
    class Deleting(Wrapper):
        on = False

        async def _read(self, run_id: str, after: int, limit: int | None) -> list[Event]:
            events = [] if before_reading else await super()._read(run_id, after, limit)
            if self.on:
                self.on = False
                record = await self.inner.get(run_id)
                assert record is not None
                await self.inner.delete(run_id, expected=record.head)
            return events or await super()._read(run_id, after, limit)

    async def main() -> None:
        storage = Deleting(InMemoryStorageBackend())
        run_id = await start(takes, 1, storage=storage, idempotency_key="k")
        storage.on = True
        assert await start(takes, 1, storage=storage, idempotency_key="k") == run_id
        if before_reading:
            assert await resume(run_id, storage=storage) == 1

    asyncio.run(main())


def test_engines_of_closed_loops_and_closed_storages_are_forgotten() -> None:
    async def one() -> None:
        await start(takes, storage=InMemoryStorageBackend())

    for _ in range(10):
        asyncio.run(one())
    gc.collect()
    assert sum(loop.is_closed() for loop in engines._engines) <= 1

    async def many() -> None:
        for _ in range(10):
            async with InMemoryStorageBackend() as storage:
                await start(takes, storage=storage)
        assert len(engines._engines[asyncio.get_running_loop()]) == 1

    asyncio.run(many())
