"""Runs without a log: driven from their beginning to their end within one call of `start`.

A transient run has a storage of its own in memory, which goes when `start` returns. So it is
driven by the same code as any other, and its children and successors with it. What differs is
that nothing may leave memory, because nobody could take it up again.
"""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections.abc import AsyncIterator
from typing import Any

from pyworkflow_core.errors import ConfigurationError
from pyworkflow_core.record import RunStatus
from pyworkflow_core.storage import StorageBackend

from ..config import get_config, get_storage, opened_storage
from ..definitions import SYSTEM, WorkflowDefinition
from ..storage.memory import InMemoryStorageBackend
from .engine import Engine, engine_for, forget_engine, use_engine

PREFIX = "transient_"


class TransientRun(str):
    """The id of a run that had no log. All that is left of the run is here.

    Attributes:
        status: how it ended: completed, or cancelled.
        result: what the workflow returned.
    """

    __slots__ = ("result", "status")

    status: RunStatus
    result: Any


def is_transient(definition: WorkflowDefinition[Any, Any], durable: bool | None) -> bool:
    """Whether a run is to have no log: what `start` was told, then the workflow, then the configuration."""
    default = get_config().default_durable or definition.name.startswith(SYSTEM)
    return not next(d for d in (durable, definition.durable, default) if d is not None)


def refuse_without_a_log(definition: WorkflowDefinition[Any, Any], **options: Any) -> None:
    """Refuse options of `start` that mean something to a log only.

    Raises:
        ConfigurationError: one of them is given.
    """
    for name, value in options.items():
        if value is not None:
            raise ConfigurationError(
                f"workflow {definition.name!r}: {name} needs a log, and this run has none (durable=False): "
                f"it begins and ends within this call of start(). Leave {name} out, or say durable=True."
            )


@contextlib.asynccontextmanager
async def transient_engine(storage: StorageBackend | str | None) -> AsyncIterator[Engine]:
    """An engine with a storage of its own, and with the clock and the ids of the configured one's."""
    place = InMemoryStorageBackend()
    known = opened_storage(storage)
    if known is None:
        engine = Engine(place)
    else:
        base = engine_for(known)
        engine = Engine(
            place,
            clock=base.clock,
            ids=base.ids,
            rng=base.rng,
            codec=base.codec,
            settings=base.settings,
        )
    engine.transient = True
    use_engine(engine)
    here = _here.setdefault(asyncio.get_running_loop(), [])
    here.append(engine)
    try:
        yield engine
    finally:
        # Not closed: somebody may still be on the way to look at how it ended.
        here.remove(engine)
        forget_engine(engine)


async def to_its_end(engine: Engine, run_id: str, task: asyncio.Task[None]) -> TransientRun:
    """Wait until a transient run has ended; ask it to stop if that is cut off.

    Raises:
        Exception: whatever the workflow function raised.
    """
    from .external import cancel_workflow
    from .results import record_of, result_of

    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        if not task.done():
            # Nobody will take it up again, so it cleans up now; a second cancellation cuts that off.
            await cancel_workflow(run_id, "start() was cancelled", storage=engine.storage)
            with contextlib.suppress(Exception):
                await task
        raise
    record = await record_of(engine, run_id)
    run = TransientRun(run_id)
    run.status = record.status
    run.result = await result_of(engine, record)
    return run


def engine_of(run_id: str, storage: StorageBackend | str | None) -> Engine:
    """The engine that has the run: a transient one's, if it is under way here, or that of the storage."""
    for engine in transient_engines():
        if run_id in engine.live:
            return engine
    return engine_for(get_storage(storage))


def transient_engines() -> list[Engine]:
    """Those of the transient runs that this event loop drives."""
    return list(_here.get(asyncio.get_running_loop(), ()))


def plain_id(run_id: str) -> str:
    """The id as storages take it."""
    return str(run_id) if isinstance(run_id, TransientRun) else run_id


def why_not_found(run_id: str) -> str:
    """What to say of an id that no run has, where that is known."""
    if isinstance(run_id, str) and run_id.startswith(PREFIX):
        return "; it was started with durable=False, and such a run leaves nothing behind"
    return ""


_here: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, list[Engine]] = weakref.WeakKeyDictionary()
