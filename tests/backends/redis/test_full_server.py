"""A server whose memory is full refuses whole appends; what frees memory works, and so it recovers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from redis.asyncio import Redis

from pyworkflow_core.errors import StorageFull
from pyworkflow_core.record import RunRecord
from pyworkflow_core.storage import Committed
from pyworkflow_core.testing.appends import after, created, noted_of
from pyworkflow_redis import RedisStorageBackend

RUNS = 8


async def fill(store: RedisStorageBackend) -> dict[str, RunRecord]:
    """Append to every run in each commit until the server is full; the records of what was acknowledged."""
    commit = [created(f"r{n}") for n in range(RUNS)]
    records: dict[str, RunRecord] = {}
    while True:
        try:
            answers = await store.commit(commit)
        except StorageFull:
            return records
        assert answers == [Committed(append.run_id, append.record.head) for append in commit]
        records = {append.run_id: append.record for append in commit}
        commit = [after(record, noted_of(3000), noted_of(200)) for record in records.values()]


async def check_whole(store: RedisStorageBackend, records: dict[str, RunRecord]) -> None:
    for run_id, record in records.items():
        assert await store.get(run_id) == record
        assert len(await store.read(run_id)) == record.head


async def use_up(url: str) -> None:
    async with Redis.from_url(url) as client, RedisStorageBackend(url) as store:
        await store.commit([created("due", priority=0), created("other")])
        (claim,) = await store.claim(owner="w", now=10, lease=100, limit=1)
        used = (await client.info("memory"))["used_memory"]
        await client.config_set("maxmemory", used + 2_000_000)
        records = await fill(store)
        assert len(records) == RUNS
        await check_whole(store, records)
        # What is held is let go, and what is old is deleted.
        assert await store.release(claim)
        await store.delete("other", expected=1)
        gone = sorted(records)[: RUNS // 2]
        for run_id in gone:
            await store.delete(run_id, expected=records.pop(run_id).head)
        for _ in range(50):  # memory is freed beside everything else
            try:
                await store.commit([after(records["r7"])])
                break
            except StorageFull:
                await asyncio.sleep(0.05)
        records["r7"] = after(records["r7"]).record
        await check_whole(store, records)
        await client.config_set("maxmemory", 0)
        assert await store.commit([created(gone[0], incarnation="i2")]) == [Committed(gone[0], 1)]
        claims = await store.claim(owner="w", now=10, lease=100, limit=100)
        assert sorted(c.run_id for c in claims) == sorted(["due", gone[0], *records])


@pytest.mark.parametrize("kind", ["redis", "redis6"])
def test_a_full_server_refuses_whole_appends_and_recovers(kind: str, own_server: Any) -> None:
    asyncio.run(use_up(own_server(kind).url))
