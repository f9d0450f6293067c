"""A journal: one file of lines, each with its checksum, that processes append to in turn.

::

    5b0c1f2e {"what":"header","format":2,"store":"9f2c"}
    └ crc32   └ JSON, of which this module knows nothing

The last piece of the file may lack its line break: a writer died before it answered. Such a
torn tail is cut off by whoever writes next. Anything else that is not a line is damage.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from zlib import crc32

from ...errors import CorruptLog, OutcomeUnknown, StorageClosed, StorageFull, StorageUnavailable


class Journal:
    """One handle on the file. Nothing is read or written without the lock.

    Args:
        path: the file.

    Attributes:
        path: the file.
        end: the place behind the last whole line that this handle has seen.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.end = 0
        self._fd = -1
        self._poisoned = False

    def open(self) -> None:
        """Open the file, and make it if there is none."""
        if self._fd < 0:
            folder = os.path.dirname(self.path)
            os.makedirs(folder, exist_ok=True)
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
            self._sync_folder(folder)

    def _sync_folder(self, folder: str) -> None:
        """Return when the file's name is on the medium."""
        fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def close(self) -> None:
        """Close the file, if it is open."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock: no other handle, in any process, reads or writes meanwhile.

        Raises:
            StorageClosed: the file was closed, or a sync failed before.
            StorageUnavailable: the system refuses; nothing was written.
        """
        if self._poisoned or self._fd < 0:
            why = "an earlier sync failed" if self._poisoned else "the file was closed"
            raise StorageClosed(f"{self.path}: {why}; open a new handle")
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(self._fd, fcntl.LOCK_UN)
        except OSError as error:
            raise storage_error(error, self.path) from error

    def new_lines(self) -> Iterator[bytes]:
        """The lines behind `end`, without checksum. `end` moves on as each has been used.

        Raises:
            CorruptLog: a line is damaged.
        """
        size = os.fstat(self._fd).st_size
        if size < self.end:
            raise self.damage(f"the file ends at {size}, and had more")
        for line in self._read(size).splitlines(keepends=True):
            if not self._is_whole(line):
                return
            if not self._is_sound(line):
                raise self.damage("the line is damaged")
            yield line[9:-1]
            self.end += len(line)

    def damage(self, what: str) -> CorruptLog:
        """The error that names what is wrong at `end`."""
        return CorruptLog(f"{self.path}, byte {self.end}: {what}", location=f"{self.path}:{self.end}")

    def _read(self, size: int) -> bytes:
        """All bytes from `end` to `size`."""
        data = b""
        while len(data) < size - self.end:
            more = os.pread(self._fd, size - self.end - len(data), self.end + len(data))
            if not more:
                break
            data += more
        return data

    def _is_whole(self, line: bytes) -> bool:
        """Whether it has its break. Only the last one can lack it."""
        return line.endswith(b"\n")

    def _is_sound(self, line: bytes) -> bool:
        return line[8:9] == b" " and line[:8] == _checksum(line[9:-1])

    def write(self, lines: Sequence[bytes], *, sync: bool = True) -> None:
        """Append `lines`, and return when they and all before them are on the medium.

        Args:
            lines: what to write, without checksums and breaks; none only syncs.
            sync: whether to wait for the medium.

        Raises:
            OSError: nothing was written.
            OutcomeUnknown: it is not known whether it was; the handle is poisoned.
        """
        data = b"".join(b"%b %b\n" % (_checksum(line), line) for line in lines)
        if data:
            self._cut_tail()
            try:
                self._write_all(data)
            except OSError as error:
                self._take_back(error)
                raise
        if sync:
            try:
                self._sync()
            except OSError as error:
                raise self._poison(error) from error
        self.end += len(data)

    def _cut_tail(self) -> None:
        """Cut off what a writer left that died: it was never acknowledged."""
        if os.fstat(self._fd).st_size > self.end:
            os.ftruncate(self._fd, self.end)

    def _write_all(self, data: bytes) -> None:
        """Write in as many calls as it takes: the system may write less than it is given."""
        done = 0
        while done < len(data):
            written = os.write(self._fd, data[done:])
            if written == 0:
                raise OSError(errno.EIO, "the system writes nothing and gives no reason")
            done += written

    def _take_back(self, error: OSError) -> None:
        """Cut off what a failed write left."""
        try:
            os.ftruncate(self._fd, self.end)
        except OSError:
            raise self._poison(error) from error

    def _sync(self) -> None:
        # macOS has no fdatasync.
        (os.fdatasync if hasattr(os, "fdatasync") else os.fsync)(self._fd)

    def _poison(self, error: OSError) -> OutcomeUnknown:
        """After a failed sync nobody knows what the medium holds: take the lines back and give up."""
        self._poisoned = True
        with suppress(OSError):  # if it fails, the outcome is as unknown as before
            os.ftruncate(self._fd, self.end)
        return OutcomeUnknown(f"{self.path}: {error.strerror} while syncing; open a new handle")


def _checksum(line: bytes) -> bytes:
    return b"%08x" % crc32(line)


def storage_error(error: OSError, path: str) -> StorageUnavailable:
    """The typed error for what the system said."""
    text = f"{path}: {error.strerror or error}; nothing was written"
    return (StorageFull if error.errno in {errno.ENOSPC, errno.EDQUOT} else StorageUnavailable)(text)
