"""The engine: one storage on one event loop, with clock, ids and chance injected.

It keeps what all runs of a process share: the commit queue, the drives that are under way,
and the tick that extends leases and looks for events from outside.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import socket
import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from pyworkflow_core.codec import Codec, default_codec
from pyworkflow_core.commit import CommitQueue
from pyworkflow_core.errors import StorageError, StorageUnavailable
from pyworkflow_core.ids import IdSource
from pyworkflow_core.storage import StorageBackend

from ..durability import Durability
from .clock import Clock, SystemClock

if TYPE_CHECKING:
    from .drive import Drive

log = logging.getLogger("pyworkflow")

SECOND = 1_000_000
_WATCHED_AT_ONCE = 4


class Settings(Struct, frozen=True, kw_only=True):
    """Times of the engine, in microseconds.

    Attributes:
        lease: how long a run is held without a sign of life of its process.
        poll: how often a driven run is looked at for events from other processes.
        linger: with ``wait=True``, waits up to this long stay in memory.
        grace: how long steps may go on when a process is asked to stop.
        turn_events: events of one append at most.
        beat: how often a heartbeat of one step is recorded at most.
        patience: how long an append of a run under way is tried again while the storage is away.
        durability: of every workflow, whatever it says; None to let it say.
    """

    lease: int = 30 * SECOND
    poll: int = SECOND
    linger: int = 5 * SECOND
    grace: int = 10 * SECOND
    turn_events: int = 500
    beat: int = 5 * SECOND
    patience: int = 30 * SECOND
    durability: Durability | None = None


class Engine:
    """What the drives of one process share.

    Args:
        storage: where the logs live.
        clock: where the time comes from.
        ids: where ids come from.
        rng: where jitter comes from.
        codec: how values are written.
        settings: leases and polling.
    """

    def __init__(
        self,
        storage: StorageBackend,
        *,
        clock: Clock | None = None,
        ids: IdSource | None = None,
        rng: random.Random | None = None,
        codec: Codec = default_codec,
        settings: Settings | None = None,
    ) -> None:
        self.storage = storage
        self.clock: Clock = clock or SystemClock()
        self.ids = ids or IdSource()
        self.rng = rng or random.Random()
        self.codec = codec
        self.settings = settings or Settings()
        self.queue = CommitQueue(storage)
        self.owner_name = f"{socket.gethostname()}:{os.getpid()}"[:200]
        self.transient = False  # whether its storage ends with the runs, so that none may leave memory
        self.live: dict[str, Drive] = {}
        self.news: dict[str, list[Any]] = {}  # of children, for each parent that is being told
        self.told: dict[str, list[Any]] = {}  # who waits to tell a run something, while another does
        self.followers: set[Callable[[str], object]] = set()  # told of every run that `notify` is
        self.joined: dict[str, Any] = {}  # what steps of streams this process has told them of
        self.chain_ends: dict[tuple[str, str], str] = {}  # of run and incarnation, as seen last
        self._noticed = 0
        self._next_notice = 0
        self._waiters: dict[str, set[asyncio.Future[None]]] = {}
        self._tick_handle: asyncio.TimerHandle | None = None
        self._ticking: asyncio.Task[None] | None = None

    # ---- drives under way ----------------------------------------------------------

    def enter(self, drive: Drive) -> None:
        """A drive begins: extend its lease and watch its log from now on."""
        self.live[drive.run_id] = drive
        self.queue.writers = len(self.live)
        if self._tick_handle is None:
            self._schedule_tick()

    def leave(self, drive: Drive) -> None:
        """A drive ended."""
        if self.live.get(drive.run_id) is drive:
            del self.live[drive.run_id]
            self.queue.writers = max(len(self.live), 1)
            self.notify(drive.run_id)
        if not self.live and self._tick_handle is not None:
            self._tick_handle.cancel()
            self._tick_handle = None

    def notify(self, run_id: str) -> None:
        """Somebody in this process appended to the run: let its drive, or who waits for it, look at once."""
        drive = self.live.get(run_id)
        if drive is not None:
            drive.look()
        for follow in tuple(self.followers):
            follow(run_id)
        for waiter in self._waiters.get(run_id, ()):
            if not waiter.done():
                waiter.set_result(None)

    def note_outage(self, error: StorageError) -> None:
        """Log that the storage is away: once in half a minute, however many runs notice it."""
        now = self.clock.now()
        self._noticed += 1
        if now >= self._next_notice:
            log.warning("the storage is away (noticed %d times); trying again: %s", self._noticed, error)
            self._next_notice = now + 30 * SECOND
            self._noticed = 0

    async def wait_for_change(self, run_id: str, until: int) -> None:
        """Wait until `notify` is called for the run, or the time has come."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiters = self._waiters.setdefault(run_id, set())
        waiters.add(waiter)

        def ring() -> None:
            if not waiter.done():
                waiter.set_result(None)

        alarm = self.clock.call_at(until, ring)
        try:
            await waiter
        finally:
            alarm.cancel()
            waiters.discard(waiter)
            if not waiters:
                self._waiters.pop(run_id, None)

    def _schedule_tick(self) -> None:
        delay = min(self.settings.poll, self.settings.lease // 3) / 1e6
        self._tick_handle = asyncio.get_running_loop().call_later(delay, self._tick)

    def _tick(self) -> None:
        self._tick_handle = None
        if not self.live:
            return
        if self._ticking is None or self._ticking.done():
            self._ticking = asyncio.get_running_loop().create_task(self._watch())
        self._schedule_tick()

    async def _watch(self) -> None:
        """Extend leases past a third of their time, and look for foreign events.

        Those that end first come first, and several are under way at once: a process with thousands
        of runs on a slow storage must not lose one lease while it asks about the others.
        """
        drives = iter(sorted(self.live.values(), key=lambda drive: drive.held_until))
        await asyncio.gather(*(self._watch_each(drives) for _ in range(_WATCHED_AT_ONCE)))

    async def _watch_each(self, drives: Iterator[Drive]) -> None:
        for drive in drives:
            if self.live.get(drive.run_id) is not drive:
                continue  # it has ended meanwhile
            try:
                await drive.keep_alive()
            except StorageUnavailable as away:
                self.note_outage(away)
            except StorageError as error:
                log.warning("run %s: its lease could not be extended: %s", drive.run_id, error)
            except Exception:  # the others must not lose theirs
                log.exception("run %s: its lease could not be extended", drive.run_id)


_engines: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[int, Engine]] = (
    weakref.WeakKeyDictionary()
)


def engine_for(storage: StorageBackend, make: Callable[[StorageBackend], Engine] = Engine) -> Engine:
    """The engine of `storage` on the running event loop; made on first use."""
    engines = _engines.get(asyncio.get_running_loop())
    engine = None if engines is None else engines.get(id(storage))
    if engine is None or engine.storage is not storage:
        engine = make(storage)
        use_engine(engine)
    return engine


def forget_engine(engine: Engine) -> None:
    """The engine and its storage are not used any more on the running event loop."""
    _engines.get(asyncio.get_running_loop(), {}).pop(id(engine.storage), None)


def use_engine(engine: Engine) -> None:
    """Let the front door use this engine for its storage on the running event loop."""
    # A storage knows its loop, so that no entry of a closed loop would ever go by itself.
    for loop in [loop for loop in list(_engines) if loop.is_closed()]:
        _engines.pop(loop, None)
    engines = _engines.setdefault(asyncio.get_running_loop(), {})
    for key in [key for key, old in engines.items() if old.storage.closed and not old.live]:
        del engines[key]
    engines[id(engine.storage)] = engine
