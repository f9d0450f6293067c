"""Sending updates: a lone one as it is, which costs the driver less, several as one unordered bulk."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any, cast

from msgspec import Struct
from pymongo.errors import BulkWriteError, WriteError

from .documents import Document
from .namespace import Collections
from .writing import Write


class Sent(Struct, frozen=True):
    """What the server says of updates. It names those that failed or made a document; others it counts.

    Attributes:
        made: the places of those that surely changed or made a document.
        refused: the errors of those that were refused, by their places.
    """

    made: Container[int]
    refused: dict[int, Document]


async def send(collections: Collections, writes: Sequence[Write]) -> Sent:
    """Make the updates.

    Raises:
        PyMongoError: it is not known what became of them, or nothing was done.
    """
    if len(writes) == 1:
        return await _send_one(collections, writes[0])
    operations = [write.operation for write in writes]
    refused: dict[int, Document] = {}
    try:
        result = await collections.do(collections.runs.bulk_write, operations, ordered=False)
        done = result.matched_count + result.upserted_count
        made = dict[int, Any](result.upserted_ids or {})
    except BulkWriteError as error:
        details = cast("Document", error.details)
        if details.get("writeConcernErrors"):
            raise
        refused = {found["index"]: found for found in details.get("writeErrors", [])}
        made = {found["index"]: found["_id"] for found in details.get("upserted", [])}
        done = details.get("nMatched", 0) + details.get("nUpserted", 0)
    everyone = done == len(writes) - len(refused)
    return Sent(range(len(writes)) if everyone else made, refused)


async def _send_one(collections: Collections, write: Write) -> Sent:
    try:
        result = await collections.do(
            collections.runs.update_one, write.where, write.change, upsert=write.makes
        )
    except WriteError as error:
        return Sent((), {0: cast("Document", error.details)})
    done = 1 if result.matched_count or result.upserted_id is not None else 0
    return Sent(range(done), {})
