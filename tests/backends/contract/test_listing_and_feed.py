"""Laws of listings and of the feed."""

from __future__ import annotations

from typing import Any

import pytest
from made_logs import after, body, created

from pyworkflow_core.errors import FeedPositionLost, InvalidCursor
from pyworkflow_core.events import encode_body
from pyworkflow_core.payloads import WorkflowCompleted
from pyworkflow_core.record import RunStatus
from pyworkflow_core.storage import RunQuery


async def all_pages(store: Any, query: RunQuery, size: int) -> list[str]:
    cursor, found = None, []
    while True:
        page = await store.find(query, cursor=cursor, limit=size)
        assert len(page.records) <= size
        found += [r.run_id for r in page.records]
        if (cursor := page.cursor) is None:
            return found


def test_pages_cover_what_every_filter_matches_newest_first(place: Any) -> None:
    async def main(store: Any, other: Any) -> None:
        odd = {"a.b": "1", 'q"uote': "x'", "": "", "$[0]": "é", "k": "1"}
        appends = [
            created(f"r{n:02}", at=n // 3, workflow="w" if n % 2 else "W", queue=f"q{n % 3}",
                    parent="p" if n % 4 == 0 else None, attributes=odd if n % 5 == 0 else {"k": str(n % 2)})
            for n in range(25)
        ]  # fmt: skip
        await store.commit(appends)
        ended = [after(a.record, encode_body(WorkflowCompleted(), 99)) for a in appends[:6]]
        await store.commit(ended)
        records = sorted(
            [e.record for e in ended] + [a.record for a in appends[6:]],
            key=lambda r: (-r.created_at, r.run_id),
        )
        queries = [
            RunQuery(),
            RunQuery(status=frozenset({RunStatus.COMPLETED})),
            RunQuery(status=frozenset({RunStatus.COMPLETED, RunStatus.PENDING}), workflow="w"),
            RunQuery(status=frozenset()),
            RunQuery(workflow="W", queue="q1"),
            RunQuery(parent="p", created_from=2, created_before=6),
            RunQuery(workflow="\ud800"),
            *(RunQuery(attributes={k: v}) for k, v in odd.items()),
            RunQuery(attributes={"k": "0", "a.b": "1"}),
            RunQuery(attributes={"k": "1"}, queue="q2"),
        ]
        for query in queries:
            expected = [r.run_id for r in records if query.matches(r)]
            for size in (1, 2, 7, 100):
                assert await all_pages(other, query, size) == expected

    place.run(main, 2)


def test_a_run_that_is_there_throughout_appears_once_while_others_come(place: Any) -> None:
    async def main(store: Any, other: Any) -> None:
        await store.commit([created(f"r{n}", at=5) for n in range(6)])
        cursor, found = None, []
        for n in range(20):
            page = await store.find(cursor=cursor, limit=2)
            found += [r.run_id for r in page.records]
            if (cursor := page.cursor) is None:
                break
            await other.commit([created(f"new{n}", at=9), created(f"a{n}", at=5), created(f"old{n}", at=1)])
        assert [f for f in found if f.startswith("r")] == [f"r{n}" for n in range(6)]
        assert len(found) == len(set(found))

    place.run(main, 2)


def test_a_garbage_cursor_is_a_typed_error(place: Any) -> None:
    async def main(store: Any) -> None:
        await store.commit([created("a")])
        for cursor in ("", "x", "%%%", "WyJhIiwxXQ", "é"):
            with pytest.raises(InvalidCursor):
                await store.find(cursor=cursor)
        assert (await store.find(limit=0)).records == []
        with pytest.raises(ValueError, match="negative"):
            await store.find(limit=-1)

    place.run(main)


def test_the_feed_gives_every_event_once_in_each_runs_order_and_goes_on_where_it_was(place: Any) -> None:
    async def main(store: Any, other: Any) -> None:
        appends = [created(f"r{n}") for n in range(3)]
        written: dict[str, list[Any]] = {a.run_id: [] for a in appends}
        got: dict[str, list[Any]] = {a.run_id: [] for a in appends}
        position = None
        for step in range(8):
            await (store if step % 2 else other).commit(appends)
            for append in appends:
                written[append.run_id] += append.events
            page = await store.feed(after=position, limit=step + 1)
            assert len(page.events) <= step + 1
            for event in page.events:
                got[event.run_id].append(event)
            position = page.position
            appends = [after(a.record, body(), body()) for a in appends]
        await store.close()
        reopened = place.open()
        while (page := await reopened.feed(after=position, limit=4)).events:
            for event in page.events:
                got[event.run_id].append(event)
            position = page.position
        await reopened.close()
        assert got == written
        assert (await other.feed(after=position)).events == []

    place.run(main, 2)


def test_the_feed_leaves_deleted_runs_aside(place: Any) -> None:
    async def main(store: Any) -> None:
        first = created("a")
        await store.commit([first, created("b")])
        await store.commit([after(first.record, body(), body())])
        page = await store.feed(limit=3)
        await store.delete("a", expected=3)
        rest = (await store.feed(after=page.position)).events
        assert all(e.run_id == "a" for e in rest) is (rest == [])
        assert [e.run_id for e in (await store.feed()).events] == ["b"]
        assert (await store.feed(limit=0)).events == []

    place.run(main)


def test_a_position_that_is_not_held_is_a_typed_error(place: Any) -> None:
    async def main(store: Any) -> None:
        await store.commit([created("a")])
        for position in (
            "",
            "x",
            "1.0.1.0",
            "9.0.0.0",
            "1.7.0.0",
            "1.0.99999.0",
            "-1.0.0.0",
            "é.é",
            "0.0.0.0",
        ):
            with pytest.raises(FeedPositionLost):
                await store.feed(after=position)

    place.run(main)
