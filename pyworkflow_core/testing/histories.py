"""Logs that checks write, and what of them a store has: whole appends, or the law is broken."""

from __future__ import annotations

from collections.abc import Sequence

from ..storage import Append, Committed, StorageBackend
from .appends import after, created, noted
from .broken import holds, same

_LOOKS = 20


def grown(run_id: str, *sizes: int, at: int = 0) -> list[Append]:
    """The appends that create a run and then add so many events each. No two events are alike.

    Args:
        run_id: the run.
        *sizes: events of each append after the one that creates the run.
        at: when all of it happens; also the run's wake time.
    """
    history = [created(run_id, at=at)]
    for size in sizes:
        record = history[-1].record
        bodies = [noted(f'{{"of":"{run_id}","n":{record.head + n}}}', at=at) for n in range(1, size + 1)]
        history.append(after(record, *bodies))
    return history


def committed(appends: Sequence[Append]) -> list[Committed]:
    """The answers to appends that are all in the log."""
    return [Committed(append.run_id, append.record.head) for append in appends]


async def count_stored(store: StorageBackend, history: Sequence[Append], when: str) -> int:
    """How many appends of a run's `history` the store has.

    Args:
        store: a handle.
        history: all appends of one run that anybody may have made, in order.
        when: what happened before, for the message.

    Raises:
        LawBroken: it has other events, a part of an append, or a record of another moment.
    """
    run_id = history[0].run_id
    written = [event for append in history for event in append.events]
    for _ in range(_LOOKS):  # a server may still be doing what it was asked to before a crash
        events = await store.read(run_id)
        record = await store.get(run_id)
        if await store.read(run_id) == events:
            break
    same(events, written[: len(events)], f"{when}, read of run {run_id!r}")
    heads = [0, *(append.record.head for append in history)]
    holds(
        len(events) in heads,
        f"{when}, run {run_id!r} has {len(events)} events, a part of an append: whole appends end at {heads}",
    )
    count = heads.index(len(events))
    expected = history[count - 1].record if count else None
    same(record, expected, f"{when}, record of run {run_id!r}, whose log has {len(events)} events")
    return count
