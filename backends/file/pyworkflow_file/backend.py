"""The file backend: which thread does what, and the rest of the storage contract on top.

The store's functions are synchronous. They run on the event loop's thread where that is
faster than handing them over, which a sync of a good disk is, and in a thread of the
backend's own where the lock is taken, the disk is slow or much has to be read.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakSet

from pyworkflow_core.errors import StorageClosed, StorageUnavailable
from pyworkflow_core.record import copy_record
from pyworkflow_core.storage import (
    Answer,
    Append,
    Capabilities,
    Claim,
    FeedPage,
    Page,
    RunQuery,
    StorageBackend,
)

from .claims import claim_due, find_page, move_lease
from .compact import compact_segments
from .disk import Disk, storage_error
from .feed import read_feed
from .folder import FORMAT, check_platform
from .options import Options, parse_url
from .reading import read_extents
from .store import Store
from .view import Progress, index_error, is_broken

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pyworkflow_core.events import Event
    from pyworkflow_core.record import RunRecord

T = TypeVar("T")
# What takes the event loop's thread some 2 ms, while handing it over and taking it back costs one.
_MUCH_TO_READ = 1024 * 1024
_MUCH_TO_INDEX = 100
_inherited: list[Store] = []  # kept, since to close their SQLite files is the parent's business
_stores: WeakSet[Store] = WeakSet()


def _let_go_of_locks() -> None:
    """In a forked child: a lock lives as long as any copy of its open file, also when the parent dies."""
    for store in _stores:
        store.lock.close()


os.register_at_fork(after_in_child=_let_go_of_locks)


class FileStorageBackend(StorageBackend):
    """Keeps runs in a folder on a local disk. Several processes may use it at once.

    Args:
        base_path: the folder; it is created on first use.
        options: the fields of `Options`, such as ``segment_bytes=…``.

    Attributes:
        on_progress: called with what is being done, done and total bytes while much of the
            journal is read, as when the index is made again.

    Raises:
        ConfigurationError: an option has a value that it cannot have, or the system is
            neither Linux nor macOS.
    """

    capabilities = Capabilities(durable=True, multi_process=True, file_medium=True, feed=True)

    def __init__(
        self,
        base_path: str | os.PathLike[str] = ".pyworkflow",
        *,
        segment_bytes: int = 64 * 1024 * 1024,
        catch_up_lines: int = 2000,
        heads: int = 10_000,
        compact_at: float = 0.5,
        inline_below: int = 1000,
        network_ok: bool = False,
        migrate: str = "auto",
    ) -> None:
        check_platform()
        self.options = Options(
            segment_bytes=segment_bytes,
            catch_up_lines=catch_up_lines,
            heads=heads,
            compact_at=compact_at,
            inline_below=inline_below,
            network_ok=network_ok,
            migrate=migrate,
        )
        self.base_path = os.path.abspath(base_path)
        self.on_progress: Progress | None = None
        self._disk = Disk()
        self._mounts = "/proc/self/mounts"
        self._commit_time = 0.0  # µs, moving average
        self._threads: ThreadPoolExecutor | None = None
        self._store = self._new_store()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.base_path!r})"

    def _new_store(self) -> Store:
        store = Store(self.base_path, self.options, self._disk, self._mounts)
        store.on_progress = self._tell
        _stores.add(store)
        return store

    def _tell(self, what: str, done: int, total: int) -> None:
        if self.on_progress is not None:
            self.on_progress(what, done, total)

    # ---- threads -------------------------------------------------------------------

    async def _do(self, work: Callable[[Store], T], *, heavy: bool = False) -> T:
        """Run `work` with the lock held and everything known: here if that is quick, else in a thread."""
        self._check_fork()
        if not heavy and self._acquire(blocking=False):
            return self._work(work)
        return await self._in_thread(lambda: self._wait_and_work(work))

    def _wait_and_work(self, work: Callable[[Store], T]) -> T:
        self._acquire(blocking=True)
        return self._work(work)

    async def _in_thread(self, call: Callable[[], T]) -> T:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(4, thread_name_prefix="pyworkflow-file")
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    def _acquire(self, *, blocking: bool) -> bool:
        try:
            return self._store.lock.acquire(blocking=blocking)
        except OSError as error:
            raise storage_error(error, os.path.join(self.base_path, "lock"), "lock") from error

    def _work(self, work: Callable[[Store], T]) -> T:
        """Do `work`, and let go of the lock."""
        store = self._store
        try:
            if self._closed:
                raise StorageClosed(f"{type(self).__name__} is closed; open a new one")
            try:
                store.refresh()
                return work(store)
            except sqlite3.DatabaseError as error:
                if not is_broken(error):
                    raise index_error(error, os.path.join(self.base_path, "index.sqlite")) from error
                store.rebuild(str(error))
                store.refresh()
                return work(store)
        except OSError as error:
            raise storage_error(error, self.base_path, "use") from error
        finally:
            store.lock.release()

    def _check_fork(self) -> None:
        """A forked child shares its parent's open files, and with them the parent's lock: open its own."""
        if self._store.pid != os.getpid():
            _inherited.append(self._store)
            self._threads = None
            self._store = self._new_store()

    async def _open(self) -> None:
        self._check_fork()
        await self._in_thread(self._store.prepare)
        await self._do(lambda store: None, heavy=True)

    async def _close(self) -> None:
        store = self._store
        if store.pid != os.getpid():
            return
        if store.is_used:
            await self._in_thread(self._close_store)
        if self._threads is not None:
            self._threads.shutdown(wait=True)
            self._threads = None

    def _close_store(self) -> None:
        store = self._store
        try:
            self._acquire(blocking=True)
        except StorageUnavailable:
            store.drop()  # the folder is gone, or was never to be had
            return
        try:
            store.close()
        finally:
            store.lock.release()
            store.lock.close()

    # ---- the contract --------------------------------------------------------------

    async def _commit(self, appends: Sequence[Append], within: Any) -> list[Answer]:
        slow = self._commit_time > self.options.inline_below
        behind = self._store.heads.lines >= self.options.catch_up_lines
        return await self._do(lambda store: self._timed_commit(store, appends), heavy=slow or behind)

    def _timed_commit(self, store: Store, appends: Sequence[Append]) -> list[Answer]:
        try:
            return store.commit(appends)
        finally:
            self._commit_time += 0.1 * (store.journal.sync_time - self._commit_time)

    async def _read(self, run_id: str, after: int, limit: int | None) -> list[Event]:
        reading = await self._do(lambda store: store.reading(run_id, after, limit))
        if reading is None:
            return []
        if reading.size <= _MUCH_TO_READ:
            return read_extents(reading, self._disk)
        return await self._in_thread(lambda: read_extents(reading, self._disk))

    async def _get(self, run_id: str) -> RunRecord | None:
        head = await self._do(lambda store: store.head(run_id))
        return None if head is None else copy_record(head.record)

    async def _find(self, query: RunQuery, cursor: str | None, limit: int) -> Page:
        return await self._indexed(lambda store: find_page(store.index, query, cursor, limit), heavy=True)

    async def _claim(
        self, owner: str, now: int, lease: int, limit: int, queues: tuple[str, ...] | None, run_id: str | None
    ) -> list[Claim]:
        return await self._indexed(
            lambda store: claim_due(store.index, owner, now, lease, limit, queues, run_id), heavy=limit > 100
        )

    async def _extend(self, claim: Claim, until: int) -> bool:
        return await self._indexed(lambda store: move_lease(store.index, claim, until))

    async def _release(self, claim: Claim) -> bool:
        return await self._indexed(lambda store: move_lease(store.index, claim, None))

    async def _indexed(self, work: Callable[[Store], T], *, heavy: bool = False) -> T:
        """Run `work` with the index caught up."""

        def flushed(store: Store) -> T:
            store.flush()
            return work(store)

        return await self._do(flushed, heavy=heavy or len(self._store.heads.changed) > _MUCH_TO_INDEX)

    async def _delete(self, run_id: str, expected: int) -> None:
        def delete(store: Store) -> None:
            store.delete(run_id, expected)
            if self.options.compact_at:
                compact_segments(store, self.options.compact_at)

        await self._do(delete, heavy=True)

    async def _feed(self, after: str | None, limit: int) -> FeedPage:
        return await self._do(lambda store: read_feed(store, after, limit))

    async def describe(self) -> list[str]:
        """What the storage is and promises, in lines for people."""
        promises = await super().describe()
        return [f"the folder {self.base_path}, in format {FORMAT}", *promises]

    async def compact(self) -> int:
        """Give back the space that deleted runs hold, all of it; the number of bytes.

        `delete` does it by itself where more than half of a segment is dead.
        """
        await self._ready()

        def compact(store: Store) -> int:
            store.flush()
            if store.index.segments().get(store.journal.end.segment, (0, 0))[1]:
                store.rotate()
            return compact_segments(store, 0)

        return await self._do(compact, heavy=True)


def open_url(url: str) -> FileStorageBackend:
    """Make a handle from ``file:///absolute/path?option=value`` or ``file:relative/path``.

    Raises:
        ConfigurationError: the URL names no folder, or an option that there is not.
    """
    path, options = parse_url(url)
    return FileStorageBackend(path, **{name: getattr(options, name) for name in options.__struct_fields__})
