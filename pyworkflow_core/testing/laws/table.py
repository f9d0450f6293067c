"""The laws of a storage backend: their numbers, groups and sentences. Numbers never change."""

from __future__ import annotations

from msgspec import Struct


class Law(Struct, frozen=True):
    """One law.

    Attributes:
        number: its number, for ever.
        topic: the group of the documentation that it is in.
        sentence: what it demands.
        part: the part of the report that it counts in; the capability that asks for it, or ``core``.
    """

    number: int
    topic: str
    sentence: str
    part: str = "core"


PARTS = ("core", "feed", "push", "durable", "file", "server", "transactions")
"""The parts of a report, in order. A backend's capabilities say which of them it has."""

_SENTENCES: tuple[tuple[str, tuple[tuple[int, str, str], ...]], ...] = (
    (
        "log",
        (
            (1, "core", "a fresh run is empty and its head is 0"),
            (2, "core", "events come back exactly as they went in"),
            (3, "core", "sequences are dense from 1"),
            (4, "core", "a stale expected sequence conflicts and reports the actual head"),
            (5, "core", "a future expected sequence conflicts"),
            (6, "core", "a conflict leaves no trace"),
            (7, "core", "an append is all or nothing, and its neighbours in a commit are their own"),
            (8, "core", "an append without events is refused before any I/O"),
            (9, "core", "reading a part equals that slice of the whole"),
            (10, "core", "changing what went in or came out changes nothing stored"),
            (11, "core", "runs are isolated, however alike their ids"),
            (12, "core", "resubmitting an append after a lost answer is answered as the first time"),
            (13, "core", "an event id that is at its place with another body is refused"),
            (14, "core", "record and log agree at every moment that a reader can see"),
        ),
    ),
    (
        "concurrency",
        (
            (15, "core", "of n racers at one expected sequence exactly one wins"),
            (
                16,
                "core",
                "what was acknowledged is there once, what conflicted never, the unknown at most once",
            ),
            (17, "core", "readers on other handles see growing prefixes"),
            (18, "core", "cancelling an append is atomic and leaves the handle usable"),
            (19, "core", "two handles see each other's appends"),
            (20, "core", "of n creators of one run exactly one wins"),
        ),
    ),
    (
        "claims",
        (
            (21, "core", "a leased run is not claimed before its lease ends"),
            (22, "core", "a run whose lease has ended is claimed again, if it is due"),
            (23, "core", "only the holder extends or releases a lease"),
            (24, "core", "many workers get each due run once"),
            (25, "core", "due runs of a queue come by priority, then due time, then id"),
            (26, "core", "queues are respected"),
            (27, "core", "a run without a due time is never claimed"),
            (28, "core", "an append moves wake time and lease with the log; claims never move the wake time"),
            (29, "core", "after a crash of its holder a run is delivered again"),
            (58, "core", "an append between claim and release neither breaks the lease nor is lost"),
        ),
    ),
    (
        "listing",
        (
            (30, "core", "pages cover exactly the matching runs"),
            (31, "core", "a run that matches throughout a listing appears in it exactly once"),
            (32, "core", "every filter selects what it says"),
            (33, "core", "a garbage cursor is a typed error"),
        ),
    ),
    (
        "feed",
        (
            (34, "feed", "the feed has every committed event exactly once, deleted runs aside"),
            (35, "feed", "the feed keeps each run's order"),
            (36, "feed", "a reader that follows positions misses no event"),
            (37, "feed", "the feed goes on from a stored position; one no longer held is a typed error"),
        ),
    ),
    (
        "push",
        (
            (38, "push", "a waiter wakes when a run becomes due"),
            (39, "push", "cancelling a waiter leaves nothing behind"),
        ),
    ),
    (
        "crash",
        (
            (40, "durable", "after kill -9 all that was acknowledged is stored, in whole appends"),
            (41, "file", "a log cut at any byte of its tail opens as a prefix of whole appends"),
            (42, "durable", "appending after a recovery works"),
            (43, "file", "damage in the middle is found and named, never skipped"),
            (44, "file", "a full or failing disk is a typed error, with no part of an append visible"),
            (45, "server", "a connection cut around a commit leaves an outcome that can be settled"),
            (46, "server", "a restart of the server loses nothing acknowledged"),
        ),
    ),
    (
        "transactions",
        ((60, "transactions", "an append made within a user's transaction appears with it or not at all"),),
    ),
    (
        "bad input",
        (
            (47, "core", "impossible ids are refused, odd ones come back exactly"),
            (48, "core", "an oversized event refuses its own append only, before any write"),
            (49, "core", "a value that cannot be written is refused before any write"),
            (50, "core", "negative sequences and limits are errors, and a limit of 0 is empty"),
            (51, "core", "unknown event types are kept"),
            (59, "core", "a commit that names a run twice is refused before any I/O"),
        ),
    ),
    (
        "lifecycle",
        (
            (52, "core", "closing is idempotent, and use after it is StorageClosed"),
            (53, "core", "only documented exceptions escape"),
            (54, "core", "opening and closing again and again leaks nothing"),
            (55, "core", "a store written by an older version opens"),
            (56, "core", "a deleted run is gone, and its id returns only as a new incarnation"),
            (57, "core", "two namespaces never meet"),
        ),
    ),
)

LAWS: dict[int, Law] = {
    number: Law(number, topic, sentence, part)
    for topic, laws in _SENTENCES
    for number, part, sentence in laws
}
"""Every law by its number, in the order of the documentation."""
