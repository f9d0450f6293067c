"""`LocalScheduler`: schedules and their runs, driven in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from pyworkflow_core.storage import StorageBackend

from ..config import get_storage
from ..durations import Duration, to_duration
from ..engine.clock import wait_until
from ..engine.engine import Engine, engine_for
from ..workers import Worker


class LocalScheduler:
    """Drives schedules and whatever they start. Any number of them may serve one storage.

    It is a `Worker` that can be run for a while: other runs that are due are driven as well. Where
    workers run anyway, they drive the schedules too, and this is not needed.

    Args:
        storage: a backend or a URL; the configured one unless given.
        poll_interval: how often to look for what other processes have made due.
        queues: only runs of these queues, and schedules; every queue unless given.
        concurrency: how many runs at once.
        engine: the engine to use; a test injects its clock this way.
    """

    def __init__(
        self,
        storage: StorageBackend | str | None = None,
        poll_interval: Duration = 5.0,
        *,
        queues: Sequence[str] | None = None,
        concurrency: int = 100,
        engine: Engine | None = None,
    ) -> None:
        self._storage = storage
        self._engine = engine
        self._worker = Worker(
            storage, queues=queues, concurrency=concurrency, poll_interval=poll_interval, engine=engine
        )

    @property
    def driven(self) -> int:
        """Runs taken up so far, schedules among them."""
        return self._worker.driven

    async def run(self, duration: Duration | None = None) -> None:
        """Work until `stop` is called, the task is cancelled, or the time is over.

        Args:
            duration: how long; without end unless given.

        Raises:
            StorageError: the storage cannot be used at all, at the start.
        """
        if duration is None:
            await self._worker.run()
            return
        length = to_duration(duration, "duration")
        engine = self._engine or engine_for(get_storage(self._storage))
        ending = asyncio.get_running_loop().create_task(self._end(engine, engine.clock.now() + length))
        try:
            await self._worker.run()
        finally:
            ending.cancel()
            await asyncio.wait([ending])

    def stop(self) -> None:
        """Take nothing more up, let steps under way end, and return from `run`."""
        self._worker.stop()

    async def _end(self, engine: Engine, when: int) -> None:
        while engine.clock.now() < when:  # a long wait may end early
            await wait_until(engine.clock, when)
        self._worker.stop()
