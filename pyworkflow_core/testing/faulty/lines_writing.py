"""Bugs in writing a file: what is acknowledged, what a failed write leaves, who may write."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ...errors import StorageError
from ...record import RunRecord, evolve
from ...storage import Answer, Append
from ..hosts.journal import Journal, storage_error
from ..hosts.lines import Appended, Line, LinesStore


class _BufferedJournal(Journal):
    """Collects what is written, and writes it a moment later."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._buffer: list[bytes] = []

    def write(self, lines: Sequence[bytes], *, sync: bool = True) -> None:
        self._buffer += lines
        if sync:
            asyncio.get_running_loop().call_later(0.05, self._flush)
        else:
            self._write_buffer()

    def _write_buffer(self) -> None:
        lines, self._buffer = self._buffer, []
        super().write(lines)

    def _flush(self) -> None:
        if self._fd >= 0 and self._buffer:
            with self.locked():
                self._write_buffer()

    def close(self) -> None:
        self._flush()
        super().close()


class AcknowledgesFirst(LinesStore):
    """Acknowledges an append when it is in the buffer, which is written every now and then."""

    journal_class = _BufferedJournal


class WritesInTwoCalls(LinesStore):
    """Writes an append with several events as a line for each of them; replay takes what there is."""

    def _write(self, lines: Sequence[Line], *, sync: bool = True) -> None:
        for line in lines:
            if isinstance(line, Appended):
                for part in self._split(line.append):
                    super()._write([Appended(part)], sync=sync)
            else:
                super()._write([line], sync=sync)

    def _split(self, append: Append) -> Iterator[Append]:
        run = self._run(self._state, append.run_id)
        record: RunRecord | None = None if run is None else run.record
        for event in append.events:
            record = evolve(record, [event], incarnation=append.incarnation)
            lease = append.lease if event is append.events[-1] else None
            yield Append(append.run_id, append.incarnation, event.sequence - 1, (event,), record, lease)


class _NothingTakenBack(Journal):
    def _take_back(self, error: OSError) -> None:
        self._left = True

    def _cut_tail(self) -> None:
        if not getattr(self, "_left", False):
            super()._cut_tail()


class LeavesPartialWrites(LinesStore):
    """Leaves in the file what a write wrote that failed half way, and goes on behind it."""

    journal_class = _NothingTakenBack


class _ShortWritesIgnored(Journal):
    def _write_all(self, data: bytes) -> None:
        os.write(self._fd, data)


class IgnoresShortWrites(LinesStore):
    """Does not look how much of its data a write has written."""

    journal_class = _ShortWritesIgnored


class _ErrorsLeaked(Journal):
    @contextmanager
    def locked(self) -> Iterator[None]:
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._fd, fcntl.LOCK_UN)


class LeaksSystemErrors(LinesStore):
    """Lets the system's errors through as they are."""

    journal_class = _ErrorsLeaked


class AppliesBeforeWriting(LinesStore):
    """Changes what it has in memory before it writes, and leaves that when the write fails."""

    def _write(self, lines: Sequence[Line], *, sync: bool = True) -> None:
        for line in lines:
            self._replay(line)
        self._journal.write([self._encode_line(line) for line in lines], sync=sync)


class AcknowledgesWhatFailed(LinesStore):
    """Catches the error of a full disk, logs it, and goes on as if nothing were wrong."""

    async def _commit(self, appends: Sequence[Append], within: Any) -> list[Answer]:
        try:
            return await super()._commit(appends, within)
        except StorageError:
            return [self._committed(append) for append in appends]


class _StaysOpen(Journal):
    def close(self) -> None:
        pass


class LeavesItsFile(LinesStore):
    """Leaves the file open when it is closed."""

    journal_class = _StaysOpen


class _NotLocked(Journal):
    @contextmanager
    def locked(self) -> Iterator[None]:
        yield


class LocksNothing(LinesStore):
    """Relies on one process writing at a time."""

    journal_class = _NotLocked

    async def _commit(self, appends: Sequence[Append], within: Any) -> list[Answer]:
        answers = [self._decide(self._state, append) for append in appends]
        await asyncio.sleep(0.001)
        if any(answer is not None for answer in answers):
            return await super()._commit(appends, within)
        self._journal.write([self._encode_line(Appended(append)) for append in appends])
        for append in appends:
            self._apply(self._state, append)
        return [self._committed(append) for append in appends]


class _SyncErrorsRaised(Journal):
    def _sync(self) -> None:
        try:
            super()._sync()
        except OSError as error:
            raise storage_error(error, self.path) from error


class TakesAFailedSyncForNothing(LinesStore):
    """Says that nothing was written where a sync failed; the lines are in the file, for all to read."""

    journal_class = _SyncErrorsRaised
