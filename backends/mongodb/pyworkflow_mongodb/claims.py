"""Claims: find candidates, stamp them all with one token under the same conditions, find the stamped.

Of a run that is named there is nothing to find: it is stamped at once, and comes with the answer.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Sequence
from typing import Any

from pymongo import ReturnDocument

from pyworkflow_core.storage import Claim

from .documents import DUE, LEAST, Document, number, record_of
from .namespace import Collections

_ORDER = [("priority", 1), ("due", 1), ("_id", 1)]
_TRIES = 6
_WIDER = 4


async def claim(
    collections: Collections,
    owner: str,
    now: int,
    lease: int,
    limit: int,
    queues: tuple[str, ...] | None,
    run_id: str | None,
) -> list[Claim]:
    """Lease up to `limit` due runs; see `StorageBackend.claim`."""
    if run_id is not None:
        return await _claim_one(collections, owner, now, lease, queues, run_id)
    claims: list[Claim] = []
    wanted = limit
    for turn in range(_TRIES):
        candidates = await _candidates(collections, now, wanted, queues)
        if turn and len(candidates) > limit - len(claims):
            # Others are after the first ones, too: those of one look are as good as each other.
            candidates = random.sample(candidates, limit - len(claims))
        if not candidates:
            break
        claims += await _stamp(collections, candidates, owner, now, lease)
        if len(claims) >= limit or len(candidates) < min(wanted, limit):
            break
        wanted = limit * _WIDER
    return claims


async def _stamp(
    collections: Collections, names: Sequence[str], owner: str, now: int, lease: int
) -> list[Claim]:
    """Lease those of the candidates that are still due."""
    drawn, until = secrets.token_hex(8), now + lease
    tokens = {name: f"{drawn}.{place}" for place, name in enumerate(names)}
    place = {"$toString": {"$indexOfArray": [{"$literal": list(names)}, "$_id"]}}
    change = _leasing({"$concat": [f"{drawn}.", place]}, owner, until)
    what: Document = {"_id": {"$in": list(names)}, "due": _due(now)}
    result = await collections.do(collections.runs.update_many, what, change, hint="_id_")
    if not result.matched_count:
        return []
    what = {"_id": {"$in": list(names)}, "lease.token": {"$in": list(tokens.values())}}
    found = await collections.find(collections.runs, what, fields={"record": 1})
    records = {document["_id"]: record_of(document) for document in found}
    claims = [Claim(name, owner, tokens[name], until, records[name]) for name in names if name in records]
    for late in (each for each in claims if not _is_due(each.record.wake_at, now)):
        # An append from outside came in between and let it sleep: it was claimed for nothing.
        await set_lease(collections, late, None)
    return [each for each in claims if _is_due(each.record.wake_at, now)]


async def _claim_one(
    collections: Collections, owner: str, now: int, lease: int, queues: tuple[str, ...] | None, run_id: str
) -> list[Claim]:
    token, until = secrets.token_hex(8), now + lease
    what: Document = {"_id": run_id, "due": _due(now)}
    if queues is not None:
        what["queue"] = {"$in": list(queues)}
    found = await collections.do(
        collections.runs.find_one_and_update,
        what,
        _leasing(token, owner, until),
        {"record": 1},
        return_document=ReturnDocument.AFTER,
        hint="_id_",
    )
    return [] if found is None else [Claim(run_id, owner, token, until, record_of(found))]


def _leasing(token: str | Document, owner: str, until: int) -> list[Document]:
    """The change that gives a run a lease."""
    stamp = {"token": token, "owner": {"$literal": owner}, "until": number(until)}
    # Not merged with the lease that was there.
    return [{"$set": {"lease": None}}, {"$set": {"lease": stamp, "due": number(until)}}]


def _is_due(wake_at: int | None, now: int) -> bool:
    return wake_at is not None and number(wake_at) <= number(now)


def _due(now: int) -> Document:
    return {"$lte": number(now), "$gte": LEAST}


async def _candidates(
    collections: Collections, now: int, limit: int, queues: tuple[str, ...] | None
) -> list[str]:
    """Ids of due runs by priority, due time and id."""
    if queues is None:
        queues = await _due_queues(collections, now)
    queue = queues[0] if len(queues) == 1 else {"$in": list(queues)}
    what: Document = {"due": _due(now), "queue": queue}
    found = await collections.find(collections.runs, what, fields={"_id": 1}, sort=_ORDER, limit=limit)
    return [document["_id"] for document in found]


async def _due_queues(collections: Collections, now: int) -> tuple[str, ...]:
    """The queues that have due runs: from one to the next, so that it costs what there are queues."""
    queues: list[str] = []
    what: Document = {"due": _due(now)}
    while True:
        found = await collections.find(
            collections.runs, what, fields={"_id": 0, "queue": 1}, sort=[("queue", 1)], limit=1
        )
        if not found:
            return tuple(queues)
        queues.append(found[0]["queue"])
        what["queue"] = {"$gt": queues[-1]}


async def set_lease(collections: Collections, claimed: Claim, until: int | None) -> bool:
    """Move the end of a lease, or end it. False if it is not the claim's any more."""
    lease: Any = None
    if until is not None:
        lease = {"$literal": {"token": claimed.token, "owner": claimed.owner, "until": number(until)}}
    where = {"_id": claimed.run_id, "lease.token": claimed.token}
    change = [{"$set": {"lease": lease}}, {"$set": {"due": DUE}}]
    result = await collections.do(collections.runs.update_one, where, change)
    return bool(result.matched_count)
