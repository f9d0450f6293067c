"""Every law of `pyworkflow_core.testing` is a test here."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pyworkflow_core.storage import StorageBackend
from pyworkflow_core.testing import BackendConformance, Clock

from pyworkflow_lmdb import LmdbStorageBackend
from pyworkflow_lmdb.conformance import GOLDEN


class TestLmdb(BackendConformance):
    @asynccontextmanager
    async def open(self, namespace: str, clock: Clock) -> AsyncIterator[StorageBackend]:
        async with LmdbStorageBackend(self.folder / namespace) as store:
            yield store

    @asynccontextmanager
    async def open_golden(self, namespace: str, clock: Clock) -> AsyncIterator[StorageBackend]:
        shutil.copytree(GOLDEN / "format-1", self.folder / namespace)
        async with self.open(namespace, clock) as store:
            yield store
