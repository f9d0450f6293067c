"""Fixtures: a fresh namespace on a Redis server, and on a cluster."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

import pytest

from pyworkflow_redis import RedisStorageBackend

T = TypeVar("T")


class Namespace:
    """A fresh namespace.

    Attributes:
        url: of the server.
        name: of the namespace.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.name = f"t_{secrets.token_hex(5)}"

    def open(self, **options: Any) -> RedisStorageBackend:
        """A handle."""
        return RedisStorageBackend(self.url, **{"namespace": self.name, **options})

    def run(self, work: Callable[[RedisStorageBackend], Awaitable[T]], **options: Any) -> T:
        """What `work` returns of a handle, which is closed again."""

        async def main() -> T:
            async with self.open(**options) as store:
                return await work(store)

        return asyncio.run(main())


def _dropped(url: str) -> Iterator[Namespace]:
    made = Namespace(url)
    yield made
    made.run(lambda store: store.drop())


@pytest.fixture
def namespace(redis: Any) -> Iterator[Namespace]:
    """A namespace of one server that all tests share; dropped at the end."""
    yield from _dropped(redis.url)


@pytest.fixture
def cluster_namespace(redis_cluster: Any) -> Iterator[Namespace]:
    """A namespace of a cluster that all tests share; dropped at the end."""
    yield from _dropped(redis_cluster.url)


@pytest.fixture(params=["redis", "redis6", "redis_cluster"])
def any_namespace(request: pytest.FixtureRequest) -> Iterator[Namespace]:
    """A namespace of each kind of server."""
    yield from _dropped(request.getfixturevalue(request.param).url)
