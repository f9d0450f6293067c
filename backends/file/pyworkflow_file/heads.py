"""What a process knows of runs: where their logs stand, and what the index has not seen yet."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

if TYPE_CHECKING:
    from pyworkflow_core.record import RunRecord
    from pyworkflow_core.storage import LeaseChange

    from .segments import Place

MAX_EXTENT = 256 * 1024


class Extent(NamedTuple):
    """Neighbouring lines of one run.

    Attributes:
        first: sequence number of the first event.
        events: how many events.
        segment: the journal segment.
        offset: where the lines begin in it.
        length: how many bytes they take.
        crc: checksum of those bytes; 0 in the index for a single line, which has its own.
        lines: how many lines; 0 if that is not known any more.
    """

    first: int
    events: int
    segment: int
    offset: int
    length: int
    crc: int
    lines: int = 0

    @classmethod
    def of(cls, first: int, count: int, place: Place, line: bytes) -> Extent:
        """The extent of a single line."""
        return cls(first, count, place.segment, place.offset, len(line), crc32(line), 1)

    def grown(self, events: int, line: bytes) -> Extent:
        """The extent with one more line at its end."""
        first, before, segment, offset, length, crc, lines = self
        return Extent(
            first, before + events, segment, offset, length + len(line), crc32(line, crc), lines + 1
        )

    def is_followed_by(self, place: Place) -> bool:
        """Whether a line at `place` belongs into this extent."""
        return (
            self.offset + self.length == place.offset
            and self.segment == place.segment
            and self.length < MAX_EXTENT
        )


class Head:
    """Where one run's log stands.

    Attributes:
        record: the record after the last event.
        extents: lines that the index does not have yet.
        leases: lease changes that the index does not have yet.
    """

    __slots__ = ("extents", "leases", "record")

    def __init__(self, record: RunRecord) -> None:
        self.record = record
        self.extents: list[Extent] = []
        self.leases: list[LeaseChange] = []

    def add(
        self, record: RunRecord, count: int, lease: LeaseChange | None, place: Place, line: bytes
    ) -> None:
        """Take the run's next line."""
        if self.extents and self.extents[-1].is_followed_by(place):
            self.extents[-1] = self.extents[-1].grown(count, line)
        else:
            self.extents.append(Extent.of(record.head - count + 1, count, place, line))
        self.record = record
        if lease is not None:
            self.leases.append(lease)


class Heads:
    """Runs changed since the index was written, and as many others as there is room for.

    Args:
        room: how many runs to keep whose state the index has too.
    """

    def __init__(self, room: int) -> None:
        self.changed: dict[str, Head] = {}
        self.graves: list[tuple[str, str, int, int]] = []  # run, incarnation, segment, length of the line
        self.lines = 0
        self._room = room
        self._known: OrderedDict[str, Head] = OrderedDict()

    def get(self, run_id: str) -> Head | None:
        """The run's head if this process knows it."""
        head = self.changed.get(run_id)
        if head is None and (head := self._known.get(run_id)) is not None:
            self._known.move_to_end(run_id)
        return head

    def learn(self, record: RunRecord) -> Head:
        """Keep what the index said of a run."""
        head = self._known[record.run_id] = Head(record)
        if len(self._known) > self._room:
            self._known.popitem(last=False)
        return head

    def change(self, run_id: str, head: Head) -> None:
        """The run has lines that the index does not have."""
        self.changed[run_id] = head
        self._known.pop(run_id, None)
        self.lines += 1

    def forget(self, run_id: str) -> None:
        """The run was deleted."""
        self.changed.pop(run_id, None)
        self._known.pop(run_id, None)

    def settle(self) -> None:
        """The index has everything."""
        for run_id, head in self.changed.items():
            head.extents.clear()
            head.leases.clear()
            self._known[run_id] = head
        while len(self._known) > self._room:
            self._known.popitem(last=False)
        self.drop_changes()

    def drop_changes(self) -> None:
        """Forget what the index does not have; it must be read from the journal again."""
        self.changed.clear()
        self.graves.clear()
        self.lines = 0

    def clear(self) -> None:
        """Forget everything."""
        self.drop_changes()
        self._known.clear()
