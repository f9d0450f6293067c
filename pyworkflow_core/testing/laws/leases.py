"""Checks of leases: a claimed run is its holder's until the lease ends, and no longer."""

from __future__ import annotations

from msgspec.structs import replace

from ...events import encode_body
from ...payloads import HookReceived
from ...record import RunRecord
from ...storage import Append, Claim, LeaseChange
from ..appends import after, created, resumed, suspended
from ..broken import holds, same
from ..place import Place
from .given import due_run, given, ids, take, take_one
from .registry import proves


@proves(21)
async def a_leased_run_is_claimed_by_nobody_else(place: Place) -> None:
    """While a lease runs, neither a claim of any run nor one of this run gets it, on any handle."""
    store, other = await place.open_many(2)
    await given(store, due_run(place, "a"), due_run(place, "b"))
    await take_one(place, store, "a")
    same(ids(await take(place, other, owner="x")), ["b"], "claim of all due runs of which 'a' is leased")
    await place.pass_time(place.unit)
    for handle in (store, other):
        same(ids(await take(place, handle, run_id="a")), [], "claim by id of a run that is leased")
        same(ids(await take(place, handle)), [], "claim where every run is leased")


def moved_about(record: RunRecord, past: int, future: int) -> list[Append]:
    """Appends, one after the other, that move the wake time of a run about."""
    appends = [after(record)]
    for wake_at in (past, None):
        appends.append(suspended(appends[-1].record, wake_at))
    appends.append(after(appends[-1].record, encode_body(HookReceived("h"), past)))
    appends.append(suspended(appends[-1].record, future))
    appends.append(resumed(appends[-1].record, at=past))
    return appends


@proves(21)
async def appends_from_outside_do_not_end_a_lease(place: Place) -> None:
    """Whatever is appended from outside, and however it moves the wake time, the lease stands."""
    store, other = await place.open_many(2)
    first = due_run(place, "a")
    await given(store, first)
    claim = await take_one(place, store, "a")
    for append in moved_about(first.record, place.now - 5 * place.unit, place.now + 1000 * place.unit):
        await given(other, append)
        said = f"of a leased run after an append from outside made its wake time {append.record.wake_at}"
        same(ids(await take(place, other)), [], f"claim {said}")
        same(ids(await take(place, other, run_id="a")), [], f"claim by id {said}")
    holds(
        await store.extend(claim, place.now + 200 * place.unit),
        "appends from outside took the lease from its holder: extend answered False",
    )


@proves(21)
async def a_lease_taken_with_an_append_holds_as_well(place: Place) -> None:
    """A run that is created, or appended to, with a lease is not claimed before that lease ends."""
    store, other = await place.open_many(2)
    lease = LeaseChange("t", "driver", place.now + 100 * place.unit)
    second = due_run(place, "b")
    await given(store, due_run(place, "a", lease=lease), second, due_run(place, "c"))
    await given(store, after(second.record, lease=lease))
    same(ids(await take(place, other)), ["c"], "claim of all, where 'a' and 'b' were leased by appends")
    for run_id in ("a", "b"):
        same(ids(await take(place, other, run_id=run_id)), [], "claim of a run that was leased by an append")


@proves(21, needs=("caller_clock",))
async def a_lease_holds_to_its_last_microsecond(place: Place) -> None:
    """One microsecond before its end, first as it was claimed and then as it was extended, a lease holds."""
    store, other = await place.open_many(2)
    now = place.now
    await given(store, due_run(place, "a"))
    claim = await take_one(place, store, "a", units=1)
    end = now + place.unit
    same(claim.until, end, "end of the lease of a claim")
    same(await other.claim(owner="y", now=end - 1, lease=9), [], "claim 1 µs before a lease ends")
    same(await other.extend(claim, end + 5000), True, "extend by the holder")
    same(
        await other.claim(owner="y", now=end + 4999, lease=9), [], "claim 1 µs before an extended lease ends"
    )


@proves(22)
async def a_run_comes_back_when_its_lease_ends(place: Place) -> None:
    """After the end of a lease that nobody released the run goes to the next who claims."""
    store, other = await place.open_many(2)
    await given(
        store, due_run(place, "a"), created("b", at=place.now, wake_at=place.now + 10**6 * place.unit)
    )
    await take_one(place, store, "a", units=1)
    await place.pass_time(2 * place.unit)
    said = "claim of all due runs after the lease of 'a' has ended; 'b' is not due"
    same(ids(await take(place, other)), ["a"], said)


