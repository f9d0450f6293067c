"""The outbox: what a run's log owes to other runs, and paying it.

A log owes a child its beginning, a child that is no longer wanted the request to stop, a parent
the news of the end, a successor its beginning. What is owed follows from the log alone; a run
that owes stays due, ended or not, until `deliveries_made` is in its log. Every delivery may be
made twice: ids are derived, runs that exist are not created again, a parent takes the news of
an end once. A recipient that is missing or has ended counts as told.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from msgspec import Raw, Struct

from pyworkflow_core.carried import OWN_TOKEN
from pyworkflow_core.errors import StorageError
from pyworkflow_core.payloads import (
    CancellationRequested,
    ChildWorkflowCancelled,
    ChildWorkflowCompleted,
    ChildWorkflowFailed,
    ChildWorkflowReleased,
    ChildWorkflowStarted,
    DeliveriesMade,
    HookCreated,
    HookDisposed,
    HookExpired,
    HookReceived,
    HookRefused,
    Payload,
    RunReopened,
    SignalReceived,
    SignalSent,
    WorkflowCancelled,
    WorkflowCompleted,
    WorkflowContinuedAsNew,
    WorkflowFailed,
    WorkflowInterrupted,
    WorkflowStarted,
)
from pyworkflow_core.record import RunRecord, RunStatus
from pyworkflow_core.replay import ChildEnd
from pyworkflow_core.storage import Claim, LeaseChange

from ..errors import WorkflowInterruptedError
from .ending import value_bytes
from .engine import Engine
from .history import envelopes_of
from .outside import append_outside, create, end_of_chain
from .tokens import Take, take

log = logging.getLogger("pyworkflow")

_AT_ONCE = 100


class Start(Struct, frozen=True):
    """A run is to be created: a child, or the successor of a run that continues as new."""

    run_id: str
    start: WorkflowStarted


class Stop(Struct, frozen=True):
    """A child is to be asked to stop."""

    run_id: str
    reason: str | None


class Tell(Struct, frozen=True):
    """A parent is to be told that its child has ended: with `payload`, at the time `at`."""

    run_id: str
    payload: Payload
    at: int


class Rejoin(Struct, frozen=True):
    """A child is to be brought back to a parent that goes on; see `retrying`."""

    run_id: str
    parent: str


class Deliver(Struct, frozen=True):
    """A run is to be told something."""

    run_id: str
    signal: SignalReceived


Debt = Start | Stop | Deliver | Tell | Rejoin | Take


def debts_of(engine: Engine, run_id: str, history: Iterable[tuple[int, Any]]) -> list[Debt]:
    """What a log owes, by its events as (time, payload), oldest first; see the module.

    A part of a log gives what that part owes, as far as it does not end.
    """
    debts: list[Debt] = []
    children: dict[str, bool] = {}
    tokens: list[Debt] = []
    started: WorkflowStarted | None = None
    for at, payload in history:
        match payload:
            case WorkflowStarted():
                started = payload
                carried = payload.carried.children if payload.carried is not None else ()
                children = {child.run_id: child.abandon for child in carried if child.status == "open"}
            case ChildWorkflowStarted():
                children[payload.run_id] = payload.abandon
                debts.append(Start(payload.run_id, payload.start))
            case ChildWorkflowReleased(stop=True):
                debts.append(Stop(payload.run_id, payload.reason))
            case ChildWorkflowCompleted() | ChildWorkflowFailed() | ChildWorkflowCancelled():
                children.pop(payload.run_id, None)
                # It was begun, whatever was noted of that; by now it may have been deleted.
                debts = [d for d in debts if not (isinstance(d, Start) and d.run_id == payload.run_id)]
            case SignalSent():
                signal = SignalReceived(payload.signal, payload.signal_id, payload.payload, run_id)
                debts.append(Deliver(payload.run_id, signal))
            case HookCreated() if payload.token.startswith(OWN_TOKEN):
                token = payload.token.removeprefix(OWN_TOKEN)
                tokens.append(Take(token, run_id, payload.hook, payload.ordinal))
                debts.append(tokens[-1])
            case HookReceived() | HookExpired() | HookDisposed() | HookRefused():
                debts = [debt for debt in debts if not _is_for(debt, payload)]
                tokens = [debt for debt in tokens if not _is_for(debt, payload)]
            case DeliveriesMade() | RunReopened():
                # A run is reopened only when it owes nothing.
                again = isinstance(payload, RunReopened)
                debts = [*(Rejoin(child, run_id) for child in children), *tokens] if again else []
            case WorkflowContinuedAsNew():
                debts.append(Start(payload.run_id, payload.start))
            case WorkflowCompleted() | WorkflowFailed() | WorkflowCancelled() | WorkflowInterrupted():
                debts = [debt for debt in debts if not isinstance(debt, Take)]
                reason = payload.reason if isinstance(payload, WorkflowCancelled) else None
                reason = reason or f"the parent run {run_id} has ended"
                debts += [Stop(child, reason) for child, abandon in children.items() if not abandon]
                if started is not None and started.parent is not None:
                    # The parent knows its child by the first run of the child's chain.
                    known = started.workflow, started.first or run_id
                    news = news_of(engine, known, run_id, payload)
                    debts.append(Tell(started.parent, news, at))
    return debts


def news_of(engine: Engine, known: tuple[str, str], run_id: str, end: Payload) -> ChildEnd:
    """What a parent is told of the end of a child.

    Args:
        engine: whose codec writes.
        known: the child's workflow, and the run id by which the parent knows it.
        run_id: the run that ended.
        end: its terminal event.
    """
    match end:
        case WorkflowCompleted():
            return ChildWorkflowCompleted(*known, end.result)
        case WorkflowFailed():
            return ChildWorkflowFailed(*known, end.error)
        case WorkflowInterrupted():
            error = WorkflowInterruptedError(f"run {run_id!r} was interrupted: {end.reason}")
            return ChildWorkflowFailed(*known, Raw(engine.codec.encode_error(error)))
    assert isinstance(end, WorkflowCancelled)
    return ChildWorkflowCancelled(*known, end.reason)


def _is_for(debt: Debt, payload: HookReceived | HookExpired | HookDisposed | HookRefused) -> bool:
    return isinstance(debt, Take) and (debt.hook, debt.ordinal) == (payload.hook, payload.ordinal)


async def pay(engine: Engine, debts: list[Debt]) -> list[HookRefused]:
    """Make deliveries: beginnings first, so that what is begun and stopped at once is stopped.

    Returns:
        What the run itself has to be told: hooks that did not get the token of their choice.

    Raises:
        StorageError: the storage cannot be used; what was delivered is delivered again then.
    """
    await _pay_each(engine, debts, Start, Stop)
    signals: dict[str, list[SignalReceived]] = {}
    for debt in debts:
        if isinstance(debt, Deliver):
            signals.setdefault(debt.run_id, []).append(debt.signal)
    await asyncio.gather(*(deliver_signals(engine, run_id, told) for run_id, told in signals.items()))
    await _pay_each(engine, debts, Tell, Rejoin)
    taken = [await take(engine, debt) for debt in debts if isinstance(debt, Take)]
    return [refused for refused in taken if refused is not None]


async def _pay_each(engine: Engine, debts: list[Debt], *kinds: type[Debt]) -> None:
    for kind in kinds:
        due = [debt for debt in debts if isinstance(debt, kind)]
        for first in range(0, len(due), _AT_ONCE):
            await asyncio.gather(*(_deliver(engine, debt) for debt in due[first : first + _AT_ONCE]))


async def _deliver(engine: Engine, debt: Debt) -> None:
    match debt:
        case Start():
            # Delivered for the first time, nearly always; otherwise the append finds the run there.
            new = await create(engine, debt.run_id, debt.start, look=False)
            if not new and debt.start.parent is not None and debt.start.continued_from is None:
                # Delivered twice; or begun before, by what a reopening of the parent has struck out.
                await _rejoin(engine, debt.run_id, debt.start.parent)
        case Stop():
            await _stop(engine, debt)
        case Tell():
            await tell(engine, debt)
        case Rejoin():
            await _rejoin(engine, debt.run_id, debt.parent)


async def _rejoin(engine: Engine, run_id: str, parent: str) -> None:
    from .retrying import rejoin  # which is built on this module

    await rejoin(engine, run_id, parent)


async def deliver_signals(engine: Engine, run_id: str, signals: Sequence[SignalReceived]) -> bool:
    """Tell a run these things, in this order; False if there is no such run, or it has ended.

    Telling them once more does no harm: a run takes every signal id once.

    Raises:
        StorageError: the storage refuses one, or cannot be used.
    """
    most = engine.storage.limits.append_bytes or 1 << 62
    while signals:
        record = await end_of_chain(engine, run_id)
        if record is None or not record.workflow or record.status.is_terminal:
            return False
        count, size = 0, 0
        for signal in signals[:_AT_ONCE]:
            size += len(signal.payload) + 1024
            if count and size > most:
                break
            count += 1
        if await append_outside(engine, record, signals[:count]):
            signals = signals[count:]
    return True


async def _stop(engine: Engine, debt: Stop) -> None:
    while True:
        record = await end_of_chain(engine, debt.run_id)
        if record is None or record.status.is_terminal or record.detail.cancel_requested:
            return
        payloads: list[Payload] = [CancellationRequested(debt.reason, "parent")]
        if has_run_no_code(record):
            payloads.append(WorkflowCancelled(debt.reason))
        if await append_outside(engine, record, payloads):
            if len(payloads) > 1:
                await run_errand(engine, record.run_id)
            return


async def run_errand(engine: Engine, run_id: str) -> None:
    """Let a run that was ended here pay at once what it owes."""
    now, lease = engine.clock.now(), engine.settings.lease
    for claim in await engine.storage.claim(owner=engine.owner_name, now=now, lease=lease, run_id=run_id):
        await Errand(engine, claim).run()


async def tell(engine: Engine, debt: Tell) -> None:
    """Bring a parent news. What several children have to say at about the same time is one append."""
    while True:
        told: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        queue = engine.news.get(debt.run_id)
        if queue is None:
            queue = engine.news[debt.run_id] = [(debt, told)]
            try:
                await _tell_all(engine, debt.run_id, queue)
            finally:
                del engine.news[debt.run_id]
                for _, other in queue:  # if it did not come to that, they do it themselves
                    if not other.done():
                        other.set_result(False)
            return
        queue.append((debt, told))
        if await told:
            return


async def _tell_all(engine: Engine, run_id: str, queue: list[tuple[Any, asyncio.Future[bool]]]) -> None:
    while queue:
        record = await end_of_chain(engine, run_id)
        batch = queue[:_AT_ONCE]
        if record is not None and not record.status.is_terminal:
            size, most = 0, engine.storage.limits.append_bytes or 1 << 62
            for n, (debt, _) in enumerate(batch):
                size += value_bytes(debt.payload) + 1024
                if n and size > most:
                    batch = batch[:n]
                    break
            news = [debt.payload for debt, _ in batch]
            # Two who tell the same at the same place of the parent's log make one event of it.
            ids = [_id_of(payload) for payload in news]
            times = [max(record.updated_at, debt.at) for debt, _ in batch]
            if not await append_outside(engine, record, news, times=times, ids=ids):
                continue
        del queue[: len(batch)]
        for _, told in batch:
            if not told.done():
                told.set_result(True)


def _id_of(payload: Payload) -> str:
    text = msgspec.json.encode((str(payload.TYPE), payload))
    return hashlib.blake2b(text, digest_size=8).hexdigest()


def has_run_no_code(record: RunRecord) -> bool:
    """Whether there is nothing to clean up when the run is cancelled."""
    detail = record.detail
    return record.status is RunStatus.PENDING and detail.continued_from is None and detail.started_at is None


class Errand:
    """Pays what a run owes that has ended. It stands where a drive stands for a run that goes on.

    Args:
        engine: what the process's runs share.
        claim: the lease on the run.

    Attributes:
        run_id: the run.
        record: the run's record.
        error: None: nothing of the run is executed.
        ending: None: how the run ended is in its log.
        replay_retry: as a drive's; of no use here.
    """

    def __init__(self, engine: Engine, claim: Claim) -> None:
        self.run_id = claim.run_id
        self.record: RunRecord | None = claim.record
        self.error: BaseException | None = None
        self.ending: Payload | None = None
        self.replay_retry = 0
        self._engine = engine
        self._claim = claim

    async def run(self) -> None:
        """Deliver, and record that in the log.

        Raises:
            StorageError: the storage cannot be used; the run stays due.
        """
        engine, storage = self._engine, self._engine.storage
        try:
            while True:
                record = self.record = await storage.get(self.run_id)
                if record is None or record.incarnation != self._claim.record.incarnation:
                    return
                if not record.status.is_terminal or not record.detail.owes:
                    await storage.release(self._claim)
                    return
                history = envelopes_of(await storage.read(self.run_id, limit=record.head))
                await pay(engine, debts_of(engine, self.run_id, ((e.at, e.data) for e in history)))
                lease = LeaseChange(self._claim.token, self._claim.owner, None)
                paid = await append_outside(engine, record, [DeliveriesMade()], lease=lease)
                if paid is not None:
                    self.record = paid
                    return
        except StorageError:
            raise
        except BaseException:
            await storage.release(self._claim)  # whoever comes next need not wait for its end
            raise

    def stop(self, reason: str) -> None:
        """Nothing: it ends soon by itself."""
