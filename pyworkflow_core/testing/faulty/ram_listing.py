"""Bugs in listings."""

from __future__ import annotations

from typing import ClassVar

from ...checks import read_cursor, write_cursor
from ...errors import InvalidCursor
from ...record import RunRecord, RunStatus
from ...storage import Page, RunQuery
from ..hosts.ram import RamStore
from ..hosts.state import State


class SkipsTies(RamStore):
    """Goes on behind the time of the last run, and misses others of the same time."""

    def _is_behind(self, record: RunRecord, place: tuple[int, str] | None) -> bool:
        return place is None or self._place(record)[0] > place[0]


class RepeatsTheLast(RamStore):
    """Goes on at the last run of the page before, not behind it."""

    def _is_behind(self, record: RunRecord, place: tuple[int, str] | None) -> bool:
        return place is None or self._place(record) >= place


class FiltersAfterTheLimit(RamStore):
    """Takes a page of all runs, and drops from it what does not match."""

    def _page(self, state: State, query: RunQuery, cursor: str | None, limit: int) -> Page:
        page = super()._page(state, RunQuery(), cursor, limit)
        found = [record for record in page.records if self._matches(query, record)]
        return Page(found, page.cursor if found else None)


class ListsOldestFirst(RamStore):
    """Forgets that the newest come first."""

    def _place(self, record: RunRecord) -> tuple[int, str]:
        return record.created_at, record.run_id

    def _read_cursor(self, cursor: str) -> tuple[int, str]:
        return read_cursor(cursor)


class CountsInItsCursor(RamStore):
    """Uses an offset as cursor, which every new run shifts."""

    def _page(self, state: State, query: RunQuery, cursor: str | None, limit: int) -> Page:
        if cursor is not None and not (cursor.isascii() and cursor.isdecimal()):
            raise InvalidCursor(f"{cursor!r} is no cursor")
        start = int(cursor or 0)
        found = [record for record in self._listed(state) if self._matches(query, record)]
        records = [self._copy(record) for record in found[start : start + limit]]
        return Page(records, str(start + limit) if start + limit < len(found) else None)


class ListsByLastChange(RamStore):
    """Orders by the time of the last change, so that a run jumps forward while it is listed."""

    def _place(self, record: RunRecord) -> tuple[int, str]:
        return -record.updated_at, record.run_id

    def _page(self, state: State, query: RunQuery, cursor: str | None, limit: int) -> Page:
        page = super()._page(state, query, cursor, limit)
        if page.cursor is None:
            return page
        last = page.records[-1]
        return Page(page.records, write_cursor(_with_created(last, last.updated_at)))


class _LaxQuery(RamStore):
    """A place for bugs in one part of the filter: the others are as they should be."""

    part: ClassVar[str] = ""

    def _matches(self, query: RunQuery, record: RunRecord) -> bool:
        rest = {n: getattr(query, n) for n in query.__struct_fields__ if n != self.part}
        return RunQuery(**rest).matches(record) and self._part_matches(query, record)

    def _part_matches(self, query: RunQuery, record: RunRecord) -> bool:
        return True


class TakesOneStatus(_LaxQuery):
    """Compares with one of the statuses that are asked for."""

    part = "status"

    def _part_matches(self, query: RunQuery, record: RunRecord) -> bool:
        return query.status is None or record.status in sorted(query.status)[:1]


class TakesNoStatusForAll(_LaxQuery):
    """Takes an empty set of statuses for no filter."""

    part = "status"

    def _part_matches(self, query: RunQuery, record: RunRecord) -> bool:
        return not query.status or record.status in query.status


class IncludesTheEnd(_LaxQuery):
    """Writes BETWEEN for a range that leaves out its end."""

    part = "created_before"

    def _part_matches(self, query: RunQuery, record: RunRecord) -> bool:
        return query.created_before is None or record.created_at <= query.created_before


class TakesAnyAttribute(_LaxQuery):
    """Joins the conditions on attributes with OR."""

    part = "attributes"

    def _part_matches(self, query: RunQuery, record: RunRecord) -> bool:
        wanted = query.attributes.items()
        return not wanted or any(record.attributes.get(key) == value for key, value in wanted)


class SearchesByPattern(_LaxQuery):
    """Looks for workflows with LIKE, which ignores case and knows wildcards."""

    part = "workflow"

    def _part_matches(self, query: RunQuery, record: RunRecord) -> bool:
        return query.workflow is None or record.workflow.casefold() == query.workflow.casefold()


class ForgetsTheParent(_LaxQuery):
    """Has no condition on the parent yet."""

    part = "parent"


class FreezesTheStatus(_LaxQuery):
    """Filters by a column that is written when the run is created, and never again."""

    part = "status"

    def _part_matches(self, query: RunQuery, record: RunRecord) -> bool:
        first = RunStatus.PENDING if record.head > 1 else record.status
        return query.status is None or first in query.status


class StartsOverSilently(RamStore):
    """Begins at the first page where it cannot read the cursor."""

    def _page(self, state: State, query: RunQuery, cursor: str | None, limit: int) -> Page:
        try:
            return super()._page(state, query, cursor, limit)
        except InvalidCursor:
            return super()._page(state, query, None, limit)


class LeaksDecodingErrors(RamStore):
    """Lets the decoder's own error through where it cannot read the cursor."""

    def _read_cursor(self, cursor: str) -> tuple[int, str]:
        try:
            return super()._read_cursor(cursor)
        except InvalidCursor as error:
            raise UnicodeDecodeError("utf-8", b"", 0, 1, "invalid start byte") from error


def _with_created(record: RunRecord, created_at: int) -> RunRecord:
    return RunRecord(run_id=record.run_id, incarnation="", head=0, created_at=created_at)
