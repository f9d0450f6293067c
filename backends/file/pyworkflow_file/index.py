"""The index: a SQLite file that says what the journal holds, up to a place in it.

It is a cache. Whatever is in it was read from the journal, except leases, and losing those
is safe. Each catch-up is one transaction that also moves the place, so that the index is
always right about everything before it. WAL with ``synchronous=NORMAL`` keeps it so over a
power failure: it can fall back to an earlier place, never to a mixture.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from pyworkflow_core.record import RunRecord, decode_record, encode_record

from .heads import Extent
from .segments import Place

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .heads import Head, Heads

VERSION = 1
_LARGEST = 2**63 - 1
DUE = "CASE WHEN {wake} IS NULL THEN NULL ELSE max({wake}, coalesce({until}, {wake})) END"
_SCHEMA = """
CREATE TABLE seen (one INTEGER PRIMARY KEY, segment INTEGER, offset INTEGER, line INTEGER, crc TEXT);
CREATE TABLE segments (number INTEGER PRIMARY KEY, generation INTEGER, dead INTEGER);
CREATE TABLE runs (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, incarnation TEXT NOT NULL,
  status TEXT NOT NULL, workflow TEXT NOT NULL, queue TEXT NOT NULL, priority INTEGER NOT NULL,
  created INTEGER NOT NULL, parent TEXT, wake INTEGER, due INTEGER, token TEXT, owner TEXT, until INTEGER,
  record BLOB NOT NULL);
CREATE INDEX runs_due ON runs (queue, priority, due, id) WHERE due IS NOT NULL;
CREATE INDEX runs_created ON runs (created DESC, id);
CREATE INDEX runs_status ON runs (status, created DESC, id);
CREATE INDEX runs_parent ON runs (parent, created DESC, id) WHERE parent IS NOT NULL;
CREATE TABLE extents (run INTEGER, first INTEGER, segment INTEGER, data BLOB, PRIMARY KEY (run, first))
  WITHOUT ROWID;
CREATE TABLE graves (id TEXT, incarnation TEXT, segment INTEGER, PRIMARY KEY (id, incarnation)) WITHOUT ROWID;
"""
_UPSERT = f"""
INSERT INTO runs (id, incarnation, status, workflow, queue, priority, created, parent, wake, due, record)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET status = excluded.status, workflow = excluded.workflow,
  queue = excluded.queue, priority = excluded.priority, created = excluded.created,
  parent = excluded.parent, wake = excluded.wake,
  due = {DUE.format(wake="excluded.wake", until="runs.until")}, record = excluded.record
"""
_SET_LEASE = (
    "UPDATE runs SET token = :token, owner = :owner, until = :until, "
    f"due = {DUE.format(wake='wake', until=':until')} WHERE id = :id"
)
_EXTENTS = """
SELECT first, segment, data FROM extents JOIN runs ON run = number
WHERE id = :id AND first <= :last
  AND first >= coalesce((SELECT max(first) FROM extents WHERE run = number AND first <= :after + 1), 0)
