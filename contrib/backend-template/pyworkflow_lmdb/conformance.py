"""How the conformance suite reaches the backend: `pyworkflow conformance lmdb:///folder`."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from pyworkflow_core.storage import StorageBackend
from pyworkflow_core.testing import Clock, UrlSubject

from .backend import open_url

GOLDEN = Path(__file__).with_name("golden")
"""One store for each format there was, as the first version of that format wrote it."""


class LmdbSubject(UrlSubject):
    """Namespaces are folders.

    Args:
        template: ``lmdb:///folder``, for folders in it, or with ``{namespace}`` where they go.
    """

    def __init__(self, template: str) -> None:
        super().__init__(template if "{namespace}" in template else f"{template}/{{namespace}}")

    async def drop(self, namespace: str) -> None:
        """Remove the folder."""
        shutil.rmtree(open_url(self.url(namespace)).path, ignore_errors=True)

    @asynccontextmanager
    async def open_golden(self, namespace: str, clock: Clock) -> AsyncIterator[StorageBackend]:
        """A handle on a copy of the oldest store that was kept."""
        shutil.copytree(GOLDEN / "format-1", open_url(self.url(namespace)).path)
        async with self.open(namespace, clock) as store:
            yield store
