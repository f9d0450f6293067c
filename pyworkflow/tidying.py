"""What a worker does besides driving runs: it deletes what its workflows' `retention` says."""

from __future__ import annotations

import asyncio
import logging

from pyworkflow_core.errors import StorageClosed, StorageError

from .engine.clock import wait_until
from .engine.engine import SECOND, Engine
from .pruning import pruned, retentions

log = logging.getLogger("pyworkflow.worker")

HOUR = 3600 * SECOND


def begin_tidying(engine: Engine) -> asyncio.Task[None] | None:
    """Prune by retention once an hour from now on; None if no workflow defined here has a retention."""
    if not retentions():
        return None
    return asyncio.get_running_loop().create_task(_keep_tidy(engine), name="pyworkflow-tidy")


async def _keep_tidy(engine: Engine) -> None:
    # Workers that were started together need not look through the storage together.
    look = engine.clock.now() + round(engine.rng.random() * HOUR)
    while True:
        await wait_until(engine.clock, look)
        look = engine.clock.now() + HOUR
        runs = 0
        try:
            async for count in pruned(engine, None, by_retention=True):
                runs += count
        except StorageClosed:
            return
        except StorageError as error:
            log.warning("runs past their retention were not all deleted: %s; trying again in an hour", error)
        if runs:
            log.info("deleted %d runs past their retention", runs)