@proves(22)
async def every_way_to_set_a_lease_sets_its_end(place: Place) -> None:
    """A lease that an append took, and one whose end was moved to be sooner, ends when it says."""
    store, other = await place.open_many(2)
    soon = place.now + place.unit
    await given(store, due_run(place, "a", lease=LeaseChange("t", "driver", soon)), due_run(place, "b"))
    await given(store, due_run(place, "c"))
    shortened = await take_one(place, store, "b")
    holds(await store.extend(shortened, soon), "the holder's extend to a sooner end answered False")
    held = await take_one(place, store, "c")
    await given(store, after(held.record, lease=LeaseChange(held.token, held.owner, soon)))
    await place.pass_time(2 * place.unit)
    same(sorted(ids(await take(place, other))), ["a", "b", "c"], "claim after the leases of all have ended")


@proves(22)
async def a_run_that_is_not_due_stays_when_its_lease_ends(place: Place) -> None:
    """The end of a lease alone makes nothing due: a run that waits by then is not claimed."""
    store, other = await place.open_many(2)
    runs = [due_run(place, name) for name in ("a", "b", "c")]
    await given(store, *runs)
    for run in runs:
        await take_one(place, store, run.run_id, units=1)
    later = place.now + 10**6 * place.unit
    await given(other, suspended(runs[1].record, later), suspended(runs[2].record, None))
    await place.pass_time(2 * place.unit)
    same(ids(await take(place, other)), ["a"], "claim after three leases ended, where only 'a' is due")


@proves(22, needs=("caller_clock",))
async def a_lease_ends_at_the_exact_microsecond(place: Place) -> None:
    """At the end of its lease a due run is claimed; one that wakes later, at its wake time."""
    store = await place.open()
    now = place.now
    second = due_run(place, "b")
    await given(store, due_run(place, "a"), second)
    await given(store, suspended(second.record, now, lease=LeaseChange("t", "x", now + 10)))
    await given(store, created("c", at=now, wake_at=now + 20, lease=LeaseChange("t", "x", now + 10)))
    await take_one(place, store, "a", units=1)
    end = now + place.unit
    for moment, expected in ((now + 9, []), (now + 10, ["b"]), (now + 19, []), (now + 20, ["c"])):
        claims = await store.claim(owner="y", now=moment, lease=10 * place.unit, limit=9)
        same(ids(claims), expected, f"claim {moment - now} µs on: 'b' is due after 10 µs, 'c' after 20 µs")
    same(ids(await store.claim(owner="y", now=end, lease=9, limit=9)), ["a"], "claim when a lease ends")


@proves(23)
async def an_older_claim_cannot_extend_or_release(place: Place) -> None:
    """Once a run was claimed again, the earlier holder is told False, and the later one keeps its lease."""
    store, other = await place.open_many(2)
    await given(store, due_run(place, "a"))
    old = await take_one(place, store, "a", owner="worker", units=1)
    await place.pass_time(2 * place.unit)
    new = await take_one(place, other, "a", owner="worker")
    for handle in (store, other):
        said = "by an earlier claim, after a later one"
        same(await handle.extend(old, place.now + 900 * place.unit), False, f"extend {said}")
        same(await handle.release(old), False, f"release {said}")
        same(ids(await take(place, handle)), [], f"claim after an extend and a release {said}")
    same(await other.extend(new, place.now + 200 * place.unit), True, "extend by the later claim")
    same(await other.release(new), True, "release by the later claim")
    same(ids(await take(place, store)), ["a"], "claim after the release by the later claim")


@proves(23)
async def an_older_claim_cannot_move_the_end_of_a_later_one(place: Place) -> None:
    """What an earlier holder asks for leaves the end of the later lease where it is."""
    store, other = await place.open_many(2)
    await given(store, due_run(place, "a"))
    old = await take_one(place, store, "a", units=1)
    await place.pass_time(2 * place.unit)
    await take_one(place, other, "a", units=1)
    same(await store.extend(old, place.now + 900 * place.unit), False, "extend by an earlier claim")
    await place.pass_time(2 * place.unit)
    same(ids(await take(place, store)), ["a"], "claim after the later lease has ended")


@proves(23)
async def a_lease_that_was_given_back_is_nobodys(place: Place) -> None:
    """After a release, by call or by append, the claim neither extends nor releases any more."""
    store, other = await place.open_many(2)
    await given(store, due_run(place, "a"), due_run(place, "b"))
    by_call, by_append = await take_one(place, store, "a"), await take_one(place, store, "b")
    same(await store.release(by_call), True, "release by the holder")
    gone = LeaseChange(by_append.token, by_append.owner, None)
    await given(store, after(by_append.record, lease=gone))
    for claim in (by_call, by_append):
        same(await store.extend(claim, place.now + 900 * place.unit), False, "extend after a release")
        same(await store.release(claim), False, "a second release")
    same(sorted(ids(await take(place, other))), ["a", "b"], "claim after the releases")


