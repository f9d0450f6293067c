"""Checks of appends that are made within a transaction of the user's own."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from ...errors import StorageUnavailable
from ...storage import Append, Conflict, StorageBackend
from ..appends import after, created
from ..broken import LawBroken, NotChecked, holds, same
from ..histories import committed, count_stored, grown
from ..place import Place
from .registry import proves

_GLANCE = 2.0


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


async def glance(store: StorageBackend, run_id: str) -> int:
    """How many events another handle sees, if it can look while the transaction is open."""
    try:
        return len(await asyncio.wait_for(store.read(run_id), _GLANCE))
    except (TimeoutError, StorageUnavailable):
        return 0  # a database that lets nobody read meanwhile


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
        same(await glance(other, "a"), 0, "events that another handle sees before the transaction ends")
        await commit_within(store, history[1:], within)
        same(await glance(other, "a"), 0, "events that another handle sees before the transaction ends")
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
            await commit_within(store, history[1:2], within)
            raise Undo
    except Undo:
        pass
    for handle in (other, store):
        same(await count_stored(handle, history, "after an undone transaction"), 1, "appends of the run")
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
