"""The store: what can be done with it, as plain synchronous functions.

Every function here is called with the store's lock held and returns without letting go of
it, so that nothing is ever half done. The backend decides in which thread that happens.
"""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING

from pyworkflow_core.errors import OutcomeUnknown, StorageError, StorageFull, StorageUnavailable
from pyworkflow_core.record import copy_record
from pyworkflow_core.sequencing import answer_moved
from pyworkflow_core.storage import Answer, Append, Committed, Conflict, Refused, Unknown

from .heads import Head
from .index import Seen
from .journal import SyncFailed
from .lines import encode_append, encode_grave
from .reading import Reading, read_extents
from .segments import Place
from .view import View

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyworkflow_core.events import Event


class Store(View):
    """One handle's state, and the operations on it."""

    # ---- writing -------------------------------------------------------------------

    def commit(self, appends: Sequence[Append]) -> list[Answer]:
        """Answer each append; all that can be written is written and synced at once."""
        if self.heads.graves or self.heads.lines >= self.options.catch_up_lines:
            self.flush()
        self._rotate_if_full()
        answers: list[Answer] = []
        lines: list[tuple[Append, bytes]] = []
        for append in appends:
            answer = self._decide(append, starts=not lines)
            if isinstance(answer, bytes):
                lines.append((append, answer))
                answer = Committed(append.run_id, append.expected + len(append.events))
            answers.append(answer)
        if lines:
            try:
                self._write(lines)
            except SyncFailed as error:
                written = {append.run_id for append, _ in lines}
                return [Unknown(a.run_id, error) if a.run_id in written else a for a in answers]
        return answers

    def _write(self, lines: list[tuple[Append, bytes]]) -> None:
        try:
            segment, offset = self.journal.append(b"".join([line for _, line in lines]))
            for append, line in lines:
                self._take_append(append, Place(segment, offset), line)
                offset += len(line)
            self._line = len(line), line[:8].decode()
        except (StorageUnavailable, SyncFailed):
            raise
        except BaseException:
            self._is_open = False  # interrupted half-way: the next call reads the journal again
            raise

    def _rotate_if_full(self) -> None:
        if self.journal.end.offset >= self.options.segment_bytes:
            self.flush()
            self.rotate()

    def rotate(self) -> None:
        """Seal the segment in use; everything in it must be indexed."""
        self.journal.rotate()
        self._line = (0, "")
        with self.index.transaction():
            self.index.set_segment(self.journal.end.segment, 0, 0)
            self.index.set_seen(Seen(self.journal.end, 0, ""))
        self._base = self.journal.end

    def _decide(self, append: Append, *, starts: bool) -> Answer | bytes:
        """The line to write, or the answer to an append that cannot be written."""
        run_id = append.run_id
        head = self.head(run_id)
        stands = 0 if head is None else head.record.head
        own = head is None or head.record.incarnation == append.incarnation
        if append.expected != stands or not own:
            stored = (
                self.events(run_id, append.expected, len(append.events)) if own and head is not None else []
            )
            return answer_moved(append, stands, stored)
        if head is None and self.index.is_buried(run_id, append.incarnation):
            return Conflict(run_id, 0)  # it was written for the run that was deleted
        try:
            return encode_append(append, starts=starts)
        except StorageError as error:
            return Refused(run_id, error)

    def _take_append(self, append: Append, place: Place, line: bytes) -> None:
        record = copy_record(append.record)
        head = self.heads.get(append.run_id)
        if head is None:
            head = Head(record)
        head.add(record, len(append.events), append.lease, place, line)
        self.heads.change(append.run_id, head)

    def delete(self, run_id: str, expected: int) -> None:
        """Write the run's grave."""
        self.flush()
        head = self.head(run_id)
        if head is None:
            return
        if head.record.head != expected:
            stands = head.record.head
            raise ValueError(f"run {run_id!r}: its head is {stands}, not {expected}; nothing was removed")
        self._rotate_if_full()
        line = encode_grave(run_id, head.record.incarnation, expected)
        try:
            place = self.journal.append(line)
        except SyncFailed as error:
            raise OutcomeUnknown(f"run {run_id!r} may or may not have been removed: {error}") from error
        self.heads.graves.append((run_id, head.record.incarnation, place.segment, len(line)))
        self.heads.forget(run_id)
        self._line = len(line), line[:8].decode()
        # The grave is in the journal; if need be the index gets it with the next catch-up.
        with contextlib.suppress(StorageFull, sqlite3.OperationalError):
            self.flush()

    # ---- reading -------------------------------------------------------------------

    def events(self, run_id: str, after: int, limit: int | None) -> list[Event]:
        """The run's events above `after`, at most `limit` of them."""
        reading = self.reading(run_id, after, limit)
        return [] if reading is None else read_extents(reading, self.disk)

    def reading(self, run_id: str, after: int, limit: int | None) -> Reading | None:
        """Where the events asked for lie, with files opened to read them; None if there are none."""
        head = self.head(run_id)
        if head is None or head.record.head <= after:
            return None
        last = head.record.head if limit is None else min(head.record.head, after + limit)
        if head.extents and (seen := self.index.seen()) is not None and seen.place != self._base:
            self.flush()  # somebody indexed a part of what this handle still holds
            head = self.head(run_id) or head
        extents = []
        if not head.extents or after + 1 < head.extents[0].first:
            extents = self.index.extents(run_id, after, last)
        fresh = [e for e in head.extents if e.first <= last and e.first + e.events > after + 1]
        reading = Reading(run_id, head.record.incarnation, after, last, [*extents, *fresh])
        try:
            reading.open_files(self.journal, self.disk)
        except FileNotFoundError:
            # Somebody has compacted the segment: the index knows the new file.
            self.follow_compaction()
            reading.open_files(self.journal, self.disk)
        return reading
