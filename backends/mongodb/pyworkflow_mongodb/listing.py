"""Listings: pages of run records, newest first."""

from __future__ import annotations

from pyworkflow_core.checks import read_cursor, write_cursor
from pyworkflow_core.storage import Page, RunQuery

from .documents import LEAST, Document, attribute, number, record_of
from .namespace import Collections


async def find(collections: Collections, query: RunQuery, cursor: str | None, limit: int) -> Page:
    """One page; see `StorageBackend.find`.

    Raises:
        InvalidCursor: the cursor is none.
    """
    what = _filter(query)
    if cursor is not None:
        created_at, run_id = read_cursor(cursor)
        created = number(created_at)
        behind = [{"created": {"$lt": created}}, {"created": created, "_id": {"$gt": run_id}}]
        what = {"$and": [what, {"created": {"$lte": created}}, {"$or": behind}]}
    order = [("created", -1), ("_id", 1)]
    found = await collections.find(collections.runs, what, fields={"record": 1}, sort=order, limit=limit + 1)
    records = [record_of(document) for document in found[:limit]]
    return Page(records, write_cursor(records[-1]) if len(found) > limit else None)


def _filter(query: RunQuery) -> Document:
    created: Document = {"$gte": LEAST if query.created_from is None else number(query.created_from)}
    if query.created_before is not None:
        created["$lt"] = number(query.created_before)
    what: Document = {"created": created}
    if query.status is not None:
        what["status"] = {"$in": sorted(map(str, query.status))}
    for name in ("workflow", "queue", "parent"):
        value = getattr(query, name)
        if value is not None:
            what[name] = value
    if query.attributes:
        what["attributes"] = {"$all": [attribute(key, value) for key, value in query.attributes.items()]}
    return what
