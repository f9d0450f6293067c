"""The memory backend obeys the laws."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from pyworkflow_core.storage import StorageBackend
from pyworkflow_core.testing import BackendConformance, Clock
from pyworkflow_memory.conformance import MemorySubject

MEMORY = MemorySubject()


class TestMemory(BackendConformance):
    """Every law, on stores that names of this process stand for."""

    def open(self, namespace: str, clock: Clock) -> AbstractAsyncContextManager[StorageBackend]:
        return MEMORY.open(namespace, clock)

    def url(self, namespace: str) -> str:
        return MEMORY.url(namespace)

    async def drop(self, namespace: str) -> None:
        await MEMORY.drop(namespace)
