"""The worker: claims due runs from a storage and drives a bounded number of them at once."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Callable, Sequence

from pyworkflow_core.errors import ConfigurationError, StorageClosed, StorageError
from pyworkflow_core.storage import Claim, StorageBackend

from ..config import get_storage
from ..durations import Duration, to_duration
from ..engine.engine import SECOND, Engine, engine_for
from ..schedules.plan import QUEUE as SCHEDULES
from ..tidying import begin_tidying
from .backoff import Backoff
from .cache import Cache
from .driving import Driving
from .gate import Gate
from .stats import WorkerHealth, WorkerStats
from .tally import Tally

log = logging.getLogger("pyworkflow.worker")

_LISTEN = 30 * SECOND
_BETWEEN_HINTS = 0.01


class Worker:
    """Takes due runs and drives them: sleeps that end, retries, answered hooks, runs of dead processes.

    Any number of workers on any number of machines may serve one storage. Where the storage pushes,
    a run that others make due is taken up at once; elsewhere at the next look. Of a queue with
    limits (`configure_queue`) all workers together drive no more than they allow.

    While the storage is away a worker tries again, ever more seldom, and goes on when it is back.

    Args:
        storage: a backend or a URL; the configured one unless given.
        queues: only runs of these queues, and schedules; every queue unless given.
        concurrency: how many runs at once.
        poll_interval: how often to look for due runs when nothing says that there are some.
        engine: the engine to use; a test injects its clock this way.
        once: return as soon as no run is due and none is driven.
        cache: how many suspended runs stay in memory, so that they go on without a replay; none
            unless given. It costs their memory; the log is the truth all the same.
        on_stats: called with the worker's `WorkerStats` after each look for due runs, to pass them on
            to a monitor.
    """

    def __init__(
        self,
        storage: StorageBackend | str | None = None,
        *,
        queues: Sequence[str] | None = None,
        concurrency: int = 100,
        poll_interval: Duration = 1.0,
        engine: Engine | None = None,
        once: bool = False,
        cache: int = 0,
        on_stats: Callable[[WorkerStats], object] | None = None,
    ) -> None:
        if concurrency < 1:
            raise ConfigurationError(f"a worker's concurrency is 1 or more, not {concurrency}")
        if isinstance(cache, bool) or not isinstance(cache, int) or cache < 0:
            raise ConfigurationError(f"cache is a number of runs, 0 for none, not {cache!r}")
        if isinstance(queues, str):
            raise ConfigurationError(f"queues is a list of names, such as [{queues!r}]")
        self._storage = storage
        self._engine = engine
        self._queues = None if queues is None else [*queues, SCHEDULES]  # which every process can drive
        self._concurrency = concurrency
        self._poll = max(to_duration(poll_interval, "poll_interval"), 1_000)
        self._once = once
        self._on_stats = on_stats
        self._tally = Tally()
        self._cache = Cache(cache)
        self._work: tuple[Engine, Gate, Driving, Backoff] | None = None
        self._stopping = False
        self._wake: asyncio.Event | None = None
        self._next_try = 0

    @property
    def driven(self) -> int:
        """Runs taken up so far."""
        return self._tally.claimed

    def stats(self) -> WorkerStats:
        """The worker's counts, as they are now."""
        if self._work is None:
            return self._tally.stats(running=0, waiting=0, cached=0)
        _, gate, driving, _ = self._work
        return self._tally.stats(running=len(driving.tasks), waiting=gate.waiting, cached=len(self._cache))

    def health(self) -> WorkerHealth:
        """Whether the worker does its work."""
        return self._tally.health(self.stats())

    async def run(self) -> None:
        """Work until `stop` is called or the task is cancelled; then let steps end, and suspend.

        Raises:
            StorageError: the storage cannot be used at all, at the start. Later outages are
                logged and waited out.
        """
        engine = self._engine = self._engine or engine_for(get_storage(self._storage))
        self._wake = asyncio.Event()
        self._tally.begin(engine.owner_name, engine.clock.now())
        gate = Gate(engine, self._queues, self._claim)
        driving = Driving(engine, gate, self._tally, self._cache)
        self._work = engine, gate, driving, Backoff(engine.rng)
        try:
            await engine.storage.open()
            await self._serve(engine, driving)
        finally:
            self._tally.turn("stopping", engine.clock.now())
            self.stop()
            await driving.drain()
            self._cache.evict()
            await self._close(gate)
            self._stopping = False
            self._tally.turn("stopped", engine.clock.now())
            self._tell_stats()

    def stop(self) -> None:
        """Claim nothing more; let the steps under way end, suspend their runs, and return."""
        self._stopping = True
        if self._work is not None:
            self._work[2].stop()
        if self._wake is not None:
            self._wake.set()

    def evict(self, run_id: str | None = None) -> int:
        """Drop a suspended run from memory, or all of them; they go on from their logs.

        Returns:
            How many runs were dropped.
        """
        return self._cache.evict(run_id)

    def run_until_signal(self) -> None:
        """`run` in an event loop of its own, until SIGTERM or SIGINT. A second signal cuts steps off."""

        async def main() -> None:
            loop = asyncio.get_running_loop()
            task = asyncio.current_task()
            assert task is not None

            def on_signal() -> None:
                if self._stopping:
                    task.cancel()
                else:
                    log.info("stopping: letting %d runs come to rest", self.stats().running)
                    self.stop()

            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, on_signal)
            await self.run()

        with contextlib.suppress(asyncio.CancelledError):
            asyncio.run(main())

    async def _serve(self, engine: Engine, driving: Driving) -> None:
        # Before the first claim, so that nothing falls between the two.
        beside = [self._begin_to_listen(engine), None if self._once else begin_tidying(engine)]
        try:
            while not self._stopping:
                claimed = await self._take()
                self._tell_stats()
                if self._once and not claimed and not driving.tasks:
                    return
                if not self._stopping:
                    await self._rest(claimed)
        finally:
            tasks = [task for task in beside if task is not None]
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks)

    def _begin_to_listen(self, engine: Engine) -> asyncio.Task[None] | None:
        if self._once or not engine.storage.capabilities.push:
            return None
        return asyncio.get_running_loop().create_task(self._listen(engine), name="pyworkflow-listen")

    async def _listen(self, engine: Engine) -> None:
        """Look whenever the storage says that a run may be due. The regular look stays beneath."""
        assert self._wake is not None
        backoff = Backoff(engine.rng)
        while True:
            try:
                await engine.storage.wait(_LISTEN)
            except StorageClosed:
                return  # the next claim says so
            except StorageError:
                # A claim meets the same, and logs it.
                await asyncio.sleep(min(backoff.next(), self._poll) / 1e6)
                continue
            backoff.reset()
            self._wake.set()
            # A burst of hints is one look, which takes all that is due.
            await asyncio.sleep(_BETWEEN_HINTS)

    async def _take(self) -> int:
        """Take up what is due; how many runs that were."""
        assert self._work is not None
        engine, gate, driving, backoff = self._work
        free = self._concurrency - len(driving.tasks)
        if free <= 0:
            return 0
        try:
            claims = await gate.claim(free)
        except StorageClosed:
            raise  # it will not come back
        except StorageError as error:
            now = engine.clock.now()
            self._tally.count("storage_errors")
            self._tally.turn("storage_away", now, str(error))
            engine.note_outage(error)
            self._next_try = now + backoff.next()
            return 0
        if backoff.failures:
            log.info("the storage is back, after %d tries", backoff.failures)
            backoff.reset()
        now = engine.clock.now()
        self._tally.turn("ok", now)
        self._tally.answered(claims, now)
        for claim in claims:
            driving.begin(claim).add_done_callback(self._ended)
        return len(claims)

    async def _claim(
        self, limit: int, queues: Sequence[str] | None, run_id: str | None = None
    ) -> list[Claim]:
        engine = self._engine
        assert engine is not None
        return await engine.storage.claim(
            owner=engine.owner_name,
            now=engine.clock.now(),
            lease=engine.settings.lease,
            limit=limit,
            queues=queues,
            run_id=run_id,
        )

    def _ended(self, task: asyncio.Task[None]) -> None:
        if self._wake is not None:
            self._wake.set()

    async def _rest(self, claimed: int) -> None:
        """Until something ends, something known becomes due, or it is time to look again."""
        assert self._work is not None
        engine, gate, driving, backoff = self._work
        if backoff.failures:
            # Whatever else happens meanwhile: a storage that is away is left alone for so long.
            while not self._stopping and engine.clock.now() < self._next_try:
                await self._pause(engine, self._next_try)
            return
        if claimed and len(driving.tasks) < self._concurrency:
            await asyncio.sleep(0)
            if claimed >= self._concurrency // 2:
                return
        now = engine.clock.now()
        looks = [now + self._poll, *(t for t in (driving.next_wake, gate.next_look) if t)]
        if driving.next_wake <= now:
            driving.next_wake = 0
        await self._pause(engine, max(min(looks), now))

    async def _pause(self, engine: Engine, until: int) -> None:
        assert self._wake is not None
        alarm = engine.clock.call_at(until, self._wake.set)
        try:
            await self._wake.wait()
        finally:
            alarm.cancel()
        self._wake.clear()

    async def _close(self, gate: Gate) -> None:
        try:
            await gate.close()
        except StorageError as error:
            log.warning("slots and runs could not be given back, and others find them: %s", error)

    def _tell_stats(self) -> None:
        if self._on_stats is not None:
            try:
                self._on_stats(self.stats())
            except Exception:
                log.exception("on_stats failed; the worker goes on")
