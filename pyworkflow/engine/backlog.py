"""What a run has done and its log does not hold yet: events to send, one append in flight, kept results.

Only plain beginnings and completions of steps are ever kept, in the order in which they happened.
Everything else is sent behind them, in the same append where it fits. After a conflict nothing of
it is sent any more; what the steps returned is kept apart, until the new path of the code asks for
the very same calls.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from pyworkflow_core.payloads import Payload, StepCompleted, StepFailed, StepRetrying, StepStarted
from pyworkflow_core.replay import StepCall, step_text

from ..durability import EXIT, SYNC, WEIGHTS, Durability
from .ending import value_bytes
from .runlog import RunLog
from .workshop import Workshop

Key = tuple[str, int]
Asked = tuple[bytes, Any]
"""What a step was called with: the fingerprint of its arguments, and the step context."""
Happened = tuple[int, Payload]
"""When, and what."""
_REPORTS = (StepCompleted, StepFailed, StepRetrying)


class Backlog:
    """The events of one run that are not durable, and the results that are in no log.

    Args:
        log: the run's log.
        workshop: executes its steps.
        durability: of steps that do not say otherwise.

    Attributes:
        weight: how much the turn that is being collected hurries; see `durability.WEIGHTS`.
        broken: whether the log contradicts what is kept, so that the run has to be rebuilt.
        astray: whether the run in memory is ahead of what is kept: a turn was cut off.
        orphans: steps that execute although no log says that they began.
    """

    def __init__(self, log: RunLog, workshop: Workshop, durability: Durability) -> None:
        self._log = log
        self._workshop = workshop
        self._default = WEIGHTS[durability]
        self.weight = SYNC
        self.broken = self.astray = False
        self._unsent: list[Happened] = []
        self._bytes = 0
        self._urgent = False
        self._flying: list[Happened] = []
        self._flight: asyncio.Task[None] | None = None
        self._trouble: BaseException | None = None
        self._loose: dict[Key, Asked] = {}  # steps whose beginning is not durable
        self._asked: dict[Key, Asked] = {}  # of the steps that this turn begins
        self.orphans: dict[Key, Asked] = {}
        self._kept: dict[tuple[str, int, bytes], tuple[Any, Payload]] = {}
        self._ending: set[Key] = set()  # steps that were cancelled, and are wanted by nobody
        self._late: dict[Key, StepCall] = {}  # calls that wait for the end of one of those

    # ---- what a turn of the drive is ------------------------------------------------

    def begin_turn(self) -> None:
        """Nothing is collected yet."""
        self.weight = EXIT
        self._asked.clear()

    def weigh(self, payload: Payload, call: StepCall | None) -> None:
        """Note that the turn has this event; `call` is the step's, before the event is delivered."""
        weight = SYNC
        plain = payload.__class__ is StepCompleted or (
            payload.__class__ is StepStarted and payload.attempt == 1
        )
        if plain and call is not None:
            own: Durability | None = call.definition.durability
            weight = self._default if own is None else WEIGHTS[own]
            if payload.__class__ is StepStarted:
                self._asked[call.name, call.ordinal] = (call.print, call.context)
        self.weight = max(self.weight, weight)

    def weigh_delivery(self, payload: Payload, steps: Mapping[Key, StepCall]) -> None:
        """Note that the turn has this event, which is about to be delivered."""
        # Attempts that begin anew are no plain beginnings.
        self.weigh(
            payload,
            steps.get((payload.step, payload.ordinal)) if isinstance(payload, StepCompleted) else None,
        )

    @property
    def may_wait(self) -> bool:
        """Whether the turn that was collected needs not be durable before its steps begin."""
        # After a conflict one append has to come through, so that a busy run moves.
        return self.weight < SYNC and not self._log.conflicts and not self.broken

    # ---- sending --------------------------------------------------------------------

    @property
    def holds(self) -> bool:
        """Whether there is something that is not known to be durable."""
        return bool(self._unsent or self._flight or self._flying)

    async def keep(self, payloads: list[Payload], at: int) -> bool:
        """Take the events of a turn; waits while there is no room. False if a conflict made them void."""
        size = _bytes_of(payloads)
        if self._unsent and not self._has_room(len(payloads), size):
            if not await self._land_or_stray():
                return False
            self._take_off()
        self._unsent += [(at, payload) for payload in payloads]
        self._bytes += size
        self._loose.update(self._asked)
        if self.weight != EXIT:
            self._urgent = True
            self._take_off()
        return True

    async def send(self, payloads: list[Payload], at: int, *, release: bool = False) -> bool:
        """Append what is kept, and `payloads` behind it. False after a conflict.

        Raises:
            StorageError: it was refused, or the storage cannot be used.
        """
        if not await self._land_or_stray():
            return False
        if self._unsent and not self._fits(payloads):
            self._take_off()
            if not await self._land_or_stray():
                return False
        kept = self._unsent
        times = [when for when, _ in kept] + [at] * len(payloads)
        together = [*(payload for _, payload in kept), *payloads]
        if not await self._log.send(together, at, release=release, times=times):
            self.broken = True
            return False
        self._sent()
        return True

    async def flush(self) -> bool:
        """Make durable what is kept. False if the log contradicts it.

        Raises:
            StorageError: it was refused, or the storage cannot be used.
        """
        if not await self.land():
            return False
        self._take_off()
        return await self.land()

    def check(self) -> None:
        """Raise what the append in flight failed with."""
        if self._trouble is not None:
            raise self._trouble

    async def settle(self) -> None:
        """Wait for the append in flight, which may have been cancelled together with the drive.

        Raises:
            StorageError: it was refused, or the storage cannot be used.
        """
        await self._wait()
        if isinstance(self._trouble, asyncio.CancelledError):
            self._trouble = None
        self.check()

    def settled(self, *, made: bool) -> bool:
        """Note what became of a cancelled append; False if it was one in flight, and not the drive's."""
        own = not self._flying
        if not made:
            self.broken = True
        elif own:
            self._sent()
        else:
            self._landed()
        return own

    def close(self) -> None:
        """The run is left: what is kept is lost."""
        if self._flight is not None:
            self._flight.cancel()

    def _has_room(self, count: int, size: int) -> bool:
        log = self._log
        return len(self._unsent) + count <= log.most_events and self._bytes + size <= log.room

    def _fits(self, payloads: list[Payload]) -> bool:
        if not self._has_room(len(payloads), _bytes_of(payloads)):
            return False
        return self._log.fits([*(payload for _, payload in self._unsent), *payloads])

    def _take_off(self) -> None:
        if self._flight is None and self._unsent:
            self._load()
            self._flight = asyncio.get_running_loop().create_task(self._fly())

    def _load(self) -> None:
        self._flying, self._unsent, self._bytes = self._unsent, [], 0

    async def _fly(self) -> None:
        """Send one append after the other, as long as there is hurry."""
        log = self._log
        try:
            while True:
                at = max(log.engine.clock.now(), self._flying[-1][0])
                times = [when for when, _ in self._flying]
                if not await log.send([payload for _, payload in self._flying], at, times=times):
                    self.broken = True
                    break
                self._landed()
                if not self._urgent or not self._unsent:
                    break
                self._load()
        except BaseException as error:
            self._trouble = error
            if isinstance(error, asyncio.CancelledError):
                raise
        finally:
            self._flight = None
            if self.broken or self._trouble is not None:
                self._workshop.ring()

    async def _wait(self) -> None:
        self._urgent = False
        while self._flight is not None:
            flight = self._flight
            await asyncio.wait([flight])
            if self._flight is flight:  # it was cancelled before its first turn, and has sent nothing
                self._flight = asyncio.get_running_loop().create_task(self._fly())

    async def land(self) -> bool:
        """Wait for the append in flight, and send no further one. False if there was a conflict.

        Raises:
            StorageError: it was refused, or the storage cannot be used.
        """
        await self._wait()
        self.check()
        return not self.broken

    async def _land_or_stray(self) -> bool:
        try:
            return await self.land()
        except asyncio.CancelledError:
            self.astray = True
            raise

    def _landed(self) -> None:
        flown, self._flying = self._flying, []
        self._fasten(flown)

    def _sent(self) -> None:
        sent, self._unsent, self._bytes = self._unsent, [], 0
        self._fasten(sent)

    def _fasten(self, durable: list[Happened]) -> None:
        for _, payload in durable:
            if payload.__class__ is StepStarted:
                self._loose.pop((payload.step, payload.ordinal), None)

    # ---- after a conflict -----------------------------------------------------------

    def salvage(self) -> None:
        """Take apart what is kept, for a run that is about to be rebuilt from its log.

        Results of steps whose beginning is durable are reported again. Others are kept, and what
        executes without a beginning goes on as an orphan.
        """
        reports = self._workshop.reports
        returned = [p for _, p in [*self._flying, *self._unsent] if isinstance(p, StepCompleted)]
        again = [report for report in [*returned, *reports] if not self._keeps(report)]
        reports.clear()
        reports.extend(again)
        for key, asked in self._loose.items():
            if self._workshop.is_executing(key) and key not in self._ending:
                self.orphans[key] = asked
        self._flying, self._unsent, self._bytes = [], [], 0
        self._loose.clear()
        self._asked.clear()
        self._late.clear()
        self._urgent = self.broken = self.astray = False
        for old in list(self._kept)[: -2 * self._log.most_events]:  # nobody asked for them for long
            del self._kept[old]

    def _keeps(self, report: Payload) -> bool:
        assert isinstance(report, _REPORTS)
        key = (report.step, report.ordinal)
        asked = self._loose.get(key)
        if key in self._ending:
            return True
        if asked is None:
            return self.sets_aside(report)
        self._kept[*key, asked[0]] = (asked[1], report)
        return True

    def sets_aside(self, report: Payload) -> bool:
        """Whether nobody has asked for what this report answers; then it is kept, or dropped."""
        assert isinstance(report, _REPORTS)
        key = (report.step, report.ordinal)
        asked = self.orphans.pop(key, None)
        if asked is not None:
            self._kept[*key, asked[0]] = (asked[1], report)
        return asked is not None or key in self._ending

    def is_strange(self, key: Key) -> bool:
        """Whether what executes under this name and ordinal is not, or not yet, the call of that name."""
        return key in self.orphans or key in self._ending

    @property
    def _has_strangers(self) -> bool:
        return bool(self.orphans or self._ending)

    @property
    def strangers(self) -> set[str]:
        """Steps that may record nothing, since no log says that they began."""
        return {step_text(*key) for key in (*self.orphans, *self._ending)} if self._has_strangers else set()

    def sort_out(self, calls: Iterable[StepCall], wanted: Mapping[Key, StepCall]) -> list[StepCall]:
        """Those of `calls` that have to be executed.

        Of the others the result is kept, and reported now; or they execute already; or something
        executes in their place that nobody asked for, and has to end first.
        """
        begin: list[StepCall] = []
        shop = self._workshop
        for call in calls:
            key = (call.name, call.ordinal)
            if wanted.get(key) is not call:
                continue
            context, report = self._kept.get((*key, call.print), (None, None))
            asked = self.orphans.get(key)
            if asked == (call.print, call.context):
                del self.orphans[key]
                shop.adopt(key, call)
                begin += shop.missing([call])
                continue
            if asked is not None:
                self._end([key])
            if key in self._ending:
                self._late[key] = call
            elif report is not None and context == call.context:
                del self._kept[*key, call.print]
                shop.reports.append(report)
            else:
                begin.append(call)
        return begin

    def dismiss(self) -> None:
        """Stop the orphans: nothing that is in memory can ask for them any more."""
        self._end(list(self.orphans))

    def begin_late(self) -> list[StepCall]:
        """The calls that may begin, since what executed in their place has ended."""
        shop = self._workshop
        over = [key for key in self._ending if not shop.is_executing(key)]
        for key in self._ending:
            shop.hush(key)
        self._ending.difference_update(over)
        return [self._late.pop(key) for key in over if key in self._late]

    def _end(self, keys: list[Key]) -> None:
        for key in keys:
            del self.orphans[key]
            if self._workshop.disown(
                key, "what the run's log says has changed, and it is not wanted any more"
            ):
                self._ending.add(key)


def _bytes_of(payloads: list[Payload]) -> int:
    return sum(value_bytes(payload) for payload in payloads)
