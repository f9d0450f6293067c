"""What lies where: keys, and how runs and events are put there and found again.

LMDB is one sorted map of bytes. By the first byte of the key::

    r  run                              end and token of the lease, line break, run record
    e  run, NUL, sequence               place in the feed, event id, NUL, body
    f  place                            key of the event at this place in the feed
    c  creation time (falling), run     nothing: runs in the order of a listing
    d  queue, priority, due time, run   nothing: runs in the order of claims
    g  run and incarnation              nothing: this run was deleted
    m  .format, .name or .place         about the store: its last place in the feed

A key has at most 511 bytes. Run ids have at most 255 and no NUL, so that a NUL ends them; queues and
incarnations stand there as digests; numbers have a fixed width, and sort as numbers do.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from pyworkflow_core.errors import CorruptLog
from pyworkflow_core.events import Event
from pyworkflow_core.record import RunRecord, decode_record, encode_record

if TYPE_CHECKING:
    from .environment import Txn

_BOUND = 2**127
_LAST = b"\xff" * 33  # sorts behind two numbers and an id


# ---- keys ------------------------------------------------------------------------------


def _number(number: int) -> bytes:
    # 16 bytes that sort as the numbers do. No clock shows what does not fit: the bound stands for it.
    return (max(-_BOUND, min(number, _BOUND - 1)) + _BOUND).to_bytes(16, "big")


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def _run_key(run_id: str) -> bytes:
    # A claim may name what no run can be called: it fits into a key all the same, and is not found.
    return b"r" + run_id.encode("utf-8", "surrogatepass")[:256]


def _event_key(run_id: str, sequence: int) -> bytes:
    return b"e" + run_id.encode() + b"\0" + _number(sequence)


def _grave_key(run_id: str, incarnation: str) -> bytes:
    return b"g" + _digest(f"{run_id}\0{incarnation}")


def created_key(created_at: int, run_id: str = "") -> bytes:
    """Where a run of this time stands in a listing; without an id, where the first one does."""
    return b"c" + _number(-created_at) + run_id.encode()


def _scan(txn: Txn, prefix: bytes, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
    """What has a key that begins with `prefix`, in order, from `start` on."""
    cursor = txn.cursor()
    if cursor.set_range(start or prefix):
        for key, value in cursor:
            if not key.startswith(prefix):
                return
            yield key, value


def known(txn: Txn, key: bytes) -> bytes:
    """The value at a key that must be there, since another entry names it."""
    value = txn.get(key)
    if value is None:
        raise CorruptLog(f"the entry {key!r} is missing, though another one names it", location=repr(key))
    return value


# ---- runs ------------------------------------------------------------------------------


class Lease(NamedTuple):
    """When a run's lease ends, and the token of the claim that it belongs to."""

    until: int
    token: str


class Run(NamedTuple):
    """What is stored of a run beside its events."""

    record: RunRecord
    lease: Lease | None

    def due_at(self) -> int | None:
        """The later of its wake time and the end of its lease; None if it waits for somebody."""
        wake_at = self.record.wake_at
        return wake_at if wake_at is None or self.lease is None else max(wake_at, self.lease.until)

    def index_keys(self) -> set[bytes]:
        """The keys by which listings and claims find it."""
        record, due_at = self.record, self.due_at()
        keys = {created_key(record.created_at, record.run_id)}
        if due_at is not None:
            place = _digest(record.queue) + _number(record.priority) + _number(due_at)
            keys.add(b"d" + place + record.run_id.encode())
        return keys


def load_run(txn: Txn, run_id: str) -> Run | None:
    """The run, if there is one."""
    data = txn.get(_run_key(run_id))
    return None if data is None else _decode_run(data)


def _decode_run(data: bytes) -> Run:
    lease, _, record = data.rpartition(b"\n")
    until, _, token = lease.decode().partition(" ")
    return Run(decode_record(record), Lease(int(until), token) if lease else None)


