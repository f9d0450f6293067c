"""The run of a stream step: it takes the stream's signals one by one, and runs the step for each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyworkflow_core.payloads import SignalSent
from pyworkflow_core.replay import Machine, current_machine, note

from ..engine.continuing import can_hand_on, continue_as_new
from .naming import stream_run
from .signal import LAST, TERMINATE, Signal, Wire, body_of, pack, signal_of, unpack

if TYPE_CHECKING:
    from .definitions import StreamStepDefinition

EVENTS = 2000
"""Events of the run, about, after which it continues as new."""
_PER_SIGNAL = 3  # a step's beginning and end, and what a run notes of coming and going
_BACKLOG = 200


class Subscriber:
    """A stream step, in the hands of its run.

    Args:
        machine: the machine of the run.
        step: the step.
        stream_run_id: which run of the stream it consumes.
        state: what the run before this one handed on; empty in the first.
    """

    def __init__(
        self, machine: Machine, step: StreamStepDefinition, stream_run_id: str | None, state: dict[str, Any]
    ) -> None:
        self._machine = machine
        self._step = step
        self._scope = stream_run_id
        self._seen: int = state.get("seen", -1)
        self._checkpoint: Any = state.get("checkpoint")
        self._result: str | None = state.get("result")
        self._skipped: int = state.get("skipped", 0)
        self._events = 0

    async def run(self) -> dict[str, Any]:
        """Consume until the step, or the stream, has ended."""
        machine = self._machine
        if self._seen < 0:
            self._seen = 0
            end = await self._handle(None)
            if end:
                return self._ended(end)
        while True:
            grown = self._events + machine.inbox.heard >= EVENTS
            quiet = len(machine.inbox.untaken) < _BACKLOG
            if grown and quiet and can_hand_on(machine, self._state()):
                continue_as_new(self._scope, self._state())
            told = await machine.inbox.get(machine)
            if told.signal == LAST:
                return self._ended({"end": "terminated"})
            wire = unpack(told.payload)
            # Told again after a crash of the stream's run; that it tells in order makes this enough.
            if wire.number <= self._seen:
                continue
            self._seen = wire.number
            self._events += _PER_SIGNAL
            signal = signal_of(machine.codec, self._step.stream, self._scope, told.signal, wire)
            end = await self._handle(signal)
            if end:
                return self._ended(end)

    async def _handle(self, signal: Signal | None) -> dict[str, Any] | None:
        """Run the step; what it said if it has ended."""
        try:
            turn = await self._step.step(signal, self._checkpoint, self._scope)
        except Exception as error:
            if self._step.on_failure != "skip":
                if self._step.on_failure == "terminate":
                    self._end_stream(error)
                raise
            self._skipped += 1
            return None
        self._checkpoint = turn.get("checkpoint", self._checkpoint)
        self._result = turn.get("result", self._result)
        return turn if "end" in turn else None

    def _end_stream(self, error: Exception) -> None:
        machine = self._machine
        text = f"stream step {self._step.name!r} failed: {error}"[:500]
        wire = pack(Wire(body_of(machine.codec, text, None), machine.now, by=machine.run_id))
        hub = stream_run(self._step.stream, self._scope)
        note(machine, SignalSent(hub, TERMINATE, f"{TERMINATE} {machine.run_id}", wire))

    def _state(self) -> dict[str, Any]:
        return {
            "seen": self._seen,
            "checkpoint": self._checkpoint,
            "result": self._result,
            "skipped": self._skipped,
        }

    def _ended(self, turn: dict[str, Any]) -> dict[str, Any]:
        return {
            "state": turn["end"],
            "result": self._result,
            "error": turn.get("reason"),
            "skipped": self._skipped,
        }


async def consume(
    step: StreamStepDefinition, stream_run_id: str | None, state: dict[str, Any]
) -> dict[str, Any]:
    """Run a stream step for the signals of its stream until it ends."""
    machine = current_machine.get()
    assert machine is not None
    return await Subscriber(machine, step, stream_run_id, state).run()
