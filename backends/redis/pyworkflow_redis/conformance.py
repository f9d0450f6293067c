"""How the conformance suite makes, finds and removes namespaces in Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

from pyworkflow_core.storage import StorageBackend
from pyworkflow_core.testing import Clock, UrlSubject
from pyworkflow_core.testing.subject import PLACEHOLDER

from .backend import RedisStorageBackend
from .golden_dump import restore
from .keys import meta_key, slot_of
from .options import Address, read_url
from .topology import make_topology

GOLDEN = Path(__file__).with_name("golden")


class RedisSubject(UrlSubject):
    """Namespaces are prefixes of keys. Unless the URL says otherwise, they have a feed."""

    def __init__(self, template: str) -> None:
        if PLACEHOLDER not in template:
            template += f"{'&' if '?' in template else '?'}namespace={PLACEHOLDER}"
        if "feed=" not in template:
            template += f"{'&' if '?' in template else '?'}feed=1"
        super().__init__(template)

    async def drop(self, namespace: str) -> None:
        """Remove the namespace's keys."""
        async with RedisStorageBackend(self.url(namespace), buckets=None, feed=None) as store:
            await store.drop()

    def address(self) -> tuple[str, int]:
        """The server, the primary that sentinels name, or a node of the cluster."""
        target, options = read_url(self.url("any"), {})

        async def ask() -> Address:
            servers = make_topology(target, options)
            try:
                await servers.refresh()
                return servers.primaries[0].address
            finally:
                await servers.close()

        # In a thread, since whoever asks may be in an event loop.
        with ThreadPoolExecutor(1) as threads:
            return threads.submit(asyncio.run, ask()).result()

    @asynccontextmanager
    async def open_at(
        self, namespace: str, clock: Clock, host: str, port: int
    ) -> AsyncIterator[StorageBackend]:
        """A handle that reaches elsewhere what `address` names; a cluster's other nodes stay."""
        replaced = self.address()
        async with RedisStorageBackend(
            self.url(namespace), reroute=lambda address: (host, port) if address == replaced else address
        ) as store:
            yield store

    @asynccontextmanager
    async def open_golden(self, namespace: str, clock: Clock) -> AsyncIterator[StorageBackend]:
        """What version 1 wrote, in a namespace of one bucket."""
        target, options = read_url(self.url(namespace), {})
        servers = make_topology(target, options)
        await servers.refresh()
        old = (GOLDEN / "redis-1.json").read_text(encoding="utf-8")
        await restore(servers.server_of(slot_of(meta_key(namespace))), namespace, old)
        await servers.close()
        async with RedisStorageBackend(self.url(namespace), buckets=1, feed=True) as store:
            yield store
