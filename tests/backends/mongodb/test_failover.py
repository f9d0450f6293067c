"""A replica set of three whose primary steps down, or dies, while appends are made."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.errors import AutoReconnect, OperationFailure

from pyworkflow_core.commit import CommitQueue
from pyworkflow_core.errors import StorageUnavailable
from pyworkflow_core.plugins import open_storage
from pyworkflow_core.storage import Append, Committed
from pyworkflow_core.testing.appends import after, created, noted

pytestmark = pytest.mark.kills

RUNS = 4


async def write_on(store: Any, queue: CommitQueue, run_id: str, history: list[Append], ends: Any) -> None:
    history.append(created(run_id))
    while True:
        append = history[-1]
        try:
            answer = await queue.append(append)
        except StorageUnavailable:  # nothing was written: there is no primary yet
            await asyncio.sleep(0.05)
            continue
        assert answer == Committed(run_id, append.record.head)
        if ends.is_set():
            return
        history.append(after(append.record, *[noted()] * (1 + len(history) % 3)))


def step_down(url: str) -> None:
    # It may hang up, and there may be nobody who has caught up.
    with MongoClient(url) as client, contextlib.suppress(AutoReconnect, OperationFailure):
        client.admin.command("replSetStepDown", 5, secondaryCatchUpPeriodSecs=3)


def port_of_primary(url: str) -> int:
    with MongoClient(url) as client:
        client.admin.command("ping")
        assert client.primary is not None
        return client.primary[1]


@pytest.mark.timeout(240)
@pytest.mark.parametrize(("driver", "kills"), [("motor", False), ("pymongo", True)], ids=["stepdown", "kill"])
def test_a_change_of_primaries_loses_nothing_acknowledged(own_server: Any, driver: str, kills: bool) -> None:
    server = own_server("mongodb-replicas")

    async def main() -> None:
        async with open_storage(f"{server.url}&driver={driver}") as store:
            queue, ends = CommitQueue(store, patience=60), asyncio.Event()
            histories: list[list[Append]] = [[] for _ in range(RUNS)]
            writers = [
                asyncio.create_task(write_on(store, queue, f"r{n}", history, ends))
                for n, history in enumerate(histories)
            ]
            for _ in range(2):
                begun = [len(history) for history in histories]
                while any(len(h) < n + 5 for h, n in zip(histories, begun, strict=True)):
                    assert not any(writer.done() for writer in writers), writers
                    await asyncio.sleep(0.01)
                if kills:
                    port = await asyncio.to_thread(port_of_primary, server.url)
                    await asyncio.to_thread(server.restart, port)
                else:
                    await asyncio.to_thread(step_down, server.url)
            ends.set()
            await asyncio.gather(*writers)
            for history in histories:
                expected = [event for append in history for event in append.events]
                assert await store.read(history[0].run_id) == expected

    asyncio.run(main())
