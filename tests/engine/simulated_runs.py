"""Runs in simulated time: engines with seeded ids, taking a run up until it ends, replaying its log."""

from __future__ import annotations

import contextlib
import contextvars
import random
from typing import Any

import msgspec
from storage_wrappers import append_from_outside

from pyworkflow.definitions import WorkflowDefinition, get_workflow
from pyworkflow.durability import Durability
from pyworkflow.engine.clock import VirtualClock
from pyworkflow.engine.compensating import main_of
from pyworkflow.engine.continuing import ContinueAsNew
from pyworkflow.engine.control import drive_for
from pyworkflow.engine.drive import RunLost
from pyworkflow.engine.engine import Engine, Settings, use_engine
from pyworkflow.engine.history import envelopes_of
from pyworkflow.engine.hooklog import hooks_of
from pyworkflow_core.codec import default_codec
from pyworkflow_core.events import Envelope, Event
from pyworkflow_core.ids import IdSource
from pyworkflow_core.payloads import (
    CancellationRequested,
    DeliveriesMade,
    HookReceived,
    StepCompleted,
    StepStarted,
    WorkflowCancelled,
    WorkflowCompleted,
    WorkflowContinuedAsNew,
    WorkflowFailed,
    WorkflowInterrupted,
)
from pyworkflow_core.record import RunRecord, evolve
from pyworkflow_core.replay import Machine
from pyworkflow_core.storage import StorageBackend

SECOND = 1_000_000
LEASE = 30 * SECOND
forced: contextvars.ContextVar[Durability | None] = contextvars.ContextVar("forced", default=None)
"""The durability of all workflows on engines that are made from here on."""


def make_engine(
    storage: StorageBackend, clock: VirtualClock, seed: int = 0, settings: Settings | None = None
) -> Engine:
    """An engine as of a new process, which the front door uses for this storage."""
    rng = random.Random(seed)
    settings = settings or Settings(durability=forced.get())
    engine = Engine(storage, clock=clock, ids=IdSource(rng), rng=rng, settings=settings)
    use_engine(engine)
    return engine


async def take_up(engine: Engine, run_id: str) -> bool:
    """Claim and drive a run once, if it is due; what it raises is in its log."""
    claims = await engine.storage.claim(owner="test", now=engine.clock.now(), lease=LEASE, run_id=run_id)
    if not claims:
        return False
    with contextlib.suppress(RunLost):
        await (await drive_for(engine, claims[0])).run()
    return True


async def finish(engine: Engine, clock: VirtualClock, run_id: str, *, rounds: int = 300) -> RunRecord:
    """Take the run up whenever it is due, answer its hooks when it waits for nothing else."""
    for _ in range(rounds):
        record = await engine.storage.get(run_id)
        assert record is not None
        if record.status.is_terminal:
            return record
        if await take_up(engine, run_id):
            continue
        if record.wake_at is None:
            assert await answer_a_hook(engine, run_id), "the run waits for nothing that could come"
        else:
            # Either it is due later, or somebody who died holds its lease.
            clock.move_to(record.wake_at if record.wake_at > clock.now() else clock.now() + LEASE)
    raise AssertionError(f"not ended after {rounds} rounds")


async def answer_a_hook(engine: Engine, run_id: str) -> bool:
    """Answer the first open hook from outside; False if there is none."""
    history = await log_of(engine.storage, run_id)
    for state in hooks_of(history).values():
        if state.status == "open":
            answer = HookReceived(
                state.created.hook, state.created.ordinal, default_raw("yes"), state.created.step
            )
            return await append_from_outside(engine.storage, run_id, answer, engine.ids, engine.clock.now())
    return False


async def ask_to_stop(engine: Engine, run_id: str) -> bool:
    """Append a cancellation request; False if the run has ended."""
    request = CancellationRequested("enough")
    return await append_from_outside(engine.storage, run_id, request, engine.ids, engine.clock.now())


def default_raw(value: Any) -> Any:
    """A value as payloads hold it."""
    return msgspec.Raw(default_codec.encode(value))


async def log_of(storage: StorageBackend, run_id: str) -> list[Envelope[Any]]:
    """The decoded log of a run."""
    return envelopes_of(await storage.read(run_id))


def places_completed(history: list[Envelope[Any]]) -> list[str]:
    """The places of a random program whose steps' completions the log holds, in its order."""
    place: dict[tuple[str, int], str] = {}
    found = []
    for envelope in history:
        data = envelope.data
        if isinstance(data, StepStarted):
            args, _ = default_codec.decode_args(bytes(data.args))
            place[data.step, data.ordinal] = args[0]
        elif isinstance(data, StepCompleted):
            found.append(place[data.step, data.ordinal])
    return found


def check_log(events: list[Event], record: RunRecord) -> None:
    """What holds of every log: dense numbers, one record, one completion a step, one end."""
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert evolve(None, events, incarnation=record.incarnation) == record, "the record is not that of the log"
    history = envelopes_of(events)
    completed = [(e.data.step, e.data.ordinal) for e in history if isinstance(e.data, StepCompleted)]
    assert len(set(completed)) == len(completed), "a completion was recorded twice"
    ends = (WorkflowCompleted, WorkflowFailed, WorkflowCancelled, WorkflowContinuedAsNew, WorkflowInterrupted)
    ended = [e for e in history if isinstance(e.data, ends)]
    assert len(ended) == record.status.is_terminal, f"{record.status}, and ended {len(ended)} times"


def machine_of(run_id: str, definition: WorkflowDefinition[Any, Any], incarnation: str = "") -> Machine:
    """A fresh machine for a run."""
    return Machine(run_id, main_of(definition, default_codec), incarnation=incarnation)


def replay(
    history: list[Envelope[Any]], *, one_by_one: bool = False, run: RunRecord | None = None
) -> tuple[str, Any]:
    """How a fresh machine ends over this log, and with what.

    ``completed``, ``failed``, ``cancelled`` or ``continued``. Give the `run` where it has children: their
    ids follow from it.
    """
    of = ("replayed", "") if run is None else (run.run_id, run.incarnation)
    machine = machine_of(of[0], get_workflow(history[0].data.workflow), of[1])
    try:
        for part in [[e] for e in history] if one_by_one else [history]:
            machine.feed(part)
        assert not machine.pending, machine.pending
        outcome = machine.outcome
        assert outcome is not None
        if outcome.cancelled:
            return "cancelled", None
        if isinstance(outcome.error, ContinueAsNew):
            return "continued", outcome.error.encoded
        if outcome.error is not None:
            return "failed", _error(default_codec.encode_error(outcome.error))
        return "completed", default_codec.encode(outcome.value)
    finally:
        machine.evict()


def _error(body: bytes) -> str:
    """What a recorded error says; its traceback differs between a run and its replay."""
    error = msgspec.json.decode(body)
    return f"{error['type']}: {error['message']}"


def recorded(history: list[Envelope[Any]]) -> tuple[str, Any]:
    """How the log says that the run ended."""
    last = next(e.data for e in reversed(history) if not isinstance(e.data, DeliveriesMade))
    if isinstance(last, WorkflowContinuedAsNew):
        return "continued", bytes(last.start.args)
    if isinstance(last, WorkflowCompleted):
        return "completed", bytes(last.result)
    if isinstance(last, WorkflowFailed):
        return "failed", _error(bytes(last.error))
    assert isinstance(last, WorkflowCancelled), last
    return "cancelled", None
