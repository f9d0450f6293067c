"""Bugs in reading a file: what a crash left at its end, what is damaged, what is of an old format."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ...errors import StorageError, UnsupportedSchema
from ..hosts.journal import Journal
from ..hosts.lines import FORMAT, Appended, Header, Line, LinesStore


class _TornIsDamaged(Journal):
    def _is_whole(self, line: bytes) -> bool:
        return True


class RefusesTornTails(LinesStore):
    """Takes the torn last line, which any crash leaves, for damage."""

    journal_class = _TornIsDamaged


class _DamageSkipped(Journal):
    def new_lines(self) -> Iterator[bytes]:
        for line in self._read(os.fstat(self._fd).st_size).splitlines(keepends=True):
            if self._is_whole(line):
                if self._is_sound(line):
                    yield line[9:-1]
                self.end += len(line)


class SkipsDamage(LinesStore):
    """Skips a line that it cannot read, so that the store stays usable."""

    journal_class = _DamageSkipped

    def _replay(self, line: Line) -> None:
        if isinstance(line, Appended) and self._decide(self._state, line.append) is not None:
            self._apply(self._state, line.append)
        else:
            super()._replay(line)


class _Unchecked(Journal):
    def _is_sound(self, line: bytes) -> bool:
        return True


class IgnoresChecksums(LinesStore):
    """Writes checksums, and never compares them."""

    journal_class = _Unchecked


class _DamageEndsIt(Journal):
    def new_lines(self) -> Iterator[bytes]:
        try:
            yield from super().new_lines()
        except StorageError:
            return


class StopsAtDamage(LinesStore):
    """Takes whatever it cannot read for the end of the file."""

    journal_class = _DamageEndsIt


class ForgetsTheOldFormat(LinesStore):
    """Reads lines of the old format as if they were of the new one."""

    def _lift(self, line: Any) -> Any:
        return line


class RefusesTheOldFormat(LinesStore):
    """Reads only the format that it writes."""

    def _begin_format(self, header: Header) -> None:
        if header.format != FORMAT:
            raise UnsupportedSchema(f"{self._journal.path} has format {header.format}, not {FORMAT}")
        super()._begin_format(header)


class MisreadsTheOldFormat(LinesStore):
    """Escapes the text of old bodies once more when it lifts them."""

    def _lift(self, line: Any) -> Any:
        for event in line.get("append", {}).get("events", ()):
            event["body"] = event["body"].encode("ascii", "backslashreplace").decode()
        return super()._lift(line)


class ReadsOnlyItsOwn(LinesStore):
    """Reads the file when it is opened, and from then on knows only what it writes itself."""

    @contextmanager
    def _up_to_date(self) -> Iterator[Any]:
        if self._format == 0:
            with super()._up_to_date() as state:
                yield state
        else:
            with self._journal.locked():
                self._journal.end = max(self._journal.end, os.path.getsize(self._journal.path))
                yield self._state


class _TailKept(Journal):
    def _cut_tail(self) -> None:
        pass


class WritesOntoTornTails(LinesStore):
    """Ignores a torn last line when it reads, and writes the next one straight behind it."""

    journal_class = _TailKept


class _TailEnded(Journal):
    def _cut_tail(self) -> None:
        size = os.fstat(self._fd).st_size
        if size > self.end:
            os.write(self._fd, b"\n")
            self.end = size + 1


class EndsTornTails(LinesStore):
    """Ends a torn last line with a line break, so that it is in the middle for ever."""

    journal_class = _TailEnded
