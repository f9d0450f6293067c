"""Reading one run: its extents in a few reads, checked as a whole, split without parsing."""

from __future__ import annotations

import os
from itertools import groupby
from typing import TYPE_CHECKING
from zlib import crc32

from .lines import decode_line, is_sound, line_start, split_events
from .segments import damage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyworkflow_core.events import Event

    from .disk import Disk
    from .heads import Extent
    from .journal import Journal

_GAP = 4096  # reading over a gap this small is cheaper than another system call
_SPAN = 1024 * 1024


class Reading:
    """What to read, with the files opened: they can be read even when compaction removes them.

    Attributes:
        run_id: the run.
        incarnation: its incarnation.
        after: events above this sequence,
        last: and up to this one.
        extents: where they lie.
        files: the open file of each segment.
        paths: their paths.
    """

    def __init__(self, run_id: str, incarnation: str, after: int, last: int, extents: list[Extent]) -> None:
        self.run_id = run_id
        self.incarnation = incarnation
        self.after = after
        self.last = last
        self.extents = extents
        self.files: dict[int, int] = {}
        self.paths: dict[int, str] = {}

    @property
    def size(self) -> int:
        """Bytes to read."""
        return sum(extent.length for extent in self.extents)

    def open_files(self, journal: Journal, disk: Disk) -> None:
        """Open every segment that holds an extent."""
        try:
            for extent in self.extents:
                if extent.segment not in self.files:
                    self.paths[extent.segment] = journal.path(extent.segment)
                    self.files[extent.segment] = disk.open(self.paths[extent.segment], os.O_RDONLY)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the files."""
        for fd in self.files.values():
            os.close(fd)
        self.files = {}

    __del__ = close  # whoever asked may have been cancelled


def read_extents(reading: Reading, disk: Disk) -> list[Event]:
    """The events, in order; closes the files.

    Raises:
        CorruptLog: bytes are damaged, or are not this run's next events.
    """
    events: list[Event] = []
    try:
        following = None
        for extent, data in _read_spans(reading, disk):
            if following is None:
                following = extent.first
            if extent.first != following:
                raise damage(
                    reading.paths[extent.segment],
                    extent.offset,
                    f"event {extent.first} of run {reading.run_id!r} stands where {following} belongs",
                )
            events += _events_of(reading, extent, data)
            following += extent.events
    finally:
        reading.close()
    if not events or events[0].sequence > reading.after + 1 or events[-1].sequence < reading.last:
        path = next(iter(reading.paths.values()), "journal")
        raise damage(path, 0, f"events of run {reading.run_id!r} are missing")
    skip = reading.after + 1 - events[0].sequence
    drop = events[-1].sequence - reading.last
    return events if skip == drop == 0 else events[skip : len(events) - drop]


def _read_spans(reading: Reading, disk: Disk) -> Iterator[tuple[Extent, bytes]]:
    """Each extent with its bytes; near ones are read together."""
    for segment, group in groupby(reading.extents, key=lambda extent: extent.segment):
        fd = reading.files[segment]
        span: list[Extent] = []
        for extent in group:
            if span:
                end = span[-1].offset + span[-1].length
                if extent.offset - end > _GAP or extent.offset < end or end - span[0].offset > _SPAN:
                    yield from _read_span(fd, span, disk)
                    span = []
            span.append(extent)
        yield from _read_span(fd, span, disk)


def _read_span(fd: int, span: list[Extent], disk: Disk) -> Iterator[tuple[Extent, bytes]]:
    start = span[0].offset
    data = disk.read(fd, span[-1].offset + span[-1].length - start, start)
    for extent in span:
        whole = len(span) == 1
        yield extent, data if whole else data[extent.offset - start : extent.offset - start + extent.length]


def _events_of(reading: Reading, extent: Extent, data: bytes) -> list[Event]:
    if extent.crc == 0:
        start = line_start(reading.run_id, reading.incarnation, extent.first)
        sound = is_sound(data) and data.startswith(start, 10)
    else:
        # The index took this checksum from lines that were checked one by one.
        sound = len(data) == extent.length and crc32(data) == extent.crc
    if sound:
        events = split_events(data, reading.run_id, extent.first, extent.events)
        if events is not None:
            return events
    return _parse(reading, extent, data)


def _parse(reading: Reading, extent: Extent, data: bytes) -> list[Event]:
    """Line by line: it finds the byte where damage begins."""
    path = reading.paths[extent.segment]
    events: list[Event] = []
    offset = extent.offset
    for line in data.splitlines(keepends=True):
        if not is_sound(line):
            raise damage(path, offset, f"the line of run {reading.run_id!r} is damaged")
        parsed = decode_line(line)
        if (parsed.run_id, parsed.incarnation, parsed.first) != (
            reading.run_id,
            reading.incarnation,
            extent.first + len(events),
        ):
            raise damage(path, offset, f"the line is not the next one of run {reading.run_id!r}")
        events += parsed.to_events()
        offset += len(line)
    if len(events) != extent.events:
        raise damage(path, offset, f"events of run {reading.run_id!r} are missing")
    return events
