"""LMDB environments: one a folder in this process, each with one thread for its transactions.

A commit waits for the disk, so it must not run on the event loop. LMDB forbids to open one
environment twice in a process, and its memory map may grow only while the process has no
transaction open. One thread for each environment settles all three, and costs little: LMDB lets
one writer write at a time anyway.
"""

from __future__ import annotations

import asyncio
import errno
import os
import secrets
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

import lmdb
from pyworkflow_core.errors import (
    CorruptLog,
    OutcomeUnknown,
    StorageError,
    StorageFull,
    StorageUnavailable,
    UnsupportedSchema,
)

if TYPE_CHECKING:
    Txn = lmdb.Transaction[bytes]

T = TypeVar("T")
FORMAT = 1
"""Raise it when what lies where changes, so that older code refuses what it would misread."""
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class Environment:
    """One folder. `acquire` makes it, and the last handle that releases it closes it.

    Attributes:
        handles: how many handles use it.
        pid: the process that it works in; a forked child acquires one of its own.
    """

    def __init__(self, path: str, map_size: int) -> None:
        self.handles = 0
        self.pid = os.getpid()
        self._path = path
        self._map_size = map_size
        self._env: lmdb.Environment | None = None
        self._busy = threading.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="pyworkflow-lmdb")

    async def run(self, work: Callable[[Txn], T], *, write: bool = False) -> T:
        """Do `work` in a transaction: all of it, or nothing if it raises.

        It may be done again where the map has to grow. A caller that is cancelled leaves it
        done or not done, never a part.

        Raises:
            StorageUnavailable: nothing was written.
            OutcomeUnknown: the commit failed, and it is not known how far it got.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._run, work, write)

    async def release(self) -> None:
        """Let go of it, after everything that was begun. It is done even if the caller is cancelled."""
        await asyncio.shield(asyncio.wrap_future(self._thread.submit(self._release)))
        if self.handles == 0:
            self._thread.shutdown()

    def _release(self) -> None:
        with _lock:
            self.handles -= 1
            if self.handles == 0:
                del _acquired[self._path]
                self._drop()
                self._thread.shutdown(wait=False)  # here too: `release` may have been cancelled

    def pause(self) -> None:
        """Close it for a while, after the transaction that it is in."""
        self._busy.acquire()
        self._drop()

    def resume(self) -> None:
        """Go on; the next transaction opens it again."""
        self._busy.release()

    def _run(self, work: Callable[[Txn], T], write: bool) -> T:
        with self._busy:
            try:
                if self._env is None:
                    os.makedirs(self._path, exist_ok=True)
                    self._env = lmdb.open(self._path, map_size=self._map_size)
                    self._transact(self._env, _check_format, True)
                return self._transact(self._env, work, write)
            except (OutcomeUnknown, UnsupportedSchema):
                self._drop()
                raise
            except (lmdb.Error, OSError) as error:
                self._drop()  # after some errors LMDB works again only when it is opened again
                raise _storage_error(error, self._path) from error

    def _transact(self, env: lmdb.Environment, work: Callable[[Txn], T], write: bool) -> T:
        while True:
            try:
                return self._try(env, work, write)
            except lmdb.MapFullError:
                env.reader_check()  # a reader that was killed keeps old pages from being used again
                env.set_mapsize(2 * env.info()["map_size"])
            except lmdb.MapResizedError:
                env.set_mapsize(0)  # another process has grown the map: take its size

    def _try(self, env: lmdb.Environment, work: Callable[[Txn], T], write: bool) -> T:
        txn = env.begin(write=write)
        try:
            result = work(txn)
        except BaseException:
            txn.abort()
            raise
        try:
            txn.commit()
        except lmdb.Error as error:
            # The last step of a commit is a page in its old place, so it is not that which lacks room.
            if isinstance(error, lmdb.MapFullError) or _code(error) in _NO_ROOM:
                raise
            raise OutcomeUnknown(
                f"LMDB environment {self._path}: a commit failed (as it may when the disk is full): {error}"
            ) from error
        return result

    def _drop(self) -> None:
        if self._env is not None:
            self._env.close()
            self._env = None


def _check_format(txn: Txn) -> None:
    """Write down the format of a new store; refuse one that is newer than this code."""
    if txn.get(b"m.format") is None:
        txn.put(b"m.format", str(FORMAT).encode())
        txn.put(b"m.name", secrets.token_hex(8).encode())
    found = int(txn.get(b"m.format", b""))
    if found > FORMAT:
        raise UnsupportedSchema(f"the LMDB store has format {found}; this version knows up to {FORMAT}")


_lock = threading.Lock()
_acquired: dict[str, Environment] = {}


def acquire(path: str, map_size: int) -> Environment:
    """The process's environment for a folder, for one handle more."""
    path = os.path.realpath(path)
    with _lock:
        environment = _acquired.get(path)
        if environment is None:
            environment = _acquired[path] = Environment(path, map_size)
        environment.handles += 1
        return environment


def _before_fork() -> None:
    """LMDB forbids a child to use, or to have, what its parent has open: have nothing open."""
    _lock.acquire()
    for environment in _acquired.values():
        environment.pause()


def _after_fork_in_parent() -> None:
    for environment in _acquired.values():
        environment.resume()
    _lock.release()


def _after_fork_in_child() -> None:
    _acquired.clear()  # their threads are the parent's
    _lock.release()


os.register_at_fork(
    before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child
)


def _storage_error(error: lmdb.Error | OSError, path: str) -> StorageError:
    text = f"LMDB environment {path}: {error}"
    if _code(error) in _NO_ROOM or isinstance(error, (lmdb.MapFullError, lmdb.MemoryError)):
        return StorageFull(text)
    if isinstance(error, (lmdb.CorruptedError, lmdb.PageNotFoundError, lmdb.InvalidError)):
        return CorruptLog(text, location=path)
    if isinstance(error, lmdb.VersionMismatchError):
        return UnsupportedSchema(text)
    return StorageUnavailable(text)


def _code(error: lmdb.Error | OSError) -> int | None:
    """The system's number of the error, where there is one."""
    return error.errno if isinstance(error, OSError) else getattr(error, "code", None)
