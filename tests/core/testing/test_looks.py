"""The short names that checks look at a store with."""

from __future__ import annotations

import asyncio

import pytest

from pyworkflow_core.storage import Append, Committed, FeedPage, Unknown
from pyworkflow_core.testing import LawBroken, Place
from pyworkflow_core.testing.appends import after, created, suspended
from pyworkflow_core.testing.hosts.ram import RamStore
from pyworkflow_core.testing.hosts.subjects import RamSubject
from pyworkflow_core.testing.looks import (
    LOOKS,
    bodies,
    claimed,
    event_ids,
    fed,
    follow,
    head_of,
    meanwhile,
    outcome,
    promptly,
    run_ids,
    settled,
    shown,
)


class _Forgetful(RamStore):
    """Does not know at first how a commit ended."""

    doubts = 3

    async def commit(self, appends: object, **more: object) -> list[object]:
        answers = await super().commit(appends, **more)  # type: ignore[arg-type]
        self.doubts -= 1
        return answers if self.doubts < 0 else [Unknown("a", OSError())]


def test_looks_show_what_a_handle_shows() -> None:
    async def main() -> None:
        async with Place(RamSubject()) as place:
            store = await place.open()
            assert await shown(store, "a") == ([], None)
            assert await head_of(store, "a") == 0
            first = created("a", at=place.now)
            waiting = suspended(first.record, None)
            await store.commit([created("b", at=place.now), first])
            await store.commit([waiting])
            assert await event_ids(store, "a") == ["e1", "e2"]
            assert await bodies(store, "b") == [e.body for e in await store.read("b")]
            assert await shown(store, "a") == (["e1", "e2"], waiting.record)
            assert await head_of(store, "a") == 2
            assert await run_ids(store) == ["a", "b"]
            assert await fed(store) == [("b", "e1"), ("a", "e1"), ("a", "e2")]
            assert await claimed(place, store) == ["b"]
            assert await claimed(place, store) == []

    asyncio.run(main())


def test_a_reader_of_the_feed_waits_for_what_must_be_there_and_for_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Late(RamStore):
        """Shows one event more from look to look."""

        looks = 0

        async def feed(self, *, after: str | None = None, limit: int = 1000) -> FeedPage:
            self.looks += 1
            return await super().feed(after=after, limit=min(limit, self.looks % 2))

    monkeypatch.setattr("pyworkflow_core.testing.looks.PAUSE", 0)

    async def main() -> None:
        async with Late("late") as store:
            first = created("a")
            await store.commit([first])
            await store.commit([after(first.record), created("b")])
            page = await follow(store, until=[("a", "e2"), ("b", "e1")])
            assert [(e.run_id, e.event_id) for e in page.events] == [("a", "e1"), ("a", "e2"), ("b", "e1")]
            store.looks = 0
            end = FeedPage([], page.position)
            assert await follow(store, after=page.position) == end
            assert store.looks == 1
            assert await follow(store, after=page.position, until=[("c", "e1")]) == end
            assert store.looks == 1 + LOOKS + 1
        RamStore.forget("late")

    asyncio.run(main())


def test_an_unknown_outcome_is_settled_by_asking_again() -> None:
    async def main() -> None:
        store = _Forgetful("settled")
        assert await settled(store, created("a")) == Committed("a", 1)
        assert await outcome(store, after(created("b").record)) == "Conflict"
        store.doubts = 99
        assert await outcome(store, created("a")) == "Unknown"
        RamStore.forget("settled")

    asyncio.run(main())


def test_a_commit_that_answers_nothing_breaks_the_law() -> None:
    class Silent(RamStore):
        async def commit(self, appends: object, **more: object) -> list[object]:
            return []

    async def main() -> None:
        append: Append = created("a")
        with pytest.raises(LawBroken, match="a commit of one append was answered"):
            await settled(Silent("silent"), append)
        RamStore.forget("silent")

    asyncio.run(main())


def test_what_hangs_breaks_the_law(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyworkflow_core.testing.looks._PATIENCE", 0.01)

    async def main() -> None:
        assert await promptly(asyncio.sleep(0, "done"), "a nap") == "done"
        with pytest.raises(LawBroken, match="a long sleep: no answer within"):
            await promptly(asyncio.sleep(3600), "a long sleep")

    asyncio.run(main())


def test_what_goes_on_meanwhile_is_awaited_or_ended() -> None:
    async def main() -> None:
        async with meanwhile(asyncio.sleep(0.01, "done")) as task:
            assert not task.done()
        assert task.result() == "done"
        with pytest.raises(LawBroken):
            async with meanwhile(asyncio.sleep(3600)) as task:
                raise LawBroken("something else")
        assert task.cancelled()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())
