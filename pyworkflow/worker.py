"""The worker: claims due runs from a storage and drives a bounded number of them at once."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Sequence

from pyworkflow_core.errors import (
    CodecError,
    ConfigurationError,
    HistoryVersionError,
    NonDeterminismError,
    StorageClosed,
    StorageError,
)
from pyworkflow_core.storage import Claim, StorageBackend

from .config import get_storage
from .durations import Duration, to_duration
from .engine.drive import Drive, RunLost
from .engine.engine import SECOND, Engine, engine_for
from .engine.family import drive_for
from .engine.outbox import Errand
from .errors import WorkflowNotRegisteredError
from .schedules.plan import QUEUE as SCHEDULES

log = logging.getLogger("pyworkflow.worker")

_REPLAY_RETRY = 60 * SECOND
_UNKNOWN_RETRY = 60 * SECOND
_LISTEN = 30 * SECOND
_BETWEEN_HINTS = 0.01


class Worker:
    """Takes due runs and drives them: sleeps that end, retries, answered hooks, runs of dead processes.

    Any number of workers on any number of machines may serve one storage. Where the storage pushes,
    a run that others make due is taken up at once; elsewhere at the next look.

    Args:
        storage: a backend or a URL; the configured one unless given.
        queues: only runs of these queues, and schedules; every queue unless given.
        concurrency: how many runs at once.
        poll_interval: how often to look for due runs when nothing says that there are some.
        engine: the engine to use; a test injects its clock this way.
        once: return as soon as no run is due and none is driven.

    Attributes:
        driven: runs taken up so far.
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
    ) -> None:
        if concurrency < 1:
            raise ConfigurationError(f"a worker's concurrency is 1 or more, not {concurrency}")
        if isinstance(queues, str):
            raise ConfigurationError(f"queues is a list of names, such as [{queues!r}]")
        self._storage = storage
        self._engine = engine
        self._queues = None if queues is None else [*queues, SCHEDULES]  # which every process can drive
        self._concurrency = concurrency
        self._poll = max(to_duration(poll_interval, "poll_interval"), 1_000)
        self._once = once
        self._drives: dict[asyncio.Task[None], Drive | Errand | None] = {}
        self._stopping = False
        self._wake: asyncio.Event | None = None
        self._next_look = 0
        self.driven = 0

    async def run(self) -> None:
        """Work until `stop` is called or the task is cancelled; then let steps end, and suspend.

        Raises:
            StorageError: the storage cannot be used at all, at the start. Later outages are
                logged and waited out.
        """
        engine = self._engine = self._engine or engine_for(get_storage(self._storage))
        self._wake = asyncio.Event()
        await engine.storage.open()
        # Before the first claim, so that nothing falls between the two.
        listening = self._begin_to_listen(engine)
        try:
            while not self._stopping:
                claimed = await self._take(engine)
                if self._once and not claimed and not self._drives:
                    return
                if not self._stopping:
                    await self._rest(engine, claimed)
        finally:
            if listening is not None:
                listening.cancel()
                await asyncio.wait([listening])
            await self._drain(engine)
            self._stopping = False

    def stop(self) -> None:
        """Claim nothing more; let the steps under way end, suspend their runs, and return."""
        self._stopping = True
        for drive in self._drives.values():
            if drive is not None:
                drive.stop("the worker stopped")
        if self._wake is not None:
            self._wake.set()

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
                    log.info("stopping: letting %d runs come to rest", len(self._drives))
                    self.stop()

            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, on_signal)
            await self.run()

        with contextlib.suppress(asyncio.CancelledError):
            asyncio.run(main())

    def _begin_to_listen(self, engine: Engine) -> asyncio.Task[None] | None:
        if self._once or not engine.storage.capabilities.push:
            return None
        return asyncio.get_running_loop().create_task(self._listen(engine), name="pyworkflow-listen")

    async def _listen(self, engine: Engine) -> None:
        """Look whenever the storage says that a run may be due. The regular look stays beneath."""
        assert self._wake is not None
        while True:
            try:
                await engine.storage.wait(_LISTEN)
            except StorageClosed:
                return  # the next claim says so
            except StorageError:
                await asyncio.sleep(self._poll / 1e6)  # a claim meets the same, and logs it
                continue
            self._wake.set()
            # A burst of hints is one look, which takes all that is due.
            await asyncio.sleep(_BETWEEN_HINTS)

    async def _take(self, engine: Engine) -> int:
        free = self._concurrency - len(self._drives)
        if free <= 0:
            return 0
        try:
            claims = await engine.storage.claim(
                owner=engine.owner_name,
                now=engine.clock.now(),
                lease=engine.settings.lease,
                limit=free,
                queues=self._queues,
            )
        except StorageClosed:
            raise  # it will not come back
        except StorageError as error:
            log.warning("no runs could be claimed: %s; trying again", error)
            return 0
        for claim in claims:
            task = asyncio.get_running_loop().create_task(self._drive(engine, claim), name=claim.run_id)
            self._drives[task] = None
            task.add_done_callback(self._ended)
        return len(claims)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._drives.pop(task, None)
        if self._wake is not None:
            self._wake.set()

    async def _drive(self, engine: Engine, claim: Claim) -> None:
        self.driven += 1
        try:
            drive = await drive_for(engine, claim)
        except WorkflowNotRegisteredError as error:
            await self._put_off(engine, claim, error)
            return
        drive.replay_retry = _REPLAY_RETRY
        task = asyncio.current_task()
        assert task is not None
        self._drives[task] = drive
        if self._stopping:
            drive.stop("the worker stopped")
        log.info("run %s: taking up %s", claim.run_id, claim.record.workflow)
        try:
            await drive.run()
        except RunLost as lost:
            log.info("%s", lost)
        except (NonDeterminismError, HistoryVersionError, CodecError) as error:
            log.error("run %s cannot be replayed and stays suspended: %s", claim.run_id, error)
        except StorageError as error:
            log.warning("run %s was left as its log has it: %s", claim.run_id, error)
        except Exception:
            log.exception("run %s: the engine failed; it is taken up when its lease ends", claim.run_id)
        else:
            self._note(drive)

    def _note(self, drive: Drive | Errand) -> None:
        record = drive.record
        if record is None:
            return
        log.info("run %s: %s", drive.run_id, record.status)
        if drive.error is not None:
            log.warning("run %s failed: %s: %s", drive.run_id, type(drive.error).__name__, drive.error)
        if record.wake_at is not None:
            self._next_look = min(self._next_look or record.wake_at, record.wake_at)

    async def _put_off(self, engine: Engine, claim: Claim, error: Exception) -> None:
        """Hold a run that this worker cannot drive for a while, so that it is not claimed in a circle."""
        log.error("run %s: %s Looking again in a minute.", claim.run_id, error)
        with contextlib.suppress(StorageError):
            now = engine.clock.now()
            claims = await engine.storage.claim(
                owner=engine.owner_name, now=now, lease=_UNKNOWN_RETRY, run_id=claim.run_id
            )
            if not claims:
                await engine.storage.extend(claim, now + _UNKNOWN_RETRY)

    async def _rest(self, engine: Engine, claimed: int) -> None:
        """Until something ends, something known becomes due, or it is time to look again."""
        assert self._wake is not None
        if claimed and len(self._drives) < self._concurrency:
            await asyncio.sleep(0)
            if claimed >= self._concurrency // 2:
                return
        now = engine.clock.now()
        look = now + self._poll
        if self._next_look:
            look = min(look, max(self._next_look, now))
            if self._next_look <= now:
                self._next_look = 0
        alarm = engine.clock.call_at(look, self._wake.set)
        try:
            await self._wake.wait()
        finally:
            alarm.cancel()
        self._wake.clear()

    async def _drain(self, engine: Engine) -> None:
        self.stop()
        tasks = list(self._drives)
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=engine.settings.grace / 1e6)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)
