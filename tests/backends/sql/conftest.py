"""Fixtures: a fresh namespace on each of the databases."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from pyworkflow_core.plugins import open_storage

T = TypeVar("T")
DATABASES = ("sqlite", "postgresql", "mariadb")


class Database:
    """A fresh namespace of a database.

    Attributes:
        kind: the name of the database.
        url: of the namespace, with options.
    """

    def __init__(self, kind: str, url: str) -> None:
        self.kind = kind
        self.url = url

    def open(self, **options: object) -> Any:
        """A handle."""
        more = "".join(f"&{name}={value}" for name, value in options.items())
        return open_storage(self.url + more)

    def run(self, work: Callable[[Any], Awaitable[T]], **options: object) -> T:
        """What `work` returns of a handle, which is closed again."""

        async def main() -> T:
            async with self.open(**options) as store:
                return await work(store)

        return asyncio.run(main())


def make_database(kind: str, request: pytest.FixtureRequest, folder: Path) -> Database:
    namespace = f"t_{secrets.token_hex(5)}"
    if kind == "sqlite":
        return Database(kind, f"sqlite:///{folder / 'runs.db'}?namespace={namespace}")
    server = request.getfixturevalue(kind)
    return Database(kind, f"{server.url}?namespace={namespace}")


@pytest.fixture(params=DATABASES)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """Each of the databases, with a namespace that is dropped at the end."""
    made = make_database(request.param, request, tmp_path)
    yield made
    if made.kind != "sqlite":
        made.run(lambda store: store.drop())
