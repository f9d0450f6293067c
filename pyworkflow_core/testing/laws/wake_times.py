"""Checks of what writes what: appends the wake time and the log, claims the lease and nothing else."""

from __future__ import annotations

import asyncio

from ...storage import Append, LeaseChange, StorageBackend
from ..appends import after, created, resumed, suspended
from ..broken import holds, same
from ..place import Place
from .given import due_run, given, ids, take, take_one
from .registry import proves


@proves(28)
async def an_append_moves_the_wake_time(place: Place) -> None:
    """Forward, back, away and back again: a run is due when its last append says."""
    store, other = await place.open_many(2)
    past, future = place.now - place.unit, place.now + 10**6 * place.unit
    last = created("a", at=past)
    await given(store, last)
    for wake_at in (future, past, None, past, future, None, future, past):
        last = suspended(last.record, wake_at)
        await given(store, last)
        claims = await take(place, other)
        said = f"claim after an append made the wake time {wake_at}, where it is {place.now}"
        same(ids(claims), ["a"] if wake_at == past else [], said)
        for claim in claims:
            same(claim.record, last.record, "record of that claim")
            same(await other.release(claim), True, "release")


@proves(28)
async def an_append_takes_and_releases_a_lease(place: Place) -> None:
    """A lease comes and goes with the append that says so, whoever else claims meanwhile."""
    store, other = await place.open_many(2)
    taken = LeaseChange("t", "driver", place.now + 100 * place.unit)
    first = due_run(place, "a", lease=taken)
    await given(store, first)
    same(ids(await take(place, other)), [], "claim of a run that was created with a lease")
    second = suspended(first.record, place.now - place.unit, lease=LeaseChange("t", "driver", None))
    await given(store, second)
    claim = await take_one(place, other, "a")
    same(claim.record, second.record, "record of a claim after an append that suspended and released")
    third = resumed(second.record, at=place.now - place.unit, lease=LeaseChange(claim.token, "worker", None))
    await given(other, third)
    same(ids(await take(place, store)), ["a"], "claim after an append of the holder released its lease")


@proves(28)
async def an_append_extends_its_holders_lease(place: Place) -> None:
    """A lease that an append extends does not end when it would have."""
    store, other = await place.open_many(2)
    soon, late = place.now + place.unit, place.now + 900 * place.unit
    runs = [due_run(place, n, lease=LeaseChange("t", "driver", soon)) for n in ("a", "b", "c")]
    await given(store, *runs)
    await given(store, after(runs[0].record, lease=LeaseChange("t", "driver", late)))
    await given(store, after(runs[1].record))
    await place.pass_time(2 * place.unit)
    same(
        sorted(ids(await take(place, other))), ["b", "c"], "claim after two leases ended and 'a' was extended"
    )


@proves(28)
async def a_lease_change_with_another_token_is_not_made(place: Place) -> None:
    """An append that names a token other than the holder's is made; the lease stays as it is."""
    store, other = await place.open_many(2)
    last = due_run(place, "a")
    await given(store, last)
    claim = await take_one(place, store, "a")
    for until in (None, place.now + 5 * place.unit):
        last = after(last.record, lease=LeaseChange("another", "worker", until))
        await given(other, last)
        same(await other.read("a", after=last.expected), list(last.events), "read of an append")
        same(ids(await take(place, other)), [], "claim after an append that changed a lease it does not hold")
        same(await store.extend(claim, place.now + 200 * place.unit), True, "extend by the holder after it")
    same(await store.release(claim), True, "release by the holder")
    same(ids(await take(place, other)), ["a"], "claim after the release by the holder")


@proves(28)
async def claims_leave_log_and_record_alone(place: Place) -> None:
    """Claim, extend and release change neither the record nor the log, and so not the wake time."""
    store, other = await place.open_many(2)
    first = due_run(place, "a", attributes={"k": "v"})
    last = after(first.record)
    await given(store, first)
    await given(store, last)
    for turn in range(2):
        claim = await take_one(place, store, "a")
        same(claim.record, last.record, "record of the claim")
        same(await other.get("a"), last.record, "record after a claim")
        same(await store.extend(claim, place.now + 200 * place.unit), True, "extend by the holder")
        same(await other.get("a"), last.record, "record after an extend")
        same(await store.release(claim), True, "release by the holder")
        same(await other.get("a"), last.record, f"record after release {turn + 1}")
    same(await other.read("a"), [*first.events, *last.events], "log after claims, extends and releases")
    await given(other, after(last.record))


