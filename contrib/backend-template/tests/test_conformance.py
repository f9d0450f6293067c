"""Every law of `pyworkflow_core.testing` is a test here."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pyworkflow_core.testing import BackendConformance, Clock

from pyworkflow_lmdb import LmdbStorageBackend


class TestLmdb(BackendConformance):
    @asynccontextmanager
    async def open(self, namespace: str, clock: Clock) -> AsyncIterator[LmdbStorageBackend]:
        async with LmdbStorageBackend(self.folder / namespace) as store:
            yield store