ORDER BY first
"""
_ADD_EXTENT = "INSERT INTO extents SELECT number, ?, ?, ? FROM runs WHERE id = ?"


class Seen(NamedTuple):
    """How far the index has read.

    Attributes:
        place: everything before it is in the index.
        line: length of the last line before it.
        crc: the checksum in front of that line.
    """

    place: Place
    line: int
    crc: str


class Index:
    """One open index file. The caller holds the store's lock.

    Raises:
        sqlite3.DatabaseError: from every method, if the file is damaged or of another version.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        # Threads take turns under the store's lock.
        self.db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
        try:
            self._prepare()
        except BaseException:
            self.db.close()
            raise

    def _prepare(self) -> None:
        run = self.db.execute
        run("PRAGMA journal_mode = WAL")
        run("PRAGMA synchronous = NORMAL")
        run("PRAGMA cache_size = -16384")
        version = run("PRAGMA user_version").fetchone()[0]
        if version == 0 and run("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
            self.db.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {VERSION}; COMMIT")
        elif version != VERSION:
            raise sqlite3.DatabaseError(f"it has version {version}, not {VERSION}")
        self._inode = os.stat(self._path).st_ino

    def is_current(self) -> bool:
        """Whether the file is still the one under its name."""
        try:
            return os.stat(self._path).st_ino == self._inode
        except FileNotFoundError:
            return False

    def close(self) -> None:
        """Close the file."""
        self.db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing."""
        self.db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self.db.rollback()
            raise
        self.db.execute("COMMIT")

    def seen(self) -> Seen | None:
        """How far the index has read; None if nothing."""
        row = self.db.execute("SELECT segment, offset, line, crc FROM seen").fetchone()
        return None if row is None else Seen(Place(row[0], row[1]), row[2], row[3])

    def set_seen(self, seen: Seen) -> None:
        """Move the place; within the transaction that wrote what lies before it."""
        self.db.execute(
            "INSERT OR REPLACE INTO seen VALUES (1, ?, ?, ?, ?)", (*seen.place, seen.line, seen.crc)
        )

    def segments(self) -> dict[int, tuple[int, int]]:
        """Generation and dead bytes of each segment."""
        return {n: (g, d) for n, g, d in self.db.execute("SELECT number, generation, dead FROM segments")}

    def set_segment(self, number: int, generation: int, dead: int) -> None:
        """Note a segment's generation and how many of its bytes are dead."""
        self.db.execute("INSERT OR REPLACE INTO segments VALUES (?, ?, ?)", (number, generation, dead))

    def add_dead(self, number: int, count: int) -> None:
        """Count `count` more bytes of a segment as dead."""
        self.db.execute(
            "INSERT INTO segments VALUES (?, 0, ?) "
            "ON CONFLICT (number) DO UPDATE SET dead = dead + excluded.dead",
            (number, count),
        )

    def take(self, heads: Heads) -> None:
        """Write everything that `heads` has and the index has not."""
        changed = heads.changed
        self.db.executemany(_UPSERT, (_row(head.record) for head in changed.values()))
        self.db.executemany(_ADD_EXTENT, (_pack(i, h.extents) for i, h in changed.items() if h.extents))
        for run_id, head in changed.items():
            if head.leases:
                self._change_lease(run_id, head)
        for run_id, incarnation, segment, length in heads.graves:
            self._bury(run_id, incarnation, segment, length)

    def _change_lease(self, run_id: str, head: Head) -> None:
        row = self.db.execute("SELECT token, owner, until FROM runs WHERE id = ?", (run_id,)).fetchone()
        token, owner, until = row
        for change in head.leases:
            if token is None or token == change.token:
                owner, until = change.owner, change.until
                token = None if until is None else change.token
        self.set_lease(run_id, token, owner, until)

    def set_lease(self, run_id: str, token: str | None, owner: str | None, until: int | None) -> None:
        """Write the run's lease, and when it is due with it."""
        self.db.execute(
            _SET_LEASE,
            {"id": run_id, "token": token, "owner": owner, "until": None if until is None else fit(until)},
        )

    def _bury(self, run_id: str, incarnation: str, segment: int, length: int) -> None:
        row = self.db.execute(
            "SELECT number FROM runs WHERE id = ? AND incarnation = ?", (run_id, incarnation)
        ).fetchone()
        if row is not None:
            for extent in self.extents(run_id, 0, _LARGEST):
                self.add_dead(extent.segment, extent.length)
            self.db.execute("DELETE FROM extents WHERE run = ?", row)
            self.db.execute("DELETE FROM runs WHERE number = ?", row)
        if self.is_buried(run_id, incarnation):
            self.add_dead(segment, length)  # one grave is enough
        else:
            self.set_grave(run_id, incarnation, segment)

    def set_grave(self, run_id: str, incarnation: str, segment: int) -> None:
        """Note which segment holds the grave that counts: the first."""
        self.db.execute("INSERT OR REPLACE INTO graves VALUES (?, ?, ?)", (run_id, incarnation, segment))

    def grave(self, run_id: str, incarnation: str) -> int:
        """The segment that holds the grave; 0 if there is none."""
        found = self.db.execute(
            "SELECT segment FROM graves WHERE id = ? AND incarnation = ?", (run_id, incarnation)
        ).fetchone()
        return 0 if found is None else int(found[0])

    def is_buried(self, run_id: str, incarnation: str) -> bool:
        """Whether this incarnation of the run was deleted."""
        return self.grave(run_id, incarnation) != 0

    def record(self, run_id: str) -> RunRecord | None:
        """The run's record."""
        row = self.db.execute("SELECT record FROM runs WHERE id = ?", (run_id,)).fetchone()
        return None if row is None else decode_record(row[0])

    def extents(self, run_id: str, after: int, last: int) -> list[Extent]:
        """Where the run's events above `after` and up to `last` lie, in order; the ends may hold more."""
        rows = self.db.execute(
            _EXTENTS,
            {"id": run_id, "after": fit(after), "last": fit(last)},
        )
        found = [extent for row in rows for extent in _unpack(*row)]
        return [e for e in found if e.first <= last and e.first + e.events > after + 1]

    def replace_extents(self, segment: int, fresh: dict[str, list[Extent]]) -> None:
        """Let the extents of one segment be these, by run id."""
        self.db.execute("DELETE FROM extents WHERE segment = ?", (segment,))
        self.db.executemany(_ADD_EXTENT, (_pack(*item) for item in fresh.items()))


def _pack(run_id: str, extents: list[Extent]) -> tuple[int, int, bytes, str]:
    """A row for neighbouring extents of one segment: few bytes each, and one row to write."""
    numbers: list[int] = []
    offset = 0
    for e in extents:
        numbers += (e.events, e.offset - offset, e.length, e.crc if e.lines != 1 else 0)
        offset = e.offset
    return extents[0].first, extents[0].segment, _encode_numbers(numbers), run_id


def _unpack(first: int, segment: int, data: bytes) -> Iterator[Extent]:
    numbers = iter(_decode_numbers(data))
    offset = 0
    for events, distance, length, crc in zip(numbers, numbers, numbers, numbers, strict=True):
        offset += distance
        yield Extent(first, events, segment, offset, length, crc)
        first += events


_encode_numbers = msgspec.msgpack.Encoder().encode
_decode_numbers = msgspec.msgpack.Decoder(list[int]).decode


def _row(record: RunRecord) -> tuple[object, ...]:
    wake = None if record.wake_at is None else fit(record.wake_at)
    return (
        record.run_id, record.incarnation, str(record.status), record.workflow, record.queue,
        fit(record.priority), fit(record.created_at), record.parent, wake, wake,
        encode_record(record),
    )  # fmt: skip


def fit(number: int) -> int:
    """The nearest number that SQLite can hold; the record keeps the exact one."""
    return max(-_LARGEST, min(_LARGEST, number))
