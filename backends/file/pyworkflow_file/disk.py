"""Every read, write and sync of the file store, in one small object.

Tests put another one in its place to make the disk full, slow or broken at one call, and
to count what was read. It keeps counts and knows nothing of what the bytes mean.
"""

from __future__ import annotations

import errno
import os
import sys

from pyworkflow_core.errors import StorageFull, StorageUnavailable

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_F_FULLFSYNC = 51  # macOS: fsync alone stops at the drive's cache


class Disk:
    """The system calls.

    Attributes:
        bytes_read: bytes read from journals so far.
        bytes_written: bytes written to journals so far.
        syncs: how often data was forced to the medium.
    """

    def __init__(self) -> None:
        self.bytes_read = 0
        self.bytes_written = 0
        self.syncs = 0

    def open(self, path: str, flags: int) -> int:
        """Open a file that no child process inherits."""
        return os.open(path, flags | os.O_CLOEXEC, 0o666)

    def read(self, fd: int, size: int, offset: int) -> bytes:
        """Read up to `size` bytes at `offset`; fewer only at the end of the file."""
        data = os.pread(fd, size, offset)
        while len(data) < size and (more := os.pread(fd, size - len(data), offset + len(data))):
            data += more
        self.bytes_read += len(data)
        return data

    def write(self, fd: int, data: bytes | memoryview, offset: int) -> int:
        """Write at `offset`; may write less than was asked for."""
        written = os.pwrite(fd, data, offset)
        self.bytes_written += written
        return written

    def write_all(self, fd: int, data: bytes, offset: int) -> None:
        """Write all of `data`, in as many calls as it takes."""
        done = self.write(fd, data, offset)
        while done < len(data):
            written = self.write(fd, memoryview(data)[done:], offset + done)
            if written == 0:
                raise OSError(errno.EIO, "the system writes nothing and gives no reason")
            done += written

    def truncate(self, fd: int, size: int) -> None:
        """Cut the file to `size` bytes."""
        os.ftruncate(fd, size)

    def sync(self, fd: int) -> None:
        """Return when the file's data are on the medium."""
        self.syncs += 1
        if sys.platform == "darwin":
            import fcntl

            fcntl.fcntl(fd, _F_FULLFSYNC)
        else:
            os.fdatasync(fd)

    def sync_folder(self, path: str) -> None:
        """Return when the names in the folder are on the medium."""
        self.syncs += 1
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def storage_error(error: OSError, path: str, doing: str) -> StorageUnavailable:
    """The typed error for what the system said while `doing` something to `path`."""
    text = f"cannot {doing} {path}: {os.strerror(error.errno or 0)}"
    if error.errno in _FULL:
        return StorageFull(f"{text}. Nothing was written; make room and try again.")
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return StorageUnavailable(f"{text}. The file store writes there; give this user the right to.")
    if error.errno in {errno.ENOTDIR, errno.EEXIST}:
        return StorageUnavailable(f"{text}. The file store needs a folder; name another path.")
    return StorageUnavailable(f"{text}.")
