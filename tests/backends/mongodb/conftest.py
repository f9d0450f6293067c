"""Fixtures: Motor's threads, and a fresh namespace on a real server."""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

import pytest
from motor.frameworks.asyncio import _EXECUTOR  # type: ignore[import-untyped]

from pyworkflow_core.plugins import open_storage

T = TypeVar("T")
# PyMongo does not close a socket that one of its monitors is connecting while the client is closed;
# in this mode they have all connected by then.
MONITORING = "serverMonitoringMode=poll"


@pytest.fixture(scope="session", autouse=True)
def _motors_threads() -> None:
    """Motor keeps threads for the life of the process: let them be there before any test looks."""
    wanted = _EXECUTOR._max_workers
    together = threading.Barrier(wanted, timeout=30)
    for waiting in [_EXECUTOR.submit(together.wait) for _ in range(wanted)]:
        waiting.result()


class Namespace:
    """A fresh namespace.

    Attributes:
        url: of the namespace, with options.
        name: its name.
    """

    def __init__(self, server: str) -> None:
        self.name = f"t_{secrets.token_hex(5)}"
        self.url = f"{server}&namespace={self.name}&{MONITORING}"

    def open(self, **options: object) -> Any:
        """A handle."""
        return open_storage(self.url + "".join(f"&{name}={value}" for name, value in options.items()))

    def run(self, work: Callable[[Any], Awaitable[T]], **options: object) -> T:
        """What `work` returns of a handle, which is closed again."""

        async def main() -> T:
            async with self.open(**options) as store:
                return await work(store)

        return asyncio.run(main())


@pytest.fixture
def namespace(mongodb: Any) -> Iterator[Namespace]:
    """A namespace of a server alone, dropped at the end."""
    made = Namespace(mongodb.url)
    yield made
    made.run(lambda store: store.drop())


@pytest.fixture
def replicated(mongodb_replica: Any) -> Iterator[Namespace]:
    """A namespace of a replica set, dropped at the end."""
    made = Namespace(mongodb_replica.url)
    yield made
    made.run(lambda store: store.drop())


@pytest.fixture(params=["pymongo", "motor"])
def driver(request: pytest.FixtureRequest) -> str:
    """Each of the drivers."""
    name: str = request.param
    return name
