"""Deleting runs: one, or a whole family. What goes on is ended first, and only if that was asked for."""

from __future__ import annotations

from collections.abc import AsyncIterator

from pyworkflow_core.payloads import CancellationRequested, Payload, WorkflowCancelled
from pyworkflow_core.record import RunRecord, RunStatus
from pyworkflow_core.storage import RunQuery, StorageBackend

from ..config import get_storage
from ..errors import DeleteRefusedError, WorkflowNotFoundError
from .engine import Engine, engine_for
from .history import envelopes_of
from .outbox import debts_of, pay
from .outside import append_outside, end_of_chain
from .tokens import forget_tokens

_PAGE = 500
_DELETED = "the run was deleted"


async def delete_workflow_run(
    run_id: str,
    *,
    family: bool = False,
    force: bool = False,
    storage: StorageBackend | str | None = None,
) -> int:
    """Delete a run: its log, its record, everything. The id and its idempotency key are free again.

    Args:
        run_id: the run.
        family: with all runs of its chain, and with the children of each, whatever their depth.
        force: also if it, or one of the family, has not ended. That one is cancelled first, without the
            clean-up that its code would do; its parent is told, and its children are asked to stop.
        storage: where the run's log is; the configured one unless given.

    Returns:
        How many runs were deleted.

    Raises:
        WorkflowNotFoundError: there is no such run.
        DeleteRefusedError: one has not ended, or its family has not been told so yet; the error names it.
    """
    engine = engine_for(get_storage(storage))
    record = await engine.storage.get(run_id)
    if record is None or not record.workflow:
        raise WorkflowNotFoundError(f"there is no run {run_id!r} in {engine.storage!r}; nothing was deleted")
    doomed = [record]
    if family:
        head = await first_of_chain(engine.storage, record)
        if force:  # from above, so that nothing of it starts another while it is deleted
            async for one in family_of(engine.storage, head):
                await _end(engine, one)
        doomed = [one async for one in family_of(engine.storage, head)]
    elif not force and record.status is RunStatus.CONTINUED_AS_NEW:
        after = await end_of_chain(engine, run_id)
        if after is not None and not after.status.is_terminal:
            raise DeleteRefusedError(
                f"run {run_id!r} goes on as run {after.run_id!r}, which is {after.status}: whoever knows the "
                "first one would not find it any more. Delete the family once it has ended, or use force.",
                run_id,
            )
    if not force:
        for one in doomed:
            _check_ended(one)
    deleted = 0
    # The one that was named, and the first of a chain, last: then a delete that was cut off can be repeated.
    for one in reversed(doomed):
        deleted += await _delete(engine, one, force)
    return deleted


async def family_of(storage: StorageBackend, head: RunRecord) -> AsyncIterator[RunRecord]:
    """The run, what continues it, and the children of each; whoever follows from another comes behind it."""
    seen: set[str] = set()
    todo = [head]
    while todo:
        record = todo.pop()
        if record.run_id in seen:
            continue
        seen.add(record.run_id)
        yield record
        detail = record.detail
        if detail.continued_to is not None:
            successor = await storage.get(detail.continued_to)
            if successor is not None:
                todo.append(successor)
        if detail.children:
            cursor: str | None = None
            while True:
                page = await storage.find(RunQuery(parent=record.run_id), cursor=cursor, limit=_PAGE)
                todo += page.records
                cursor = page.cursor
                if cursor is None:
                    break


async def first_of_chain(storage: StorageBackend, record: RunRecord) -> RunRecord:
    """The run with which the chain of this one begins, as far as it was not deleted."""
    while (before := record.detail.continued_from) is not None:
        found = await storage.get(before)
        if found is None:
            break
        record = found
    return record


def _check_ended(record: RunRecord) -> None:
    if not record.status.is_terminal:
        raise DeleteRefusedError(
            f"run {record.run_id!r} is {record.status}: cancel it and wait for its end, or use force",
            record.run_id,
        )
    if record.detail.owes:
        raise DeleteRefusedError(
            f"run {record.run_id!r} has ended, and its family does not know yet: let a worker run, or call "
            "'resume', or use force",
            record.run_id,
        )


async def _delete(engine: Engine, record: RunRecord, force: bool) -> bool:
    """Delete one run; False if it is gone already."""
    found: RunRecord | None = record
    while found is not None and found.incarnation == record.incarnation:
        if force:
            found = await _end(engine, found)
        else:
            _check_ended(found)
        if found is not None:
            try:
                await forget_tokens(engine, found)
                await engine.storage.delete(found.run_id, expected=found.head)
            except ValueError:  # somebody appended
                pass
            else:
                engine.notify(found.run_id)
                return True
        found = await engine.storage.get(record.run_id)
    return False


async def _end(engine: Engine, record: RunRecord) -> RunRecord | None:
    """End a run that has not ended, and pay what it owes; None if somebody appended meanwhile."""
    if not record.status.is_terminal:
        payloads: list[Payload] = [CancellationRequested(_DELETED), WorkflowCancelled(_DELETED)]
        if not await append_outside(engine, record, payloads):
            return None
    ended = await engine.storage.get(record.run_id)
    if ended is not None and ended.detail.owes:
        # Not by an errand: somebody who drove the run may hold its lease for a while.
        history = envelopes_of(await engine.storage.read(ended.run_id, limit=ended.head))
        await pay(engine, debts_of(engine, ended.run_id, ((e.at, e.data) for e in history)))
    return ended