@proves(28)
async def a_release_leaves_a_run_that_is_not_due_alone(place: Place) -> None:
    """To release the lease of a run that sleeps, or waits for somebody, does not wake it."""
    store, other = await place.open_many(2)
    runs = [due_run(place, name) for name in ("asleep", "due", "waiting")]
    await given(store, *runs)
    claims = [await take_one(place, store, run.run_id) for run in runs]
    later = place.now + 10**6 * place.unit
    await given(store, suspended(runs[0].record, later), suspended(runs[2].record, None))
    for claim in claims:
        same(await store.extend(claim, place.now + 300 * place.unit), True, "extend by the holder")
        same(await store.release(claim), True, "release by the holder")
    same(ids(await take(place, other)), ["due"], "claim after three releases, where one run is due")
    record = await other.get("asleep")
    same(record and record.wake_at, later, "wake time of the run that sleeps")


async def claim_and_release(place: Place, store: StorageBackend, rounds: int) -> int:
    """Claim and release again and again; how often a run came. Each must be due by its record."""
    came = 0
    for _ in range(rounds):
        for claim in await take(place, store, owner="reader"):
            came += 1
            wake_at = claim.record.wake_at
            holds(
                wake_at is not None and wake_at <= place.now,
                f"a claim at {place.now} got a record with head {claim.record.head} and wake time {wake_at}",
            )
            same(await store.release(claim), True, "release by the holder")
        await asyncio.sleep(0)
    return came


async def claim_what_comes(place: Place, store: StorageBackend, rounds: int, claimed: list[str]) -> None:
    """Claim again and again, at every moment that the loop offers; add what came to `claimed`."""
    for _ in range(rounds):
        claimed += ids(await take(place, store, owner="thief"))
        await asyncio.sleep(0)


@proves(28)
async def a_lease_changes_in_the_same_moment_as_the_log(place: Place) -> None:
    """A run is created leased, and falls asleep and is released at once: no claim comes in between."""
    store, *thieves = await place.open_many(4)
    claimed: list[str] = []
    for turn in range(2 * place.profile.rounds):
        taken = LeaseChange("t", "driver", place.now + 900 * place.unit)
        first = due_run(place, f"r{turn}", lease=taken)
        last = suspended(first.record, None, lease=LeaseChange("t", "driver", None))
        for append in (first, last):
            calls = [claim_what_comes(place, thief, 4, claimed) for thief in thieves]
            await asyncio.gather(*calls[:turn], given(store, append), *calls[turn:])
    same(claimed, [], "claims of runs that were leased from their creation until they fell asleep")
    await given(store, due_run(place, "free"))
    await claim_what_comes(place, thieves[0], 1, claimed)
    same(claimed, ["free"], "claim of a run that is due and free")


async def toggle(store: StorageBackend, run: Append, wakes: tuple[int, int], rounds: int) -> None:
    """Append to a run again and again, so that it is due at the one time and then at the other."""
    last = run
    for wake_at in wakes * rounds:
        last = suspended(last.record, wake_at)
        await given(store, last)


@proves(28)
async def a_claim_never_sees_half_an_append(place: Place) -> None:
    """While appends move a run between due and asleep, whoever claims it gets a record that is due."""
    writer, *readers = await place.open_many(3)
    run, future = due_run(place, "a"), place.now + 10**6 * place.unit
    await given(writer, run)
    rounds = 4 * place.profile.rounds
    moving = toggle(writer, run, (future, run.record.created_at), rounds)
    await asyncio.gather(moving, *[claim_and_release(place, reader, rounds) for reader in readers])
    same(await claim_and_release(place, writer, 1), 1, "claims after the last append made the run due")