def store_run(txn: Txn, old: Run | None, new: Run) -> None:
    """Put `new` in the place of `old`, and move it in the orders of listings and claims."""
    before = set() if old is None else old.index_keys()
    after = new.index_keys()
    for key in before - after:
        txn.delete(key)
    for key in after - before:
        txn.put(key, b"")
    lease = "" if new.lease is None else f"{new.lease.until} {new.lease.token}"
    txn.put(_run_key(new.record.run_id), lease.encode() + b"\n" + encode_record(new.record))


def remove_run(txn: Txn, run: Run) -> None:
    """Take away all that there is of the run, and remember that it was there."""
    run_id = run.record.run_id
    for sequence in range(1, run.record.head + 1):
        key = _event_key(run_id, sequence)
        txn.delete(b"f" + known(txn, key)[:16])
        txn.delete(key)
    for key in (*run.index_keys(), _run_key(run_id)):
        txn.delete(key)
    txn.put(_grave_key(run_id, run.record.incarnation), b"")


def was_removed(txn: Txn, run_id: str, incarnation: str) -> bool:
    """Whether that incarnation of the run was deleted."""
    return txn.get(_grave_key(run_id, incarnation)) is not None


def listed_records(txn: Txn, start: bytes) -> Iterator[RunRecord]:
    """Records newest first, then by id, from a place on."""
    for key, _ in _scan(txn, b"c", start):
        yield _decode_run(known(txn, b"r" + key[17:])).record


def due_runs(txn: Txn, now: int, limit: int, queues: tuple[str, ...] | None) -> list[Run]:
    """Up to `limit` due runs by priority, due time and id."""
    wanted = _all_queues(txn) if queues is None else {_digest(queue) for queue in queues}
    keys = [key for queue in wanted for key in islice(_due_keys(txn, queue, now), limit)]
    keys.sort(key=lambda key: key[17:])
    return [_decode_run(known(txn, b"r" + key[49:])) for key in keys[:limit]]


def _all_queues(txn: Txn) -> Iterator[bytes]:
    start = b"d"
    while (found := next(_scan(txn, b"d", start), None)) is not None:
        yield found[0][1:17]
        start = found[0][:17] + _LAST


def _due_keys(txn: Txn, queue: bytes, now: int) -> Iterator[bytes]:
    """A queue's due runs in order. Of each priority, the first that is not due ends the look."""
    start = b"d" + queue
    while (found := next(_scan(txn, b"d" + queue, start), None)) is not None:
        priority = found[0][:33]
        for key, _ in _scan(txn, priority):
            if key[33:49] > _number(now):
                break
            yield key
        start = priority + _LAST


# ---- events ----------------------------------------------------------------------------


def store_events(txn: Txn, events: tuple[Event, ...]) -> None:
    """Add events to their run's log, and to the end of the feed."""
    last = last_place(txn)
    for place, event in enumerate(events, last + 1):
        key = _event_key(event.run_id, event.sequence)
        txn.put(key, _number(place) + event.event_id.encode() + b"\0" + event.body)
        txn.put(b"f" + _number(place), key)
    txn.put(b"m.place", str(last + len(events)).encode())


def read_events(txn: Txn, run_id: str, after: int, limit: int | None) -> list[Event]:
    """The run's events above `after`, at most `limit` of them."""
    found = _scan(txn, b"e" + run_id.encode() + b"\0", _event_key(run_id, after + 1))
    return [_decode_event(key, value) for key, value in islice(found, limit)]


def read_places(txn: Txn, after: int, limit: int) -> Iterator[tuple[int, Event]]:
    """Up to `limit` events of all runs behind a place in the feed, each with its own place."""
    for place, key in islice(_scan(txn, b"f", b"f" + _number(after + 1)), limit):
        yield int.from_bytes(place[1:], "big") - _BOUND, _decode_event(key, known(txn, key))


def last_place(txn: Txn) -> int:
    """The last place in the feed that an event ever had."""
    return int(txn.get(b"m.place", b"0"))


def _decode_event(key: bytes, value: bytes) -> Event:
    sequence = int.from_bytes(key[-16:], "big") - _BOUND
    event_id, _, body = value[16:].partition(b"\0")
    return Event(key[1:-17].decode(), sequence, event_id.decode(), body)
