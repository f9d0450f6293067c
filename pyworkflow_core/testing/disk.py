"""A disk that fails: Python's own writes and syncs below a folder raise what a bad disk raises.

Only calls that go through Python's `os` are seen, those of `open` among them. What a library
in C writes by itself, as SQLite does, is not; a subject that has such a store overrides
`Subject.failing_disk`.
"""

from __future__ import annotations

import _pyio  # type: ignore[import-not-found]
import builtins
import contextlib
import errno
import fcntl
import io
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_F_GETPATH = 50  # macOS
_WRITES = ("write", "pwrite", "writev", "pwritev", "posix_fallocate")
_OTHERS = ("fsync", "fdatasync", "ftruncate")


class FailingDisk:
    """What fails, and how often it did.

    Args:
        folder: calls on files below it fail.
        error: ENOSPC fails what needs space: writes, and new files. Any other error fails syncs
            and truncations, too.
        after: so many of these calls come through before the first one fails.
        times: how many fail; None for every further one.

    Attributes:
        failures: how many have failed, or written less than they were given.
    """

    def __init__(self, folder: Path, error: int, after: int, times: int | None = None) -> None:
        self.folder = os.path.realpath(folder)
        self.error = error
        self.failures = 0
        self._after = after
        self._times = times
        self._raised = 0
        self._lock = threading.Lock()

    def call(self, real: Callable[..., Any], target: int | str, *arguments: Any) -> Any:
        """Make a system call on `target`, or let it fail."""
        if not self._is_ours(target):
            return real(target, *arguments)
        with self._lock:
            if self._after > 0 or self._raised == self._times:
                self._after -= 1
                return real(target, *arguments)
            self.failures += 1
            splits = real.__name__ in {"write", "pwrite"} and len(arguments[0]) > 1
            if self.error == errno.ENOSPC and self.failures == 1 and splits:
                # As a full disk does it: it takes what fits, and refuses the next write.
                return real(target, memoryview(arguments[0])[: len(arguments[0]) // 2], *arguments[1:])
            self._raised += 1
        raise OSError(self.error, os.strerror(self.error))

    def _is_ours(self, target: int | str) -> bool:
        path = os.path.realpath(target) if isinstance(target, str) else _path_of(target)
        return path.startswith(self.folder + os.sep)


@contextmanager
def failing_disk(folder: Path, error: int, after: int, times: int | None = None) -> Iterator[FailingDisk]:
    """Let the disk fail below `folder` until the end; see `FailingDisk`."""
    disk = FailingDisk(folder, error, after, times)
    with contextlib.ExitStack() as patches:
        for name in _WRITES if error == errno.ENOSPC else (*_WRITES, *_OTHERS):
            if hasattr(os, name):
                _patch(patches, os, name, _failing(disk, getattr(os, name)))
        _patch(patches, os, "open", _failing_open(disk, os.open))
        for module in (builtins, io):
            _patch(patches, module, "open", _seen_open(disk, io.open))
        yield disk


def _failing(disk: FailingDisk, real: Callable[..., Any]) -> Callable[..., Any]:
    def call(descriptor: int, *arguments: Any) -> Any:
        return disk.call(real, descriptor, *arguments)

    return call


def _failing_open(disk: FailingDisk, real: Callable[..., int]) -> Callable[..., int]:
    """To make a file needs space."""

    def call(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if flags & os.O_CREAT and dir_fd is None and not os.path.lexists(path):
            made: int = disk.call(real, os.fsdecode(path), flags, mode)
            return made
        return real(path, flags, mode, dir_fd=dir_fd)

    return call


def _seen_open(disk: FailingDisk, real: Callable[..., Any]) -> Callable[..., Any]:
    """`open` in Python, whose writes go through `os`; that in C does not."""

    def call(file: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        writes = not set(mode).isdisjoint("wax+")
        ours = isinstance(file, int) or disk._is_ours(os.fsdecode(file))
        return (_pyio.open if writes and ours else real)(file, mode, *arguments, **options)

    return call


def _patch(patches: contextlib.ExitStack, module: Any, name: str, value: Any) -> None:
    patches.callback(setattr, module, name, getattr(module, name))
    setattr(module, name, value)


def _path_of(descriptor: int) -> str:
    """The file that a descriptor is open on; empty if it is none."""
    try:
        if sys.platform == "darwin":
            return os.fsdecode(fcntl.fcntl(descriptor, _F_GETPATH, b"\0" * 1024).rstrip(b"\0"))
        return os.readlink(f"/proc/self/fd/{descriptor}")
    except OSError:
        return ""
