"""The few words that printed random programs need beside the storage contract's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...record import RunRecord
from ...storage import Answer, Refused, RunQuery, StorageBackend
from ..broken import LawBroken, holds

_PAGES = 100


async def listed(
    store: StorageBackend, query: RunQuery | None = None, *, limit: int = 100
) -> list[RunRecord]:
    """All records of a listing, page by page.

    Raises:
        LawBroken: a page is longer than asked for, or there is no last one.
    """
    found: list[RunRecord] = []
    cursor = None
    for _ in range(_PAGES):
        page = await store.find(query, cursor=cursor, limit=limit)
        holds(len(page.records) <= limit, f"a page of at most {limit} runs has {len(page.records)}")
        found += page.records
        if page.cursor is None:
            return found
        cursor = page.cursor
    raise LawBroken(f"a listing does not end after {_PAGES} pages")


def answered(answers: Sequence[Answer]) -> list[Any]:
    """The answers of a commit, with the type of a refusal's error in place of the error, to compare."""
    return [(a.run_id, type(a.error)) if isinstance(a, Refused) else a for a in answers]
