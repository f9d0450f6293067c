"""The stores that the contract is checked on: each with a second handle of its own."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from pyworkflow_core.plugins import open_storage

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    from pyworkflow_core.storage import StorageBackend


class Place:
    """Opens handles of one fresh namespace."""

    def __init__(self, url: str) -> None:
        self.url = url

    def open(self) -> StorageBackend:
        return open_storage(self.url)

    def run(self, test: Callable[..., Coroutine[Any, Any, None]], handles: int = 1) -> None:
        """Run `test` with that many handles open."""

        async def main() -> None:
            stores = [self.open() for _ in range(handles)]
            try:
                await test(*stores)
            finally:
                for store in stores:
                    await store.close()

        asyncio.run(main())


@pytest.fixture(params=["memory", "file", "file-small"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    urls = {
        "memory": f"memory://{uuid.uuid4()}",
        "file": f"file://{tmp_path}/store",
        # Every corner in every test: tiny segments, an index that is caught up all the time, no cache.
        "file-small": f"file://{tmp_path}/store?segment_bytes=600&catch_up_lines=2&heads=1",
    }
    return Place(urls[request.param])
