"""Checks of appends that are made within a transaction of the user's own."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

from msgspec.structs import replace

from ...errors import StorageUnavailable
from ...storage import Append, Conflict, LeaseChange, StorageBackend
from ..appends import after, created
from ..broken import LawBroken, NotChecked, holds, same
from ..histories import committed, count_stored, grown
from ..place import Place
from .registry import proves

_GLANCE = 2.0
T = TypeVar("T")


class Undo(Exception):
    """Raised within a transaction to undo it."""


def transaction_of(place: Place, store: StorageBackend) -> AbstractAsyncContextManager[Any]:
    """A transaction of the user's own.

    Raises:
        NotChecked: the subject makes none.
    """
    transaction = place.subject.transaction(store)
    if transaction is None:
        raise NotChecked("define transaction(store) on the subject: a context manager of what within= takes")
    return transaction


async def commit_within(store: StorageBackend, appends: Sequence[Append], within: Any) -> None:
    """Commit appends within a transaction, and break the law if one of them is not committed."""
    answers = await store.commit(appends, within=within)
    same(answers, committed(appends), "a commit within a transaction")


async def glance(call: Coroutine[Any, Any, T]) -> T | None:
    """What another handle is answered while a transaction is open; None if it has to wait for its end."""
    try:
        return await asyncio.wait_for(call, _GLANCE)
    except (TimeoutError, StorageUnavailable):
        return None


async def check_absent(place: Place, store: StorageBackend, run_id: str, when: str) -> None:
    """Break the law if there is anything of a run."""
    same(await store.read(run_id), [], f"{when}: read")
    same(await store.get(run_id), None, f"{when}: get")
    same([record.run_id for record in await store.list_runs()], [], f"{when}: runs that are listed")
    claims = await store.claim(owner="o", now=place.now, lease=place.unit)
    same([claim.run_id for claim in claims], [], f"{when}: runs that are due")
    if store.capabilities.feed:
        same((await store.feed()).events, [], f"{when}: events in the feed")


# ---- the law ---------------------------------------------------------------------------


@proves(60)
async def an_append_appears_with_its_transaction(place: Place) -> None:
    """What is committed within a transaction is seen by others when it ends, and not before."""
    store, other = await place.open_many(2)
    history = grown("a", 3, at=place.now)
    async with transaction_of(place, store) as within:
        await commit_within(store, history[:1], within)
        holds(not await glance(other.read("a")), "another handle sees events before the transaction ends")
        await commit_within(store, history[1:], within)
        holds(not await glance(other.read("a")), "another handle sees events before the transaction ends")
    for handle in (other, store):
        same(await count_stored(handle, history, "after the transaction"), 2, "appends after a transaction")
    (claim,) = await other.claim(owner="o", now=place.now, lease=place.unit)
    same(claim.run_id, "a", "the run that is due after the transaction")
    same(await store.commit(history[1:]), committed(history[1:]), "resubmission after the transaction")


@proves(60)
async def an_append_is_gone_with_its_transaction(place: Place) -> None:
    """What is committed within a transaction that fails leaves nothing, and can be committed again."""
    store, other = await place.open_many(2)
    history = grown("a", 3, at=place.now)
    try:
        async with transaction_of(place, store) as within:
            for append in history:
                await commit_within(store, [append], within)
            raise Undo
    except Undo:
        pass
    for handle in (other, store):
        await check_absent(place, handle, "a", "a transaction with two appends was undone")
    for append in history:
        same(await store.commit([append]), committed([append]), "the same append after the transaction")
    same(await count_stored(other, history, "after it was committed again"), 2, "appends of the run")


@proves(60)
async def an_undone_append_leaves_the_run_as_it_was(place: Place) -> None:
    """An append to a run that was there is undone with its transaction; what was there stays."""
    store, other = await place.open_many(2)
    history = grown("a", 3, 2, at=place.now)
    same(await store.commit(history[:1]), committed(history[:1]), "a commit before the transaction")
    try:
        async with transaction_of(place, store) as within:
            lease = LeaseChange("token", "owner", place.now + 100 * place.unit)
            await commit_within(store, [replace(history[1], lease=lease)], within)
            raise Undo
    except Undo:
        pass
    for handle in (other, store):
        same(await count_stored(handle, history, "after an undone transaction"), 1, "appends of the run")
    claims = await other.claim(owner="o", now=place.now, lease=place.unit)
    same([claim.run_id for claim in claims], ["a"], "runs that can be claimed, the append's lease undone")
    rival = after(history[0].record, prefix="rival")
    same(await other.commit([rival]), committed([rival]), "another append, where the undone one would be")


@proves(60)
async def a_conflict_within_a_transaction_is_an_answer(place: Place) -> None:
    """Within a transaction a stale append is a `Conflict`, and the transaction goes on without it."""
    store, other = await place.open_many(2)
    first, second = grown("a", 1, at=place.now)
    for append in (first, second):
        same(await store.commit([append]), committed([append]), "a commit before the transaction")
    stale, new = after(first.record, prefix="stale"), created("b", at=place.now)
    async with transaction_of(place, store) as within:
        answers = await store.commit([stale, new], within=within)
        same(answers, [Conflict("a", 2), *committed([new])], "a stale append and a good one in a transaction")
        further = after(new.record)
        await commit_within(store, [further], within)
    same(await count_stored(other, [first, second], "after the transaction"), 2, "appends of the stale run")
    same(await count_stored(other, [new, further], "after the transaction"), 2, "appends of the good run")


@proves(60)
async def a_transaction_that_meets_a_rival_is_whole_or_gone(place: Place) -> None:
    """Where somebody else comes between, all of a transaction's appends are there, or none of them."""
    store, other = await place.open_many(2)
    histories = [grown(run_id, 2, at=place.now) for run_id in ("a", "b")]
    for first, _ in histories:
        same(await store.commit([first]), committed([first]), "a commit before the transaction")
    ended = False
    try:
        async with transaction_of(place, store) as within:
            await commit_within(store, [second for _, second in histories], within)
            rival = after(histories[0][0].record, prefix="rival")
            rivals = await glance(other.commit([rival]))
        ended = True
    except Exception:
        pass  # it cannot be made any more, and says so
    won = rivals == committed([rival])
    histories[0] = [histories[0][0], rival] if won else histories[0]
    counts = [await count_stored(other, history, "after both") for history in histories]
    expected = [2, 1] if won else [2, 2] if ended else [1, 1]
    same(
        counts,
        expected,
        f"appends of the runs after a transaction that {'ended well' if ended else 'failed'}",
    )


# ---- where it is not declared ------------------------------------------------------------


@proves(60, absent=True)
async def transactions_that_are_not_declared_are_not_there(place: Place) -> None:
    """A backend that does not declare transactions refuses to commit within one."""
    store, other = await place.open_many(2)
    first = created("a", at=place.now)
    transaction = place.subject.transaction(store)
    try:
        if transaction is None:
            await store.commit([first], within=object())
        else:
            async with transaction as within:
                await store._commit([first], within)
                raise Undo
    except Undo:
        undone = await other.read("a") == []
        holds(not undone, "transactions work, and are not declared: say transactions=True")
    except Exception:
        pass  # it refuses
    else:
        raise LawBroken("commit took a transaction, though the backend declares none: events would be lost")
    second = created("b")
    same(await store.commit([second]), committed([second]), "a commit without a transaction")
