"""Indexes and format of a namespace: made on first open, by whoever comes first."""

from __future__ import annotations

import json
import secrets
from typing import Any

from pymongo import ASCENDING, DESCENDING, IndexModel
from pymongo.errors import OperationFailure

from pyworkflow_core.errors import ConfigurationError, UnsupportedSchema

from .documents import LEAST, Document
from .namespace import Collections

FORMAT = 1
_UNAUTHORISED = 13
_ANY_TEXT = {"$gt": ""}
# Only what an index is asked for stands in it: runs that wait for somebody, or have ended, are not due.
INDEXES: dict[str, tuple[list[tuple[str, int]], Document | None]] = {
    "due": (
        [("queue", ASCENDING), ("priority", ASCENDING), ("due", ASCENDING), ("_id", ASCENDING)],
        {"due": {"$gte": LEAST}},
    ),
    "created": ([("created", DESCENDING), ("_id", ASCENDING)], {"created": {"$gte": LEAST}}),
    "parent": ([("parent", ASCENDING), ("created", DESCENDING)], {"parent": _ANY_TEXT}),
    "attributes": ([("attributes", ASCENDING), ("created", DESCENDING)], {"attributes": _ANY_TEXT}),
}


async def prepare(collections: Collections, *, makes: bool) -> str:
    """Look whether the namespace is there, or make it.

    Args:
        collections: the namespace's.
        makes: whether it may be made.

    Returns:
        Its name in feed positions: another one each time that it is made.

    Raises:
        UnsupportedSchema: newer code has made it; or it is not there, and may not be made.
        ConfigurationError: the user has no right to make it; tells what an administrator can do.
    """
    found = await collections.do(collections.meta.find_one, {"_id": "namespace"})
    if found is None and not makes:
        raise UnsupportedSchema(
            f"namespace {collections.namespace!r} is not there, and migrate=never forbids to make it. "
            "'pyworkflow storage init' does it.",
            found=0,
            needed=FORMAT,
        )
    if found is None:
        try:
            found = await _make(collections)
        except OperationFailure as error:
            if error.code != _UNAUTHORISED:
                raise
            raise ConfigurationError(
                f"the user has no right to make the indexes of namespace {collections.namespace!r} in "
                f"database {collections.database.name!r}. Let an administrator run this in mongosh:\n"
                f"{script(collections.database.name, collections.namespace)}"
            ) from error
    if found["format"] > FORMAT:
        raise UnsupportedSchema(
            f"namespace {collections.namespace!r} has format {found['format']}; this version knows up to "
            f"{FORMAT}. Upgrade pyworkflow-core.",
            found=int(found["format"]),
            needed=FORMAT,
        )
    return str(found["name"])


async def _make(collections: Collections) -> Document:
    models = [
        IndexModel(keys, name=name, **({} if part is None else {"partialFilterExpression": part}))
        for name, (keys, part) in INDEXES.items()
    ]
    await collections.do(collections.runs.create_indexes, models)
    fresh: Document = {"format": FORMAT, "name": secrets.token_hex(6)}
    await collections.do(
        collections.meta.update_one, {"_id": "namespace"}, {"$setOnInsert": fresh}, upsert=True
    )
    found: Document = await collections.do(collections.meta.find_one, {"_id": "namespace"})
    return found


def script(database: str, namespace: str) -> str:
    """What an administrator runs in mongosh to make the namespace for users without the right to."""
    lines = [f"const found = db.getSiblingDB({json.dumps(database)})"]
    runs, meta = json.dumps(f"{namespace}.runs"), json.dumps(f"{namespace}.meta")
    for name, (keys, part) in INDEXES.items():
        options = [f"name: {json.dumps(name)}"]
        if part is not None:
            options.append(f"partialFilterExpression: {_javascript(part)}")
        lines.append(
            f"found.getCollection({runs}).createIndex({json.dumps(dict(keys))}, {{{', '.join(options)}}})"
        )
    fresh = f'{{_id: "namespace", format: {FORMAT}, name: "{secrets.token_hex(6)}"}}'
    lines.append(f"found.getCollection({meta}).insertOne({fresh})")
    return "\n".join(lines)


def _javascript(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_javascript(inner)}" for key, inner in value.items()) + "}"
    return f'NumberLong("{value}")' if isinstance(value, int) else json.dumps(value)


async def drop(collections: Collections) -> None:
    """Remove all that the namespace has."""
    # The collection that says that it is there goes last.
    for collection in (collections.runs, collections.chunks, collections.meta):
        await collections.do(collection.drop)
