"""Compaction: give back the space of deleted runs.

A sealed segment is written anew without dead lines, under the store's lock, as the next
generation of its file. A dead run leaves one grave in the first segment that held it, so
that the journal alone still says what is dead. Readers that have the old file open go on
reading it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from .disk import storage_error
from .heads import Extent
from .lines import decode_line, encode_grave
from .segments import Place, segment_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .index import Index
    from .store import Store


def compact_segments(store: Store, dead_part: float) -> int:
    """Rewrite the sealed segments of which more than `dead_part` is dead; the bytes given back."""
    store.flush()
    store.follow_compaction()
    saved = 0
    for number, (_, dead) in store.index.segments().items():
        if number < store.journal.end.segment and dead:
            size = os.path.getsize(store.journal.path(number))
            if dead > dead_part * size:
                saved += _rewrite(store, number, size)
    return saved


def _rewrite(store: Store, number: int, size: int) -> int:
    journal, disk = store.journal, store.disk
    old = journal.path(number)
    generation = journal.generations[number] + 1
    new = os.path.join(journal.folder, segment_name(number, generation))
    temporary = new + ".tmp"
    placed: dict[str, list[Extent]] = {}
    graves: set[tuple[str, str]] = set()
    written = 0
    try:
        fd = disk.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        try:
            buffer = bytearray()
            for run_id, first, count, line in _living_lines(store, number, size, graves):
                if count:
                    place = Place(number, written + len(buffer))
                    _place(placed, run_id, first=first, count=count, place=place, line=line)
                buffer += line
                if len(buffer) > 1024 * 1024:
                    disk.write_all(fd, bytes(buffer), written)
                    written += len(buffer)
                    buffer.clear()
            disk.write_all(fd, bytes(buffer), written)
            written += len(buffer)
            disk.sync(fd)
        finally:
            os.close(fd)
        os.rename(temporary, new)
        disk.sync_folder(journal.folder)
    except OSError as error:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise storage_error(error, new, "write") from error
    _swap(store.index, number, generation, placed, graves)
    journal.generations[number] = generation
    os.unlink(old)
    return size - written


def _swap(
    index: Index, number: int, generation: int, placed: dict[str, list[Extent]], graves: set[tuple[str, str]]
) -> None:
    """Let the index point into the new file; after a crash before this the old one still counts."""
    with index.transaction():
        index.replace_extents(number, placed)
        index.set_segment(number, generation, 0)
        for run_id, incarnation in graves:
            index.set_grave(run_id, incarnation, number)


def _living_lines(
    store: Store, number: int, size: int, graves: set[tuple[str, str]]
) -> Iterator[tuple[str, int, int, bytes]]:
    """What stays: run, first sequence and number of events (none for a grave), and the line."""
    for _, line in store.journal.lines(Place(number, 0), Place(number, size)):
        parsed = decode_line(line)
        run_id, incarnation = parsed.run_id, parsed.incarnation
        head = store.head(run_id)
        if parsed.events and head is not None and head.record.incarnation == incarnation:
            yield run_id, parsed.first, len(parsed.events), line
        elif (run_id, incarnation) not in graves and store.index.grave(run_id, incarnation) >= number:
            graves.add((run_id, incarnation))
            yield run_id, 0, 0, encode_grave(run_id, incarnation, 0) if parsed.events else line


def _place(
    placed: dict[str, list[Extent]], run_id: str, *, first: int, count: int, place: Place, line: bytes
) -> None:
    """Note where a line went, in the extent before it if it continues that."""
    extents = placed.setdefault(run_id, [])
    if extents and extents[-1].is_followed_by(place):
        extents[-1] = extents[-1].grown(count, line)
    else:
        extents.append(Extent.of(first, count, place, line))
