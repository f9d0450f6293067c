"""A fresh namespace on each kind of storage, by its name."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pyworkflow import open_storage

PERSISTENT = ("file", "sqlite", "postgresql", "mariadb", "redis", "mongodb")
STORAGES = ("memory", *PERSISTENT)
_SERVERS = {"postgresql", "mariadb", "redis", "mongodb"}


class Namespaces:
    """Makes URLs of fresh namespaces of one kind of storage.

    Args:
        kind: one of `STORAGES`.
        folder: for those that are files.
        server: URL of the server, for those that have one.

    Attributes:
        kind: one of `STORAGES`.
    """

    def __init__(self, kind: str, folder: Path, server: str = "") -> None:
        self.kind = kind
        self._folder = folder
        self._server = server

    @contextmanager
    def fresh(self) -> Iterator[str]:
        """The URL of a namespace that nobody has used, and that is dropped at the end."""
        url = self._url(f"t_{secrets.token_hex(5)}")
        yield url
        if self.kind in _SERVERS:
            asyncio.run(_drop(url))

    def _url(self, name: str) -> str:
        match self.kind:
            case "memory":
                return f"memory:{name}"
            case "file":
                return f"file:{self._folder / name}"
            case "sqlite":
                return f"sqlite:///{self._folder / name}.db"
            case "mongodb":
                # PyMongo does not close a socket that one of its monitors is connecting while the
                # client is closed; in this mode they have all connected by then.
                return f"{self._server}&namespace={name}&serverMonitoringMode=poll"
        return f"{self._server}{'&' if '?' in self._server else '?'}namespace={name}"


async def _drop(url: str) -> None:
    async with open_storage(url) as storage:
        await storage.drop()  # type: ignore[attr-defined]


def namespaces_of(kind: str, request: pytest.FixtureRequest, folder: Path) -> Namespaces:
    """Namespaces of that kind of storage; starts its server if it has one."""
    server = request.getfixturevalue(kind).url if kind in _SERVERS else ""
    return Namespaces(kind, folder, server)
