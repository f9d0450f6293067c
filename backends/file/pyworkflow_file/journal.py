"""The journal: appending to it, reading its lines in order, and what a crash leaves behind.

The caller holds the store's lock. A place is *synced* if everything before it is known to
be on the medium; the lock file says which place that is. Bytes behind it belong to a writer
that died, or whose sync failed, before it answered.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from pyworkflow_core.errors import StorageClosed, StorageUnavailable

from .disk import storage_error
from .lines import START, is_sound
from .locks import decode_place
from .segments import Place, damage, list_segments, segment_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .disk import Disk
    from .locks import StoreLock

_CHUNK = 1024 * 1024


class SyncFailed(Exception):
    """Bytes were written, and whether they are on the medium is not known."""


class Journal:
    """One handle's view of the segments; appends go to the last one.

    Attributes:
        generations: the generation in use of each segment.
        end: the place behind the last synced byte, as this handle knows it.
        poison: why the handle cannot be used any more; empty if it can.
        sync_time: microseconds that the last append took.
    """

    def __init__(self, folder: str, disk: Disk, lock: StoreLock) -> None:
        self.folder = folder
        self.disk = disk
        self.lock = lock
        self.generations: dict[int, int] = {}
        self.end = Place(0, 0)
        self.poison = ""
        self.sync_time = 0.0
        self._record = b""  # the lock file's record as last seen,
        self._synced = Place(0, 0)  # and the place that it names
        self._fd = -1
        self._number = 0  # segment of the open file

    def path(self, number: int) -> str:
        """The file of a segment."""
        return os.path.join(self.folder, segment_name(number, self.generations.get(number, 0)))

    def open(self, preferred: dict[int, int]) -> None:
        """Find the segments; create the first one in a new store.

        Args:
            preferred: the generation that the index has of a segment. Another one beside it
                is an unfinished or unneeded copy.
        """
        self.list_again(preferred)
        if not self.generations:
            self._create(1)
        self._use(max(self.generations))

    def list_again(self, preferred: dict[int, int]) -> None:
        """Find the segments' files; of two generations the one in `preferred`, or the later one, counts."""
        self.generations = {}
        for number, found in list_segments(self.folder).items():
            self.generations[number] = preferred[number] if preferred.get(number) in found else found[-1]
            for other in found:
                if other != self.generations[number]:
                    os.unlink(os.path.join(self.folder, segment_name(number, other)))

    def close(self) -> None:
        """Close the segment in use."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd, self._number = -1, 0

    def _create(self, number: int) -> None:
        path = os.path.join(self.folder, segment_name(number, 0))
        try:
            fd = self.disk.open(path, os.O_RDWR | os.O_CREAT)
            try:
                # A writer may have died right here before, and left it empty.
                if os.fstat(fd).st_size:
                    raise damage(path, 0, "the file holds lines that no writer has announced")
                self.disk.sync(fd)
            finally:
                os.close(fd)
            self.disk.sync_folder(self.folder)
        except OSError as error:
            raise storage_error(error, path, "create") from error
        self.generations[number] = 0
        self._synced = Place(number, 0)
        self._record = self.lock.write_record(self._synced)

    def _use(self, number: int) -> None:
        if self._number == number:
            return
        self.close()
        path = self.path(number)
        try:
            self._fd, self._number = self.disk.open(path, os.O_RDWR), number
        except OSError as error:
            raise storage_error(error, path, "open") from error

    def rotate(self) -> None:
        """Go on in a new segment; the old one is never appended to again."""
        number = self.end.segment + 1
        self._create(number)
        self._use(number)
        self.end = Place(number, 0)

    def is_unmoved(self) -> bool:
        """Whether nobody but this handle has written since it last looked."""
        state = os.fstat(self._fd)
        return (
            state.st_size == self.end.offset
            and self._synced == self.end
            and self.lock.read_record() == self._record
            and state.st_nlink > 0
        )

    def find_end(self, generations: Callable[[], dict[int, int]]) -> Place:
        """The synced end of the journal, after the remains of a dead writer were dealt with.

        Args:
            generations: tells the generations that the index has, if others went on to new segments.

        Raises:
            CorruptLog: there is damage before the end, or less than was acknowledged.
        """
        record = self.lock.read_record()
        synced = decode_place(record)
        last = max(self.generations)
        if synced is None:
            # A restored copy, or a record torn by a power failure.
            self.list_again(generations())
            last = max(self.generations)
            synced = Place(last, 0)
        if last < synced.segment:
            self.list_again(generations())
            last = max(self.generations)
        if last < synced.segment:
            raise damage(self.path(synced.segment), 0, "the file is missing, and was acknowledged")
        self._use(last)
        state = os.fstat(self._fd)
        if state.st_nlink == 0:
            text = "the journal was removed while in use; open a new handle"
            raise StorageUnavailable(f"{self.folder}: {text}")
        size = state.st_size
        if last == synced.segment and size < synced.offset:
            raise damage(self.path(last), size, f"the file ends, and {synced.offset} bytes were acknowledged")
        end = Place(last, size)
        if end != synced:
            end = self._recover(synced, end)
            record = self.lock.write_record(end)
        self._record, self._synced = record, end
        return end

    def _recover(self, synced: Place, end: Place) -> Place:
        """Cut off what is torn, and write again what is whole: the cache may say what the medium does not."""
        for number in range(synced.segment, end.segment):
            size = os.path.getsize(self.path(number))
            start = synced.offset if number == synced.segment else 0
            for _ in self.lines(Place(number, start), Place(number, size)):
                pass  # only the last segment can be torn: the one before was synced when it was left
        start = synced.offset if end.segment == synced.segment else 0
        cut = self._find_tear(Place(end.segment, start), end.offset)
        try:
            if cut < end.offset:
                self.disk.truncate(self._fd, cut)
            while start < cut:
                data = self.disk.read(self._fd, min(_CHUNK, cut - start), start)
                self.disk.write_all(self._fd, data, start)
                start += len(data)
            self.disk.sync(self._fd)
        except OSError as error:
            raise storage_error(error, self.path(end.segment), "recover") from error
        return Place(end.segment, cut)

    def _find_tear(self, start: Place, size: int) -> int:
        """Where the whole lines of an unsynced tail end.

        A crash leaves the last line without its end, or pages of zeros within the last
        commit. Anything else that is not a line is damage.
        """
        path = self.path(start.segment)
        tear = -1
        for place, line in self._split(start, Place(start.segment, size)):
            if is_sound(line):
                if tear >= 0 and line[8] == START:
                    raise damage(path, tear, "the line is damaged, and a later commit is whole")
            elif tear < 0:
                if line[-1:] == b"\n" and b"\0" not in line:
                    raise damage(path, place.offset, "the line is damaged")
                tear = place.offset
        return size if tear < 0 else tear

    def append(self, data: bytes) -> Place:
        """Write `data` and return, once it is on the medium, where it begins.

        Raises:
            StorageUnavailable: nothing was written.
            SyncFailed: it is not known what was; the handle is poisoned.
        """
        start = self.end
        began = time.perf_counter()
        try:
            self.disk.write_all(self._fd, data, start.offset)
        except OSError as error:
            try:
                self.disk.truncate(self._fd, start.offset)
            except OSError as worse:
                raise self._poisoned(worse) from error
            raise storage_error(error, self.path(start.segment), "append to") from error
        end = Place(start.segment, start.offset + len(data))
        try:
            self.disk.sync(self._fd)
            record = self.lock.write_record(end)
        except OSError as error:
            raise self._poisoned(error) from error
        self.end = self._synced = end
        self._record = record
        self.sync_time = (time.perf_counter() - began) * 1e6
        return start

    def _poisoned(self, error: OSError) -> SyncFailed:
        # After a failed sync the system may forget the data and still show them to readers.
        path, reason = self.path(self.end.segment), os.strerror(error.errno or 0)
        self.poison = (
            f"{path}: {reason} while syncing; this handle no longer knows what is on the medium. Check the "
            "disk and open a new handle: it reads the journal again and writes its end anew."
        )
        return SyncFailed(self.poison)

    def check_usable(self) -> None:
        """Refuse a poisoned handle.

        Raises:
            StorageClosed: a sync failed.
        """
        if self.poison:
            raise StorageClosed(self.poison)

    def lines(self, start: Place, end: Place) -> Iterator[tuple[Place, bytes]]:
        """Every line from `start` to `end`, its break included, with its place.

        Raises:
            CorruptLog: one of them is damaged.
        """
        for place, line in self._split(start, end):
            if not is_sound(line):
                raise damage(self.path(place.segment), place.offset, "the line is damaged")
            yield place, line

    def _split(self, start: Place, end: Place) -> Iterator[tuple[Place, bytes]]:
        """Pieces that end with a line break, and at a segment's end what is left."""
        for number in range(start.segment, end.segment + 1):
            path = self.path(number)
            try:
                fd = self.disk.open(path, os.O_RDONLY)
            except OSError as error:
                raise storage_error(error, path, "open") from error
            try:
                size = end.offset if number == end.segment else os.fstat(fd).st_size
                offset = start.offset if number == start.segment else 0
                rest, read, chunk = b"", offset, 65536
                while read < size:
                    data = self.disk.read(fd, min(chunk, size - read), read)
                    chunk = min(2 * chunk, _CHUNK)
                    if not data:
                        raise damage(path, read, "the file ends too early")
                    read += len(data)
                    pieces = (rest + data).split(b"\n")
                    rest = pieces.pop()
                    for piece in pieces:
                        yield Place(number, offset), piece + b"\n"
                        offset += len(piece) + 1
                if rest:
                    yield Place(number, offset), rest
            finally:
                os.close(fd)
