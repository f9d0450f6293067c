"""Keys: every key of a run lies in its bucket, and every key of a bucket in one slot of a cluster.

A bucket's keys begin with its tag, in braces, which is all that Redis hashes. Ids stand at
the end of a key, as they are: braces, stars and line breaks in them mean nothing there.

::

    {ns}:meta           hash    version, number of buckets, feed, a random tag; once a namespace
    {tag}:r:RUN         string  the run's head and record (see `rows`)
    {tag}:e:RUN         list    its events
    {tag}:l             hash    leases: run -> end NUL token NUL owner
    {tag}:d:P:QUEUE     zset    runs of priority P by due time
    {tag}:h:QUEUE       zset    priorities with due times, by a due time not after their first
    {tag}:q             zset    queues with due times, by a due time not after their first
    {tag}:i:…           zset    listings: creation time and run, newest first (see `listing_keys`)
    {tag}:g             zset    graves: a digest of run and incarnation, by the time of the deletion
    {tag}:f, {tag}:fb   list    the feed, and how many of its first entries are gone
    {tag}:?             never there: names the slot to a script
"""

from __future__ import annotations

from binascii import crc_hqx
from zlib import crc32

SLOTS = 16384
_LAST = 2**63 - 1


def slot_of(key: str) -> int:
    """The slot of a cluster that `key` lies in, by the part in its first braces."""
    start = key.find("{")
    end = key.find("}", start + 1)
    tag = key[start + 1 : end] if start >= 0 and end > start + 1 else key
    return crc_hqx(tag.encode(), 0) % SLOTS


def meta_key(namespace: str) -> str:
    """Where a namespace's settings lie."""
    return f"{{{namespace}}}:meta"


def channel(namespace: str) -> str:
    """Where is said that something may have become due."""
    return f"{{{namespace}}}:due"


def bucket_tags(namespace: str, count: int) -> list[str]:
    """What the keys of each bucket begin with.

    Bucket i of n lies in the i-th of n equal parts of the slots: the first of the tags
    ``{ns/i.0}``, ``{ns/i.1}``, … whose slot does. So nodes with equal shares of the slots get
    equal shares of the buckets. A namespace of one bucket has the tag ``{ns}``.
    """
    if count == 1:
        return [f"{{{namespace}}}:"]
    tags = []
    for bucket in range(count):
        number = 0
        while slot_of(f"{namespace}/{bucket}.{number}") * count // SLOTS != bucket:
            number += 1
        tags.append(f"{{{namespace}/{bucket}.{number}}}:")
    return tags


def bucket_of(run_id: str, count: int) -> int:
    """Which bucket a run is in."""
    return crc32(run_id.encode()) % count if count > 1 else 0


def newest_first(created_at: int) -> bytes:
    """Eight bytes that sort as listings do: the later the time, the smaller they are."""
    return (_LAST - max(-_LAST - 1, min(created_at, _LAST))).to_bytes(8, "big")


def created_at_of(place: bytes) -> int:
    """The time that `newest_first` was given."""
    return _LAST - int.from_bytes(place, "big")
