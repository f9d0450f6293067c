"""Stores with a mistake, and subjects for them, where other processes find them too."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from pyworkflow_core.errors import StorageUnavailable
from pyworkflow_core.storage import Answer, Append, StorageBackend
from pyworkflow_core.testing import Clock, Subject
from pyworkflow_core.testing.hosts.ram import RamStore


class Careless(RamStore):
    """Takes a stale append for a good one."""

    async def _commit(self, appends: Sequence[Append], within: Any) -> list[Answer]:
        return [self._put(self._state, append) for append in appends]

    def _decide(self, state: Any, append: Append) -> Answer | None:
        run = self._run(state, append.run_id)
        return (
            None if run is not None and append.expected < run.record.head else super()._decide(state, append)
        )


class Gone(RamStore):
    """A store whose server is not there."""

    async def _open(self) -> None:
        raise StorageUnavailable("no server at nowhere:1")


class RamPlace(Subject):
    """The correct store."""

    store: type[RamStore] = RamStore

    @asynccontextmanager
    async def open(self, namespace: str, clock: Clock) -> AsyncIterator[StorageBackend]:
        async with self.store(namespace) as store:
            yield store

    async def drop(self, namespace: str) -> None:
        self.store.forget(namespace)


class CarelessPlace(RamPlace):
    """The store with the mistake."""

    store = Careless


class GonePlace(RamPlace):
    """The store that is not there."""

    store = Gone


@asynccontextmanager
async def open_careless(namespace: str, clock: Clock) -> AsyncIterator[StorageBackend]:
    """Open a careless store, as a function for `check`."""
    async with Careless(namespace) as store:
        yield store
