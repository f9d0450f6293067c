"""What happens to a cluster: slots that move, nodes that fail."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import urlsplit

import pytest
from redis.asyncio import Redis

from pyworkflow_core.errors import StorageUnavailable
from pyworkflow_core.storage import Committed, StorageBackend, Unknown
from pyworkflow_core.testing.appends import after, created
from pyworkflow_redis import RedisStorageBackend
from pyworkflow_redis.keys import bucket_of, bucket_tags, slot_of


class Nodes:
    """Clients of the nodes of a cluster, to move its slots about."""

    def __init__(self, url: str) -> None:
        ports = [urlsplit(f"//{host}").port or 0 for host in urlsplit(url).netloc.split(",")]
        self.clients = [Redis(port=port) for port in ports]

    async def __aenter__(self) -> Nodes:
        self.ids = [(await c.execute_command("CLUSTER", "MYID")).decode() for c in self.clients]
        return self

    async def __aexit__(self, *error: object) -> None:
        for client in self.clients:
            await client.aclose()

    async def owner(self, slot: int) -> int:
        """Which node has a slot."""
        for first, last, (_, _, name, *_), *_ in await self.clients[0].execute_command("CLUSTER SLOTS"):
            if int(first) <= slot <= int(last):
                return self.ids.index(name.decode())
        raise AssertionError(slot)

    async def begin_moving(self, slot: int, source: int, target: int) -> None:
        """Say that a slot is on its way."""
        await self.clients[target].execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", self.ids[source])
        await self.clients[source].execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", self.ids[target])

    async def move_keys(self, slot: int, source: int, target: int, most: int) -> None:
        """Move so many of a slot's keys."""
        keys = await self.clients[source].execute_command("CLUSTER", "GETKEYSINSLOT", slot, most)
        port = self.clients[target].connection_pool.connection_kwargs["port"]
        await self.clients[source].execute_command("MIGRATE", "127.0.0.1", port, "", 0, 5000, "KEYS", *keys)

    async def end_moving(self, slot: int, target: int) -> None:
        """Say that a slot has come to its new node."""
        for client in (self.clients[target], *self.clients):
            await client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", self.ids[target])


async def move_a_slot(url: str, store: RedisStorageBackend) -> None:
    name = store.options.namespace
    tags = bucket_tags(name, 48)
    slot = slot_of(tags[bucket_of("a", 48)])
    first, second = created("a"), after(created("a").record)
    assert await store.commit([first, created("b")]) == [Committed("a", 1), Committed("b", 1)]
    async with Nodes(url) as nodes:
        source = await nodes.owner(slot)
        target = (source + 1) % 3
        await nodes.begin_moving(slot, source, target)
        for moved in (0, 2, 100):
            if moved:
                await nodes.move_keys(slot, source, target, moved)
            with pytest.raises(StorageUnavailable):
                await store.commit([second])
            # Another bucket does its part.
            other = after(created("b").record)
            answers = await store.commit([second, other])
            assert isinstance(answers[0], Unknown)
            assert answers[1] == Committed("b", 2)
        await nodes.end_moving(slot, target)
        assert await store.commit([second]) == [Committed("a", 2)]
        assert await store.read("a") == [*first.events, *second.events]
        claims = await store.claim(owner="w", now=10, lease=100, limit=10)
        assert sorted(claim.run_id for claim in claims) == ["a", "b"]
        await nodes.begin_moving(slot, target, source)
        await nodes.move_keys(slot, target, source, 100)
        await nodes.end_moving(slot, source)
        assert await store.get("a") == second.record


def test_a_slot_that_is_on_its_way_is_refused_as_a_whole_and_found_again(own_server: Any) -> None:
    async def main() -> None:
        server = own_server("redis-cluster")
        async with RedisStorageBackend(server.url) as store:
            await move_a_slot(server.url, store)

    asyncio.run(main())


async def runs_on(store: StorageBackend, nodes: Nodes, node: int, count: int) -> list[str]:
    """Ids of runs whose buckets are on a node."""
    tags = bucket_tags("pyworkflow", 48)
    owners = [await nodes.owner(slot_of(tag)) for tag in tags]
    return [f"r{n}" for n in range(1000) if owners[bucket_of(f"r{n}", 48)] == node][:count]


async def lose_a_node(server: Any) -> None:
    async with RedisStorageBackend(server.url) as store:
        async with Nodes(server.url) as nodes:
            lost, kept = [await runs_on(store, nodes, node, 5) for node in (2, 0)]
            for run_id in (*lost, *kept):
                assert await store.commit([created(run_id)]) == [Committed(run_id, 1)]
            last = nodes.clients[2].connection_pool.connection_kwargs["port"]
        server.stop(last)
        # Before the others notice, and after that they refuse everything by their settings.
        claims = []
        try:
            claims = await store.claim(owner="w", now=10, lease=100, limit=100)
            assert {claim.run_id for claim in claims} <= {*kept}
        except StorageUnavailable:
            pass
        with pytest.raises(StorageUnavailable):
            await store.read(lost[0])
        server.start(last)
        async with asyncio.timeout(30):
            while True:
                try:
                    claims += await store.claim(owner="w", now=10, lease=100, limit=100)
                    if len(claims) == 10:
                        break
                except StorageUnavailable:
                    pass
                await asyncio.sleep(0.1)
        assert sorted(claim.run_id for claim in claims) == sorted([*lost, *kept])


def test_claims_go_on_where_a_node_is_left_and_each_run_is_claimed_once(own_server: Any) -> None:
    asyncio.run(lose_a_node(own_server("redis-cluster")))


async def go_on_without_a_node(server: Any) -> None:
    async with RedisStorageBackend(server.url, timeout=2, connect_timeout=2) as store:
        async with Nodes(server.url) as nodes:
            lost, kept = [await runs_on(store, nodes, node, 5) for node in (2, 0)]
            for run_id in (*lost, *kept):
                assert await store.commit([created(run_id)]) == [Committed(run_id, 1)]
            last = nodes.clients[2].connection_pool.connection_kwargs["port"]
        server.kill(last)
        await asyncio.sleep(3)  # longer than the others take to notice
        claims = await store.claim(owner="w", now=10, lease=100, limit=100)
        assert sorted(claim.run_id for claim in claims) == sorted(kept)
        record = claims[0].record
        answers = await store.commit([after(record), after(created(lost[0]).record)])
        assert answers[0] == Committed(record.run_id, 2)
        assert isinstance(answers[1], Unknown)
        for call in (store.get(lost[0]), store.find()):
            with pytest.raises(StorageUnavailable):
                await call
        server.start(last)
        async with asyncio.timeout(30):
            while isinstance((await store.commit([after(created(lost[0]).record)]))[0], Unknown):
                await asyncio.sleep(0.1)
        assert len(await store.read(lost[0])) == 2


def test_runs_on_other_nodes_go_on_where_a_cluster_need_not_be_whole(own_server: Any) -> None:
    asyncio.run(go_on_without_a_node(own_server("redis-cluster", "--cluster-require-full-coverage", "no")))
