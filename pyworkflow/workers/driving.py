"""Driving the runs that a worker claimed, each to its end or its next wait."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from pyworkflow_core.errors import CodecError, HistoryVersionError, NonDeterminismError, StorageError
from pyworkflow_core.record import RunRecord, RunStatus
from pyworkflow_core.storage import Claim

from ..engine.drive import Drive, RunLost
from ..engine.engine import SECOND, Engine
from ..engine.family import drive_for
from ..engine.kept import KeptDrive
from ..engine.outbox import Errand
from ..errors import WorkflowNotRegisteredError
from .cache import Cache
from .gate import Gate
from .tally import Tally

log = logging.getLogger("pyworkflow.worker")

_REPLAY_RETRY = 60 * SECOND
_UNKNOWN_RETRY = 60 * SECOND
_STOPPED = "the worker stopped"


class Driving:
    """The drives of one worker.

    Args:
        engine: what the process's runs share.
        gate: is told when a run is no longer driven.
        tally: counts.
        cache: keeps suspended runs in memory.

    Attributes:
        tasks: one for each run that is driven.
        next_wake: when the first of the runs that suspended here is due; 0 if none is.
    """

    def __init__(self, engine: Engine, gate: Gate, tally: Tally, cache: Cache) -> None:
        self.tasks: set[asyncio.Task[None]] = set()
        self.next_wake = 0
        self._engine = engine
        self._gate = gate
        self._tally = tally
        self._cache = cache
        self._drives: dict[str, Drive | Errand] = {}
        self._stopping = False

    def begin(self, claim: Claim) -> asyncio.Task[None]:
        """Drive a claimed run in a task of its own."""
        task = asyncio.get_running_loop().create_task(self._drive(claim), name=claim.run_id)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    def stop(self) -> None:
        """Let steps under way end, and begin no others."""
        self._stopping = True
        for drive in self._drives.values():
            drive.stop(_STOPPED)

    async def drain(self) -> None:
        """Wait until nothing is driven any more; cut off steps that take longer than the grace."""
        if self.tasks:
            _, late = await asyncio.wait(self.tasks, timeout=self._engine.settings.grace / 1e6)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)

    async def _drive(self, claim: Claim) -> None:
        drive: Drive | Errand | None = self._cache.take(claim)
        if drive is None:
            try:
                make = KeptDrive if self._cache.most else Drive
                drive = await drive_for(self._engine, claim, make=make)
            except WorkflowNotRegisteredError as error:
                await self._put_off(claim, error)
                self._gate.left(claim.run_id, gives_back=True)
                return
        drive.replay_retry = _REPLAY_RETRY
        self._drives[claim.run_id] = drive
        if self._stopping:
            drive.stop(_STOPPED)
        log.info("run %s: taking up %s", claim.run_id, claim.record.workflow)
        is_known = False
        try:
            is_known = await self._run(drive)
        except asyncio.CancelledError:
            is_known = True  # it was left in good order
            raise
        finally:
            self._drives.pop(claim.run_id, None)
            self._note_end(drive, drive.record if is_known else None)

    async def _run(self, drive: Drive | Errand) -> bool:
        """Drive a run; whether this process knows how it was left."""
        try:
            await drive.run()
        except RunLost as lost:
            log.info("%s", lost)
            return False
        except (NonDeterminismError, HistoryVersionError, CodecError) as error:
            log.error("run %s cannot be replayed and stays suspended: %s", drive.run_id, error)
        except StorageError as error:
            self._tally.count("storage_errors")
            log.warning("run %s was left as its log has it: %s", drive.run_id, error)
            return False
        except Exception:
            log.exception("run %s: the engine failed; it is taken up when its lease ends", drive.run_id)
            return False
        else:
            self._say(drive)
        return True

    def _note_end(self, drive: Drive | Errand, record: RunRecord | None) -> None:
        rests = record is not None and (record.status.is_terminal or record.status is RunStatus.SUSPENDED)
        self._gate.left(drive.run_id, gives_back=rests)
        if isinstance(drive, Errand):
            self._tally.count("errands")
            return
        self._tally.left(record)
        from_memory = False
        if isinstance(drive, KeptDrive):
            from_memory = not drive.was_replayed
            self._cache.keep(drive)
        self._tally.count("cache_hits" if from_memory else "replays")

    def _say(self, drive: Drive | Errand) -> None:
        record = drive.record
        if record is None:
            return
        log.info("run %s: %s", drive.run_id, record.status)
        if drive.error is not None:
            log.warning("run %s failed: %s: %s", drive.run_id, type(drive.error).__name__, drive.error)
        if record.wake_at is not None:
            self.next_wake = min(self.next_wake or record.wake_at, record.wake_at)

    async def _put_off(self, claim: Claim, error: Exception) -> None:
        """Hold a run that this worker cannot drive for a while, so that it is not claimed in a circle."""
        log.error("run %s: %s Looking again in a minute.", claim.run_id, error)
        engine = self._engine
        with contextlib.suppress(StorageError):
            now = engine.clock.now()
            claims = await engine.storage.claim(
                owner=engine.owner_name, now=now, lease=_UNKNOWN_RETRY, run_id=claim.run_id
            )
            if not claims:
                await engine.storage.extend(claim, now + _UNKNOWN_RETRY)
