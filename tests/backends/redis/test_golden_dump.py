"""Namespaces as JSON, by which stores of older versions are kept."""

from __future__ import annotations

import asyncio
from typing import Any

from pyworkflow_redis.conformance import GOLDEN
from pyworkflow_redis.golden_dump import dump, restore
from pyworkflow_redis.keys import meta_key, slot_of
from pyworkflow_redis.options import read_url
from pyworkflow_redis.topology import make_topology


def test_what_is_restored_is_dumped_as_it_was(any_namespace: Any) -> None:
    kept = (GOLDEN / "redis-1.json").read_text(encoding="utf-8")

    async def main() -> str:
        servers = make_topology(*read_url(any_namespace.url, {}))
        await servers.refresh()
        try:
            server = servers.server_of(slot_of(meta_key(any_namespace.name)))
            await restore(server, any_namespace.name, kept)
            return await dump(server, any_namespace.name)
        finally:
            await servers.close()

    assert asyncio.run(main()) == kept