@proves(23)
async def a_token_decides_and_not_an_owner(place: Place) -> None:
    """A claim that names the run and the owner, but another token, is not the holder's."""
    store, other = await place.open_many(2)
    await given(store, due_run(place, "a"))
    claim = await take_one(place, store, "a")
    for token in ("x", claim.token + "0", claim.token[:-1] or "y"):
        forged = replace(claim, token=token)
        same(await store.extend(forged, place.now + place.unit), False, f"extend with token {token!r}")
        same(await store.release(forged), False, f"release with token {token!r}")
    same(ids(await take(place, other)), [], "claim after releases with other tokens")
    same(await store.release(claim), True, "release by the holder")


@proves(23)
async def a_holder_may_use_any_handle(place: Place) -> None:
    """A claim extends and releases on a handle that did not make it, even where an append took the lease."""
    store, other = await place.open_many(2)
    until = place.now + 100 * place.unit
    first = due_run(place, "a", lease=LeaseChange("t", "driver", until))
    await given(store, first, due_run(place, "b"))
    by_append = Claim("a", "driver", "t", until, first.record)
    for claim in (by_append, await take_one(place, store, "b")):
        same(await other.extend(claim, until + place.unit), True, "extend by the holder on another handle")
        same(
            ids(await take(place, store, run_id=claim.run_id)), [], "claim of a run whose lease was extended"
        )
        same(await other.release(claim), True, "release by the holder on another handle")
        same(ids(await take(place, store, run_id=claim.run_id)), [claim.run_id], "claim after that release")


@proves(23)
async def a_claim_ends_with_its_run(place: Place) -> None:
    """After a delete, and after another run has got the id, a claim of the old run is told False."""
    store, other = await place.open_many(2)
    await given(store, due_run(place, "a"))
    claim = await take_one(place, store, "a")
    await other.delete("a", expected=1)
    later = place.now + 900 * place.unit
    same(await store.extend(claim, later), False, "extend after the run was deleted")
    same(await store.release(claim), False, "release after the run was deleted")
    await given(other, due_run(place, "a", incarnation="i2"))
    same(await store.extend(claim, later), False, "extend after another run got the id")
    same(ids(await take(place, other)), ["a"], "claim of the new run")
    same(await store.release(claim), False, "release after another run got the id and was claimed")
    same(ids(await take(place, store)), [], "claim of the new run, which is leased")


@proves(58)
async def an_append_between_claim_and_release_is_not_lost(place: Place) -> None:
    """An answer that arrives while its run is leased makes the run due again once the lease is released."""
    store, other = await place.open_many(2)
    first = due_run(place, "a")
    await given(store, first)
    claim = await take_one(place, store, "a")
    waiting = suspended(first.record, None)
    await given(store, waiting)
    answer = after(waiting.record, encode_body(HookReceived("h"), place.now - place.unit))
    await given(other, answer)
    same(ids(await take(place, other)), [], "claim while the lease runs, after an append from outside")
    same(await store.extend(claim, place.now + 200 * place.unit), True, "extend after an append from outside")
    same(await store.release(claim), True, "release after an append from outside")
    again = await take(place, other)
    same(ids(again), ["a"], "claim after the release of a run that an append from outside made due")
    same(again[0].record, answer.record, "record of that claim")


@proves(58)
async def a_wake_time_set_during_a_lease_counts_after_it(place: Place) -> None:
    """After the release a run is due when its last append says: now, later or never."""
    store, other = await place.open_many(2)
    runs = [due_run(place, name) for name in ("now", "later", "never")]
    await given(store, *runs)
    claims = [await take_one(place, store, run.run_id) for run in runs]
    wakes = [place.now - 2 * place.unit, place.now + 10**6 * place.unit, None]
    await given(other, *[suspended(run.record, wake) for run, wake in zip(runs, wakes, strict=True)])
    for claim in claims:
        same(await store.release(claim), True, "release after an append from outside")
    same(ids(await take(place, other)), ["now"], "claim after releases, by the wake times set meanwhile")
    await given(other, resumed(suspended(runs[2].record, None).record, at=place.now - place.unit))
    same(ids(await take(place, store)), ["never"], "claim of a run that waited until an append woke it")
