"""Laws of claims: a due run goes to one worker, until its lease ends."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from made_logs import after, created, resumed, suspended

from pyworkflow_core.storage import Committed, LeaseChange


def test_a_leased_run_is_claimed_again_only_when_the_lease_has_ended(place: Any) -> None:
    async def main(store: Any, other: Any) -> None:
        first = created("a", at=10)
        await store.commit([first])
        assert await store.claim(owner="x", now=9, lease=5) == []
        (claim,) = await store.claim(owner="x", now=10, lease=5)
        assert (claim.run_id, claim.owner, claim.until, claim.record) == ("a", "x", 15, first.record)
        # An append from outside breaks nothing, even if it moves the wake time back.
        await other.commit([suspended(first.record, 0)])
        assert await other.claim(owner="y", now=14, lease=5) == []
        (again,) = await other.claim(owner="y", now=15, lease=5)
        assert again.token != claim.token
        assert not await store.extend(claim, 100)
        assert not await store.release(claim)
        assert await other.extend(again, 30)
        assert await store.claim(owner="x", now=29, lease=5) == []
        assert await other.release(again)
        assert not await other.release(again)
        assert len(await store.claim(owner="x", now=29, lease=5)) == 1

    place.run(main, 2)


def test_many_workers_get_each_due_run_once(place: Any) -> None:
    async def main(*stores: Any) -> None:
        await stores[0].commit([created(f"r{n:02}", at=n % 3) for n in range(30)])
        calls = [s.claim(owner=f"w{n}", now=5, lease=100, limit=7) for n, s in enumerate(stores * 2)]
        claims = [c for got in await asyncio.gather(*calls) for c in got]
        assert sorted(c.run_id for c in claims) == [f"r{n:02}" for n in range(30)]
        assert len({c.token for c in claims}) == 30

    place.run(main, 3)


def test_one_queue_answers_by_priority_then_due_time_then_id(place: Any) -> None:
    async def main(store: Any) -> None:
        await store.commit(
            [
                created("d", at=3),
                created("c", at=3),
                created("b", at=4, priority=0),
                created("a", at=9, priority=0),
                created("late", at=11, priority=0),
                created("e", at=1, priority=9),
            ]
        )
        assert [c.run_id for c in await store.claim(owner="x", now=10, lease=1, limit=3)] == ["b", "a", "c"]
        assert [c.run_id for c in await store.claim(owner="x", now=10, lease=1, limit=9)] == ["d", "e"]
        assert await store.claim(owner="x", now=10, lease=1, limit=0) == []

    place.run(main)


def test_queues_are_respected(place: Any) -> None:
    async def main(store: Any) -> None:
        await store.commit([created("a", queue="q1"), created("b", queue="q2"), created("c", queue="Q1")])
        assert await store.claim(owner="x", now=1, lease=9, queues=[]) == []
        assert await store.claim(owner="x", now=1, lease=9, queues=["q"], limit=9) == []
        assert await store.claim(owner="x", now=1, lease=9, queues=["q2"], run_id="a") == []
        assert [c.run_id for c in await store.claim(owner="x", now=1, lease=9, queues=["q1"], limit=9)] == [
            "a"
        ]
        assert len(await store.claim(owner="x", now=1, lease=9, limit=9)) == 2

    place.run(main)


def test_a_run_without_a_due_time_is_never_claimed(place: Any) -> None:
    async def main(store: Any) -> None:
        first = created("a")
        await store.commit([first])
        await store.commit([suspended(first.record, None)])
        assert await store.claim(owner="x", now=2**62, lease=1) == []
        assert await store.claim(owner="x", now=2**62, lease=1, run_id="a") == []

    place.run(main)


def test_an_append_takes_extends_and_releases_its_holders_lease(place: Any) -> None:
    async def main(store: Any, other: Any) -> None:
        append = created("a", lease=LeaseChange("t", "me", 10))
        await store.commit([append])
        assert await other.claim(owner="x", now=9, lease=1) == []
        append = resumed(append.record, 1, lease=LeaseChange("t", "me", 20))
        await store.commit([append])
        assert await other.claim(owner="x", now=19, lease=1) == []
        # Somebody else's change is not made; the append is.
        append = after(append.record, lease=LeaseChange("u", "you", None))
        assert await other.commit([append]) == [Committed("a", 3)]
        assert await other.claim(owner="x", now=19, lease=1) == []
        append = suspended(append.record, 5, lease=LeaseChange("t", "me", None))
        await store.commit([append])
        assert await other.claim(owner="x", now=4, lease=1) == []
        (claim,) = await other.claim(owner="x", now=5, lease=10)
        # A lease that a claim made is the append's too, if it names the token.
        append = suspended(append.record, 6, lease=LeaseChange(claim.token, "x", None))
        await store.commit([append])
        assert len(await store.claim(owner="y", now=6, lease=1)) == 1

    place.run(main, 2)


def test_a_lost_append_changes_no_lease(place: Any) -> None:
    async def main(store: Any) -> None:
        first = created("a")
        await store.commit([first])
        await store.commit([after(first.record)])
        await store.commit([after(first.record, prefix="x", lease=LeaseChange("t", "me", 99))])
        assert len(await store.claim(owner="x", now=1, lease=1)) == 1

    place.run(main)


def test_what_arrived_between_claim_and_release_makes_the_run_due_again(place: Any) -> None:
    async def main(store: Any, other: Any) -> None:
        first = created("a")
        await store.commit([first])
        (claim,) = await store.claim(owner="x", now=1, lease=100)
        waiting = suspended(first.record, None)
        await store.commit([waiting])
        await other.commit([suspended(waiting.record, 2)])
        assert await other.claim(owner="y", now=3, lease=1) == []
        assert await store.extend(claim, 200)
        assert await store.release(claim)
        assert [c.run_id for c in await other.claim(owner="y", now=3, lease=1)] == ["a"]

    place.run(main, 2)


def test_a_lease_that_is_already_over_is_a_value_error(place: Any) -> None:
    async def main(store: Any) -> None:
        with pytest.raises(ValueError, match="before it begins"):
            await store.claim(owner="x", now=0, lease=0)

    place.run(main)
