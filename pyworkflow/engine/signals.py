"""Signals: what a run is told, by other runs or from outside, and takes in the order of its log.

They are what schedules and streams are made of. A signal has an id; a run takes each id once,
so a sender that does not know whether it was heard says the same again.
"""

from __future__ import annotations

from typing import Any

from msgspec import Raw

from pyworkflow_core.carried import Carried
from pyworkflow_core.codec import EMPTY_REACH, Reach
from pyworkflow_core.errors import LimitExceeded
from pyworkflow_core.events import decode_body
from pyworkflow_core.ids import derive_run_id, validate_id
from pyworkflow_core.payloads import SignalReceived, SignalSent, WorkflowStarted
from pyworkflow_core.record import RunRecord
from pyworkflow_core.replay import Machine, known_as, note

from ..errors import WorkflowNotFoundError
from .engine import Engine
from .outbox import deliver_signals
from .outside import end_of_chain

_AROUND = 4096  # what an event holds beside the payload


async def tell(
    engine: Engine, run_id: str, signal: str, value: Any = None, *, signal_id: str | None = None
) -> str:
    """Tell a run something, from outside of workflows. It is recorded, and the run is due.

    Args:
        engine: whose storage the run is in.
        run_id: the run; of one that continued as new, the one that goes on is told.
        signal: what kind of thing it is.
        value: any value that the log can hold.
        signal_id: the same id again is not heard again, and is no mistake if the run has ended since;
            drawn unless given.

    Returns:
        The signal's id.

    Raises:
        WorkflowNotFoundError: there is no such run, or it has ended without hearing this.
        UnserializableValueError: the value cannot be recorded.
        LimitExceeded: the value is too large.
    """
    name = validate_id(signal, "signal")
    signal_id = validate_id(engine.ids.event_id() if signal_id is None else signal_id, "signal id")
    payload = Raw(engine.codec.encode(value, where="payload"))
    heard = await deliver_signals(engine, run_id, [SignalReceived(name, signal_id, payload)])
    if not heard and not await has_heard(engine, await end_of_chain(engine, run_id), signal_id):
        raise WorkflowNotFoundError(
            f"run {run_id!r} cannot be told {signal!r}: there is no such run in {engine.storage!r}, or it "
            "has ended"
        )
    return signal_id


async def has_heard(engine: Engine, record: RunRecord | None, signal_id: str) -> bool:
    """Whether a run that has ended was told this before it did.

    A sender that died before it had noted what it said says it once more, perhaps long after the
    run has taken it, and has ended. As far back as a run knows it that goes on: in its own log, and
    among the last signals of those that it continued.

    Args:
        engine: whose storage the run is in.
        record: the run that the chain ends with; None if there is none.
        signal_id: the signal's id.
    """
    if record is None:
        return False
    for event in await engine.storage.read(record.run_id, limit=record.head):
        payload = decode_body(event.body).data
        match payload:
            case SignalReceived() if payload.signal_id == signal_id:
                return True
            case WorkflowStarted(carried=Carried(known=known)) if known_as(signal_id) in known:
                return True
    return False


def tell_run(machine: Machine, run_id: str, signal: str, value: Any = None) -> str:
    """Tell a run something, from the code of a workflow: once, whatever crashes. Returns the signal's id.

    A run that does not exist, or has ended, is not told, and nobody learns of that.

    Raises:
        UnserializableValueError: the value cannot be recorded.
        LimitExceeded: it is too large for an event.
    """
    name, recipient = validate_id(signal, "signal"), validate_id(run_id)
    machine.signals += 1
    signal_id = derive_run_id("signal", machine.run_id, machine.incarnation, str(machine.signals))
    payload = Raw(machine.codec.encode(value, where="payload"))
    if machine.event_bytes is not None and len(payload) + _AROUND > machine.event_bytes:
        raise LimitExceeded(
            f"run {machine.run_id!r}: a signal {signal!r} of {len(payload)} bytes; the storage takes "
            f"{machine.event_bytes} an event. Keep large values elsewhere and send a reference to them."
        )
    note(machine, SignalSent(recipient, name, signal_id, payload))
    return signal_id


async def receive(machine: Machine, *, reach: Reach = EMPTY_REACH) -> tuple[SignalReceived, Any]:
    """Wait in a workflow for the next signal: as the log has it, and the value.

    Args:
        machine: the machine whose code runs.
        reach: types that the value may hold.
    """
    signal = await machine.inbox.get(machine)
    return signal, machine.decode(signal.payload, reach=reach) if len(signal.payload) else None
