"""The lock file: who may touch the journal now, and how far it is known to be on the medium.

`flock` belongs to the open file, so that two handles of one process exclude each other as
two processes do. The file's 16 bytes say where the last successful sync ended. They are
not synced themselves: after a power failure they may be old, never ahead of the journal.
"""

from __future__ import annotations

import fcntl
import os
import struct
import threading
from typing import TYPE_CHECKING
from zlib import crc32

from .segments import Place

if TYPE_CHECKING:
    from .disk import Disk

_RECORD = struct.Struct(">IQ")


class StoreLock:
    """One handle's grip on the lock file."""

    def __init__(self, path: str, disk: Disk) -> None:
        self._path = path
        self._disk = disk
        self._fd = -1
        self._threads = threading.Lock()  # threads of one handle share its open file

    def acquire(self, *, blocking: bool) -> bool:
        """Take the lock; without `blocking`, only if nobody has to be waited for."""
        if not self._threads.acquire(blocking=blocking):
            return False
        try:
            while True:
                if self._fd < 0:
                    self._fd = self._disk.open(self._path, os.O_RDWR | os.O_CREAT)
                try:
                    fcntl.flock(self._fd, fcntl.LOCK_EX if blocking else fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    self._threads.release()
                    return False
                if os.fstat(self._fd).st_nlink:
                    return True
                # Somebody removed the file: others now lock another one of that name.
                os.close(self._fd)
                self._fd = -1
        except BaseException:
            self._threads.release()
            raise

    def release(self) -> None:
        """Let others in."""
        if self._fd >= 0:
            fcntl.flock(self._fd, fcntl.LOCK_UN)
        self._threads.release()

    def read_record(self) -> bytes:
        """The record of the last sync as it stands in the file."""
        return os.pread(self._fd, 17, 0)

    def write_record(self, place: Place) -> bytes:
        """Note that everything before `place` is on the medium."""
        record = encode_place(place)
        os.pwrite(self._fd, record, 0)
        return record

    def close(self) -> None:
        """Close the file; held, the lock ends with it."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    __del__ = close


def encode_place(place: Place) -> bytes:
    """A place with a checksum, in 16 bytes."""
    raw = _RECORD.pack(*place)
    return raw + crc32(raw).to_bytes(4, "big")


def decode_place(record: bytes) -> Place | None:
    """The place that `encode_place` wrote; None for anything else."""
    if len(record) != 16 or crc32(record[:12]) != int.from_bytes(record[12:], "big"):
        return None
    return Place(*_RECORD.unpack(record[:12]))
