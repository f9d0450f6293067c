"""Checks of holders: a lease is extended and released by who has it, and by nobody else."""

from __future__ import annotations

from msgspec.structs import replace

from ...storage import Claim, LeaseChange
from ..appends import after
from ..broken import same
from ..place import Place
from .given import due_run, given, ids, take, take_one
from .registry import proves


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
