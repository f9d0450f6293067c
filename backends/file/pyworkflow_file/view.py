"""What a handle knows of the store: it opens it, and keeps up with what everybody writes.

Every function here is called with the store's lock held and returns without letting go of
it, so that nothing is ever half done. The backend decides in which thread that happens.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Callable
from typing import TYPE_CHECKING

from pyworkflow_core.errors import StorageError, StorageFull, StorageUnavailable
from pyworkflow_core.record import evolve

from .disk import Disk, storage_error
from .folder import check_format, check_local, check_made, make_folder
from .heads import Head, Heads
from .index import Index, Seen
from .journal import Journal
from .lines import Line, decode_line
from .locks import StoreLock
from .segments import Place, damage

if TYPE_CHECKING:
    from .options import Options

Progress = Callable[[str, int, int], None]
log = logging.getLogger("pyworkflow_file")
_BROKEN = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CONSTRAINT}


class View:
    """One handle's journal, index, and the heads between them.

    Attributes:
        lock: hold it around every call.
        heads: what is known of runs.
        journal: the truth.
        on_progress: told what a long catch-up does: in words, done and total bytes.
    """

    def __init__(self, folder: str, options: Options, disk: Disk, mounts: str) -> None:
        self.folder = folder
        self.options = options
        self.disk = disk
        self.pid = os.getpid()
        self.lock = StoreLock(os.path.join(folder, "lock"), disk)
        self.journal = Journal(folder, disk, self.lock)
        self.heads = Heads(options.heads)
        self.on_progress: Progress | None = None
        self._mounts = mounts
        self._index: Index | None = None
        self._base = Place(0, 0)  # the index's place when the heads' changes began
        self._line = (0, "")  # length and checksum of the last line read or written
        self._is_open = False
        self.is_used = False

    # ---- opening -------------------------------------------------------------------

    def prepare(self) -> None:
        """Make the folder ready; before the lock, which lies in it, can be taken."""
        if not self.options.network_ok:
            check_local(self.folder, self._mounts)
        if self.options.migrate == "never":
            check_made(self.folder)
        make_folder(self.folder, self.disk)
        self.is_used = True

    def open(self) -> None:
        """Read the index, and the part of the journal that it has not seen."""
        if self._is_open:
            return
        try:
            check_format(self.folder, self.disk)
        except OSError as error:
            raise storage_error(error, self.folder, "use") from error
        self._open_index()
        self.journal.open(self._generations())
        if any(self.journal.generations.get(n) != g for n, g in self._generations().items()):
            self.rebuild("it describes other segments than there are")
        else:
            self._go_to_index()
        self._is_open = True

    def _generations(self) -> dict[int, int]:
        return {number: generation for number, (generation, _) in self.index.segments().items()}

    def close(self) -> None:
        """Leave the index as far as it can be, and let go of every file."""
        try:
            if self._is_open and not self.journal.poison and self.heads.lines:
                self.flush()
        except (StorageError, sqlite3.Error, OSError):
            pass  # the next one to open it catches up
        finally:
            self.drop()

    def drop(self) -> None:
        """Let go of every file."""
        if self._index is not None:
            self._index.close()
            self._index = None
        self.journal.close()
        self._is_open = False

    @property
    def index(self) -> Index:
        """The index."""
        assert self._index is not None, "open() comes first"
        return self._index

    def _open_index(self) -> None:
        path = self._drop_index()
        try:
            self._index = Index(path)
        except sqlite3.DatabaseError as error:
            if not is_broken(error):
                raise index_error(error, path) from error
            log.warning("%s is not readable (%s)", path, error)
            self._drop_index(remove=True)
            self._index = Index(path)

    def _drop_index(self, *, remove: bool = False) -> str:
        """Close the index, and remove it if asked to; its path."""
        path = os.path.join(self.folder, "index.sqlite")
        if self._index is not None:
            self._index.close()
            self._index = None
        for suffix in ("", "-wal", "-shm"):
            if remove and os.path.exists(path + suffix):
                os.unlink(path + suffix)
        return path

    def rebuild(self, why: str) -> None:
        """Begin a new index; the next `refresh` reads the whole journal into it."""
        log.warning("%s: the index is dropped: %s", self.folder, why)
        self._drop_index(remove=True)
        self._open_index()
        self._go_to_index()

    def _go_to_index(self) -> None:
        """Forget everything and begin where the index stands."""
        self.heads.clear()
        seen = self.index.seen()
        if seen is not None and not self._is_made_from_this(seen):
            self.rebuild("it was made from another journal")
            return
        if seen is None:
            self.journal.list_again({})
            seen = Seen(Place(1, 0), 0, "")
            if os.path.getsize(self.journal.path(1)) or len(self.journal.generations) > 1:
                log.warning("%s: there is no index yet; it is made from the whole journal", self.folder)
            with self.index.transaction():
                for number, generation in self.journal.generations.items():
                    self.index.set_segment(number, generation, 0)
                self.index.set_seen(seen)
        else:
            self.follow_compaction()
        self._base = self.journal.end = seen.place
        self._line = seen.line, seen.crc

    def follow_compaction(self) -> None:
        """Learn which files of segments others have written anew."""
        self.journal.generations |= self._generations()

    def _is_made_from_this(self, seen: Seen) -> bool:
        """Compare the index's place with the journal, which may be another one by now."""
        path = self.journal.path(seen.place.segment)
        try:
            size = os.path.getsize(path)
        except FileNotFoundError:
            raise damage(path, 0, "the file is missing, and the index has read it") from None
        if size < seen.place.offset:
            raise damage(path, size, f"the file ends, and the index has read {seen.place.offset} bytes")
        if not seen.line or seen.line > seen.place.offset:
            return not seen.line
        fd = self.disk.open(path, os.O_RDONLY)
        try:
            return self.disk.read(fd, 8, seen.place.offset - seen.line) == seen.crc.encode()
        finally:
            os.close(fd)

    # ---- catching up ---------------------------------------------------------------

    def refresh(self) -> None:
        """Know everything that anybody has written so far."""
        self.journal.check_usable()
        try:
            self._refresh()
        except BaseException:
            self.drop()  # an `open` that fails holds nothing; the next call begins again
            raise

    def _refresh(self) -> None:
        if not self._is_open:
            self.open()
        if not self.index.is_current():
            self._open_index()
            self._go_to_index()
        if self.journal.is_unmoved():
            return
        end = self.journal.find_end(self._generations)
        seen = self.index.seen()
        if seen is not None and seen.place > self.journal.end:
            self._go_to_index()  # somebody has indexed it already
        self._read_lines(end)

    def _read_lines(self, end: Place) -> None:
        """Take the lines from the journal's known end up to `end`."""
        start = self.journal.end
        total = end.offset - start.offset if end.segment == start.segment else self._bytes(start, end)
        done = 0
        try:
            for place, line in self.journal.lines(start, end):
                if place.segment != self.journal.end.segment:
                    self.flush()  # changes that are not indexed lie in one segment only
                self._take_line(place, line)
                self.journal.end = Place(place.segment, place.offset + len(line))
                done += len(line)
                if self.heads.lines >= self.options.catch_up_lines or self.heads.graves:
                    self.flush()
                    if self.on_progress is not None:
                        self.on_progress("reading the journal", done, total)
            if end.segment != self.journal.end.segment:
                self.flush()
            self.journal.end = end
            if end.offset == 0:
                self._line = (0, "")  # there is no line before it in its segment
        except BaseException:
            self._is_open = False  # begin again from the index
            raise

    def _bytes(self, start: Place, end: Place) -> int:
        sizes = (os.path.getsize(self.journal.path(n)) for n in range(start.segment, end.segment))
        return sum(sizes) + end.offset - start.offset

    def _take_line(self, place: Place, line: bytes) -> None:
        """Take one line that another handle wrote."""
        self._line = len(line), line[:8].decode()
        parsed = decode_line(line)
        run_id = parsed.run_id
        if not parsed.events:
            self.heads.graves.append((run_id, parsed.incarnation, place.segment, len(line)))
            self.heads.forget(run_id)
            return
        head = self.head(run_id)
        if head is None or head.record.incarnation != parsed.incarnation:
            if self.index.is_buried(run_id, parsed.incarnation):
                self.index.add_dead(place.segment, len(line))
                return
            self._check_follows(place, parsed, 0 if head is None else -1)
            record = evolve(None, parsed.to_events(), incarnation=parsed.incarnation)
            head = Head(record)
        else:
            self._check_follows(place, parsed, head.record.head)
            record = evolve(head.record, parsed.to_events())
        head.add(record, len(parsed.events), parsed.to_lease(), place, line)
        self.heads.change(run_id, head)

    def _check_follows(self, place: Place, line: Line, head: int) -> None:
        if line.first != head + 1:
            path = self.journal.path(place.segment)
            raise damage(
                path, place.offset, f"event {line.first} of run {line.run_id!r} follows event {head}"
            )

    def flush(self) -> None:
        """Bring the index up to everything that was read and written."""
        index = self.index
        end = self.journal.end
        seen = index.seen()
        if seen is not None and seen.place != self._base:
            # Somebody else indexed a part of it: read on from there.
            self._go_to_index()
            if self.journal.end < end:
                self._read_lines(end)
            if not self.heads.lines and not self.heads.graves:
                return
        if not self.heads.lines and not self.heads.graves and self._base == end:
            return
        with index.transaction():
            index.take(self.heads)
            index.set_seen(Seen(self.journal.end, *self._line))
        self._base = self.journal.end
        self.heads.settle()

    def head(self, run_id: str) -> Head | None:
        """Where the run stands; None if there is no such run."""
        head = self.heads.get(run_id)
        if head is None and not any(grave[0] == run_id for grave in self.heads.graves):
            record = self.index.record(run_id)
            head = None if record is None else self.heads.learn(record)
        return head


def index_error(error: sqlite3.Error, path: str) -> StorageUnavailable:
    """The typed error for trouble that SQLite has with the disk."""
    if getattr(error, "sqlite_errorcode", 0) & 255 == sqlite3.SQLITE_FULL:
        return StorageFull(
            f"cannot write {path}: no space left. Nothing was written; make room and try again."
        )
    return StorageUnavailable(f"cannot use {path}: {error}")


def is_broken(error: sqlite3.Error) -> bool:
    """Whether the index itself is damaged, rather than the disk full or locked."""
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 255 in _BROKEN
