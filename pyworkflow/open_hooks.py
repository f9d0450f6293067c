"""Looking at hooks: which of them wait for an answer."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from pyworkflow_core.events import from_micros
from pyworkflow_core.record import RunRecord, RunStatus
from pyworkflow_core.replay import public_token
from pyworkflow_core.storage import RunQuery, StorageBackend

from .config import get_storage
from .engine.engine import Engine, engine_for
from .engine.history import envelopes_of
from .engine.hooklog import hooks_of
from .engine.transient import engine_of
from .errors import WorkflowNotFoundError
from .filters import find_all

_OPEN_RUNS = frozenset(status for status in RunStatus if not status.is_terminal)


class HookInfo(Struct, frozen=True, kw_only=True):
    """A hook as its run's log has it.

    Attributes:
        run_id: the run.
        workflow_name: its workflow.
        hook_id: the hook, as ``name#ordinal``; one that a step waits for has ``step#ordinal/`` before it.
        name: the hook's name.
        token: what `resume_hook` takes. Whoever has it can answer.
        status: ``open``, ``received``, ``expired``, ``disposed`` (nobody waits any more) or
            ``refused`` (its token was in use).
        created_at: when it was created.
        expires_at: when its timeout fires; None for never.
        schema: name of the type that answers must fit; empty for any.
    """

    run_id: str
    workflow_name: str
    hook_id: str
    name: str
    token: str
    status: str
    created_at: datetime
    expires_at: datetime | None = None
    schema: str = ""

    def __repr__(self) -> str:
        """Without the token, which would be a secret in a log."""
        return f"<hook {self.hook_id!r} of run {self.run_id!r}, {self.status}>"


async def list_hooks(
    run_id: str | None = None,
    *,
    workflow_name: str | None = None,
    only_open: bool = True,
    limit: int = 100,
    storage: StorageBackend | str | None = None,
) -> list[HookInfo]:
    """The hooks that wait for an answer: of one run, or of all runs, the newest run first.

    Without a run, the logs of all unfinished runs that have hooks are read, until `limit` is reached.

    Args:
        run_id: only this run's.
        workflow_name: only runs of this workflow.
        only_open: leave out hooks that were answered, have expired, or that nobody waits for.
        limit: how many at most.
        storage: where the runs are; the configured one unless given.

    Raises:
        WorkflowNotFoundError: there is no such run.
    """
    engine = engine_for(get_storage(storage)) if run_id is None else engine_of(run_id, storage)
    if run_id is not None:
        record = await engine.storage.get(run_id)
        if record is None or not record.workflow:
            raise WorkflowNotFoundError(f"there is no run {run_id!r} in {engine.storage!r}")
        if workflow_name not in {None, record.workflow}:
            return []
        return (await _hooks(engine, record, only_open))[:limit]
    found: list[HookInfo] = []
    query = RunQuery(status=_OPEN_RUNS, workflow=workflow_name)
    async for record in find_all(engine.storage, query):
        if len(found) >= limit:
            break
        if record.detail.hooks:
            found += await _hooks(engine, record, only_open)
    return found[:limit]


async def _hooks(engine: Engine, record: RunRecord, only_open: bool) -> list[HookInfo]:
    if record.status.is_terminal and only_open:
        return []
    history = envelopes_of(await engine.storage.read(record.run_id, limit=record.head))
    now = engine.clock.now()
    found = []
    for state in hooks_of(history).values():
        created, status = state.created, state.status
        if status == "open" and record.status.is_terminal:
            status = "disposed"
        if status == "open" and created.expires_at is not None and created.expires_at <= now:
            status = "expired"
        if status == "open" or not only_open:
            found.append(
                HookInfo(
                    run_id=record.run_id,
                    workflow_name=record.workflow,
                    hook_id=state.hook_id,
                    name=created.hook,
                    token=public_token(record.run_id, created.token),
                    status=status,
                    created_at=from_micros(state.at),
                    expires_at=None if created.expires_at is None else from_micros(created.expires_at),
                    schema=created.schema,
                )
            )
    return found
