"""The file backend with one subtle mistake each, as a careful programmer could make it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from pyworkflow_core.storage import Answer, Append, StorageBackend
from pyworkflow_core.testing import Clock
from pyworkflow_file import FileStorageBackend
from pyworkflow_file.conformance import FileSubject
from pyworkflow_file.heads import Heads
from pyworkflow_file.index import Index
from pyworkflow_file.lines import encode_append
from pyworkflow_file.store import Store


class EarlyStore(Store):
    """Decides on heads that were looked up before the lock was taken."""

    looked_up: dict[str, int] | None = None

    def _decide(self, append: Append, *, starts: bool) -> Answer | bytes:
        if self.looked_up is not None and self.looked_up.get(append.run_id) == append.expected:
            return encode_append(append, starts=starts)
        return super()._decide(append, starts=starts)


class HeadBeforeTheLock(FileStorageBackend):
    """Looks up the heads, lets go of the lock, and takes it again to write."""

    def _new_store(self) -> Store:
        return EarlyStore(self.base_path, self.options, self._disk, self._mounts)

    async def _commit(self, appends: Sequence[Append], within: Any) -> list[Answer]:
        def look(store: Store) -> dict[str, int]:
            heads = {a.run_id: store.head(a.run_id) for a in appends}
            return {run_id: head.record.head for run_id, head in heads.items() if head is not None}

        heads = await self._in_thread(lambda: self._wait_and_work(look))

        def write(store: Store) -> list[Answer]:
            assert isinstance(store, EarlyStore)
            store.looked_up = heads
            try:
                return store.commit(appends)
            finally:
                store.looked_up = None

        return await self._do(write)


class ForgetfulStore(Store):
    """Loses the last line of a batch in which another append was turned down."""

    turned_down = False

    def _decide(self, append: Append, *, starts: bool) -> Answer | bytes:
        answer = super()._decide(append, starts=starts)
        self.turned_down = self.turned_down or not isinstance(answer, bytes)
        return answer

    def _write(self, lines: list[tuple[Append, bytes]]) -> None:
        lost, self.turned_down = self.turned_down and len(lines) > 1, False
        super()._write(lines[:-1] if lost else lines)


class LostNeighbour(FileStorageBackend):
    """Acknowledges an append of a mixed batch that it did not write."""

    def _new_store(self) -> Store:
        return ForgetfulStore(self.base_path, self.options, self._disk, self._mounts)


class LaggingIndex(Index):
    """Keeps the due time of a leased run as it was when the lease was taken."""

    def take(self, heads: Heads) -> None:
        leased = {
            run_id: self.db.execute(
                "SELECT due FROM runs WHERE id = ? AND token IS NOT NULL", (run_id,)
            ).fetchone()
            for run_id, head in heads.changed.items()
            if not head.leases
        }
        super().take(heads)
        for run_id, row in leased.items():
            if row is not None:
                self.db.execute("UPDATE runs SET due = ? WHERE id = ?", (row[0], run_id))


class LaggingStore(Store):
    """A store with the lagging index."""

    def _open_index(self) -> None:
        super()._open_index()
        self.index.__class__ = LaggingIndex


class DueTimeLeftBehind(FileStorageBackend):
    """Moves the wake time of a leased run with its log, but not when the run is due."""

    def _new_store(self) -> Store:
        return LaggingStore(self.base_path, self.options, self._disk, self._mounts)


class PlantedSubject(FileSubject):
    """A subject whose handles have a mistake."""

    backend: type[FileStorageBackend]

    def __init__(self, template: str = "file:///nowhere/{namespace}") -> None:
        super().__init__(template)

    @asynccontextmanager
    async def open(self, namespace: str, clock: Clock) -> AsyncIterator[StorageBackend]:
        async with self.backend(self.folder / namespace) as store:
            yield store

    def url(self, namespace: str) -> str:
        return f"file://{self.folder}/{namespace}"


class HeadBeforeTheLockSubject(PlantedSubject):
    """Reaches `HeadBeforeTheLock`."""

    backend = HeadBeforeTheLock


class LostNeighbourSubject(PlantedSubject):
    """Reaches `LostNeighbour`."""

    backend = LostNeighbour


class DueTimeLeftBehindSubject(PlantedSubject):
    """Reaches `DueTimeLeftBehind`."""

    backend = DueTimeLeftBehind
