"""Laws of the log: events in, the same events out, and one head that decides."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from made_logs import after, body, created, suspended

from pyworkflow_core.errors import EventIdReused, InvalidIdError, LimitExceeded, StorageClosed
from pyworkflow_core.record import evolve
from pyworkflow_core.storage import Append, Committed, Conflict, Refused

if TYPE_CHECKING:
    from pyworkflow_core.events import Event

ODD_IDS = [
    "a",
    "A",
    "á",
    "a\u0301",
    "a/b",
    "run",
    "run1",
    "../x",
    "*",
    "a\nb",
    "a\tb",
    "%s",
    "'; --",
    "日本",
    "\x01",
    "a" * 255,
]


def test_a_fresh_run_is_empty_and_a_first_append_makes_it(place: Any) -> None:
    async def main(store: Any) -> None:
        assert await store.read("a") == []
        assert await store.get("a") is None
        first = created("a")
        assert await store.commit([first]) == [Committed("a", 1)]
        assert await store.read("a") == list(first.events)
        assert await store.get("a") == first.record

    place.run(main)


@pytest.mark.parametrize(
    "data",
    [
        '{"n":9007199254740993,"big":123456789012345678901234567890}',
        '{"nfc":"\u00e9","nfd":"e\u0301","esc":"\\u00e9\\n\\t","b":1,"a":2}',
        '{"deep":' + "[" * 200 + "]" * 200 + "}",
        '{"float":1.10,"exp":1E5,"space": [ 1 ,\t2 ]}',
        '{"m":"' + "x" * 1_000_000 + '"}',
    ],
)
def test_bodies_come_back_byte_for_byte(place: Any, data: str) -> None:
    async def main(store: Any, other: Any) -> None:
        first = created("a")
        second = after(first.record, body(data, at=1_763_820_000_000_001), body(), body(data))
        await store.commit([first])
        assert await store.commit([second]) == [Committed("a", 4)]
        expected = [*first.events, *second.events]
        assert await store.read("a") == expected
        assert await other.read("a") == expected
        assert await other.read("a", after=2) == expected[2:]

    place.run(main, 2)


def test_stale_and_future_sequences_conflict_and_leave_no_trace(place: Any) -> None:
    async def main(store: Any) -> None:
        first = created("a", at=100)
        second = after(first.record)
        await store.commit([first])
        await store.commit([second])
        stale = suspended(first.record, 5, prefix="x")
        future_record = evolve(second.record, after(second.record).events)
        future = after(future_record, prefix="y")
        assert await store.commit([stale]) == [Conflict("a", 2)]
        assert await store.commit([future]) == [Conflict("a", 2)]
        assert await store.commit([created("a", event_id="other")]) == [Conflict("a", 2)]
        assert await store.commit([after(created("b").record)]) == [Conflict("b", 0)]
        assert await store.read("a") == [*first.events, *second.events]
        assert await store.get("a") == second.record
        assert await store.get("b") is None
        assert await store.claim(owner="x", now=50, lease=10) == []
        assert len((await store.find()).records) == 1

    place.run(main)


def test_neighbours_of_a_conflict_and_of_a_refusal_are_written(place: Any) -> None:
    async def main(store: Any) -> None:
        large = after(created("big").record, body('"' + "x" * store.limits.event_bytes + '"'))
        answers = await store.commit([created("a"), after(created("gone").record), large, created("b")])
        assert answers[0] == Committed("a", 1)
        assert answers[1] == Conflict("gone", 0)
        assert isinstance(answers[2], Refused)
        assert isinstance(answers[2].error, LimitExceeded)
        assert answers[3] == Committed("b", 1)
        assert [r.run_id for r in (await store.find()).records] == ["a", "b"]

    place.run(main)


def test_programming_errors_are_refused_before_anything_is_written(place: Any) -> None:
    async def main(store: Any) -> None:
        first = created("a")
        with pytest.raises(ValueError, match="at least one event"):
            await store.commit([created("b"), Append("a", "i1", 0, (), first.record)])
        with pytest.raises(ValueError, match="twice"):
            await store.commit([first, created("a", event_id="z")])
        for bad in ("", "\0", "\ud800", "a" * 256, "é" * 128):
            with pytest.raises(InvalidIdError):
                await store.read(bad)
            with pytest.raises(InvalidIdError):
                await store.commit([Append(bad, "i1", 0, first.events, first.record)])
        assert await store.commit([]) == []
        assert (await store.find()).records == []

    place.run(main)


def test_reading_a_part_equals_the_slice_of_the_whole(place: Any) -> None:
    async def main(store: Any, other: Any) -> None:
        appends = [created("a"), created("b")]
        expected = list(appends[0].events)
        await store.commit(appends)
        for n in range(6):
            appends = [
                after(appends[0].record, *[body(f'{{"n":{n}}}')] * (n % 3 + 1)),
                after(appends[1].record),
            ]
            await store.commit(appends)
            expected += appends[0].events
        for reader in (store, other):
            for start in range(len(expected) + 2):
                for limit in (None, 0, 1, 2, 5, 100):
                    end = None if limit is None else start + limit
                    assert await reader.read("a", after=start, limit=limit) == expected[start:end]
        for bad in ({"after": -1}, {"limit": -1}):
            with pytest.raises(ValueError, match="negative"):
                await store.read("a", **bad)

    place.run(main, 2)


def test_changing_what_went_in_or_came_out_changes_nothing(place: Any) -> None:
    async def main(store: Any) -> None:
        first = created("a", attributes={"k": "v"})
        await store.commit([first])
        first.record.attributes["k"] = "changed"
        (await store.get("a")).attributes["k"] = "changed"
        (await store.find()).records[0].attributes["k"] = "changed"
        (await store.read("a")).clear()
        assert (await store.get("a")).attributes == {"k": "v"}
        assert (await store.claim(owner="o", now=9, lease=1))[0].record.attributes == {"k": "v"}
        assert len(await store.read("a")) == 1

    place.run(main)


def test_odd_ids_name_different_runs_and_come_back_exactly(place: Any) -> None:
    async def main(store: Any, other: Any) -> None:
        appends = [
            created(run_id, workflow=run_id, queue=run_id, event_id=run_id, parent=run_id)
            for run_id in ODD_IDS
        ]
        assert all(isinstance(a, Committed) for a in await store.commit(appends))
        for append in appends:
            assert await other.read(append.run_id) == list(append.events)
            assert await other.get(append.run_id) == append.record
            claims = await other.claim(owner=append.run_id, now=0, lease=1, queues=[append.run_id])
            assert [c.run_id for c in claims] == [append.run_id]
        assert [r.run_id for r in await other.list_runs()] == sorted(ODD_IDS)

    place.run(main, 2)


def test_resubmitting_an_append_is_committed_even_after_others(place: Any) -> None:
    async def main(store: Any, other: Any) -> None:
        first = created("a")
        second = after(first.record, body(), body('{"n":1}'))
        third = after(second.record)
        for append in (first, second, third):
            await store.commit([append])
        for handle in (store, other):
            assert await handle.commit([first]) == [Committed("a", 1)]
            assert await handle.commit([second]) == [Committed("a", 3)]
        assert len(await store.read("a")) == 4
        assert (await store.get("a")).head == 4

    place.run(main, 2)


def test_an_event_id_at_its_place_with_another_body_is_refused(place: Any) -> None:
    async def main(store: Any) -> None:
        first = created("a")
        await store.commit([first])
        await store.commit([after(first.record, body('{"n":1}'))])
        (answer,) = await store.commit([after(first.record, body('{"n":2}'))])
        assert isinstance(answer, Refused)
        assert isinstance(answer.error, EventIdReused)
        # A part of an append is another append.
        (answer,) = await store.commit([after(first.record, body('{"n":1}'), body())])
        assert answer == Conflict("a", 2)

    place.run(main)


def test_the_record_is_always_the_fold_of_the_log(place: Any) -> None:
    async def main(store: Any, other: Any) -> None:
        append = created("a", at=5, queue="q", attributes={"x": "y"})
        for wake_at in (None, 7, 2**70, -(2**70)):
            await store.commit([append])
            for handle in (store, other):
                assert await handle.get("a") == evolve(None, await handle.read("a"), incarnation="i1")
                assert (await handle.find()).records == [await handle.get("a")]
            append = suspended(append.record, wake_at)

    place.run(main, 2)


def test_of_many_racers_one_wins_and_losers_learn_the_head(place: Any) -> None:
    async def main(*stores: Any) -> None:
        creators = [created("a", incarnation=f"i{n}", event_id=f"c{n}") for n in range(8)]
        answers = [
            a
            for (a,) in await asyncio.gather(
                *(s.commit([c]) for s, c in zip(stores * 2, creators, strict=True))
            )
        ]
        assert sorted(type(a).__name__ for a in answers) == ["Committed"] + ["Conflict"] * 7
        assert all(a.head == 1 for a in answers)
        winner = creators[next(n for n, a in enumerate(answers) if isinstance(a, Committed))]
        rivals = [after(winner.record, prefix=f"r{n}-") for n in range(8)]
        answers = [
            a
            for (a,) in await asyncio.gather(
                *(s.commit([c]) for s, c in zip(stores * 2, rivals, strict=True))
            )
        ]
        assert sorted(type(a).__name__ for a in answers) == ["Committed"] + ["Conflict"] * 7
        assert len(await stores[0].read("a")) == 2

    place.run(main, 4)


def test_two_handles_see_each_others_appends_as_growing_prefixes(place: Any) -> None:
    async def main(store: Any, other: Any) -> None:
        append = created("a")
        expected: list[Event] = []
        for n in range(12):
            writer, reader = (store, other) if n % 2 else (other, store)
            assert await writer.commit([append]) == [Committed("a", n + 1)]
            expected += append.events
            assert await reader.read("a") == expected
            assert (await reader.get("a")).head == n + 1
            append = after(append.record)

    place.run(main, 2)


def test_cancelling_an_append_is_atomic_and_leaves_the_handle_usable(place: Any) -> None:
    async def main(store: Any, other: Any) -> None:
        append = created("a")
        for n in range(20):
            task = asyncio.ensure_future(store.commit([append]))
            for _ in range(n % 4):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert await store.commit([append]) == [Committed("a", n + 1)]
            append = after(append.record)
        assert [e.sequence for e in await other.read("a")] == list(range(1, 21))

    place.run(main, 2)


def test_unknown_event_types_are_kept(place: Any) -> None:
    async def main(store: Any) -> None:
        first = created("a")
        odd = b'["some.type",99,5,{"new":[1,2]}]'
        await store.commit([first])
        assert await store.commit([after(first.record, odd)]) == [Committed("a", 2)]
        event = (await store.read("a"))[1]
        assert (event.body, event.type, event.version) == (odd, "some.type", 99)

    place.run(main)


def test_a_deleted_run_is_gone_and_its_id_comes_back_only_as_another_incarnation(place: Any) -> None:
    async def main(store: Any, other: Any) -> None:
        first = created("a", at=1)
        second = after(first.record)
        await store.commit([first, created("b", at=2)])
        await store.commit([second])
        (claim,) = await store.claim(owner="o", now=5, lease=5, run_id="a")
        with pytest.raises(ValueError, match="head"):
            await store.delete("a", expected=1)
        await store.delete("a", expected=2)
        await store.delete("a", expected=2)
        for handle in (store, other):
            assert await handle.read("a") == []
            assert await handle.get("a") is None
            assert [r.run_id for r in await handle.list_runs()] == ["b"]
            assert not await handle.extend(claim, 99)
            assert not await handle.release(claim)
            assert await handle.claim(owner="o", now=99, lease=1, run_id="a") == []
            assert await handle.commit([first]) == [Conflict("a", 0)]
            assert await handle.commit([after(second.record)]) == [Conflict("a", 0)]
        again = created("a", incarnation="i2", at=3)
        assert await other.commit([again]) == [Committed("a", 1)]
        assert await store.commit([first]) == [Conflict("a", 1)]
        assert await store.commit([after(first.record)]) == [Conflict("a", 1)]
        assert await store.get("a") == again.record
        assert await store.read("a") == list(again.events)

    place.run(main, 2)


def test_close_is_idempotent_and_everything_after_it_is_storage_closed(place: Any) -> None:
    async def main(store: Any) -> None:
        await store.commit([created("a")])
        await store.close()
        await store.close()
        for call in (
            store.get("a"),
            store.read("a"),
            store.commit([created("b")]),
            store.find(),
            store.feed(),
        ):
            with pytest.raises(StorageClosed):
                await call
        unused = place.open()
        await unused.close()
        with pytest.raises(StorageClosed):
            await unused.open()

    place.run(main)


def test_two_namespaces_never_meet(place: Any, tmp_path: Any) -> None:
    async def main(store: Any) -> None:
        await store.commit([created("a")])
        elsewhere = type(store)(tmp_path / "elsewhere") if "file" in place.url else type(store)("elsewhere")
        async with elsewhere:
            assert await elsewhere.get("a") is None

    place.run(main)
