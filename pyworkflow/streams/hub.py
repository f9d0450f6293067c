"""The run of a stream: it takes signals in, numbers them, and tells each to the steps that take it.

Every step of the stream is a child of this run, and consumes by itself; see `subscriber`. This
run executes no code of the application. It continues as new when its log has grown.
"""

from __future__ import annotations

import asyncio
import heapq
from typing import Any

import msgspec
from msgspec import Raw, Struct

from pyworkflow_core.payloads import (
    ChildWorkflowCancelled,
    ChildWorkflowCompleted,
    SignalReceived,
    SignalSent,
)
from pyworkflow_core.replay import ChildEnd, Machine, current_machine, note, wait_for_end

from ..children import ChildWorkflowHandle, start_child_workflow
from ..definitions import WorkflowDefinition, workflow
from ..engine.continuing import can_hand_on, continue_as_new
from .definitions import steps_of, subscriber_name
from .naming import NEVER_GIVEN_UP, STREAM
from .signal import ENDED, JOIN, LAST, RESERVED, TERMINATE, WATCH, Wire, pack, unpack

EVENTS = 2000
"""Events of the run, about, after which it continues as new."""
_PER_SIGNAL = 3  # itself, and what a run notes of coming and going
_BACKLOG = 100


class _Error(Struct):
    type: str
    message: str


_decode_error = msgspec.json.Decoder(_Error).decode


class Hub:
    """A stream, in the hands of its run.

    Args:
        machine: the machine of the run.
        stream: the stream's name.
        stream_run_id: which run of it.
        state: what the run before this one handed on.
    """

    def __init__(
        self, machine: Machine, stream: str, stream_run_id: str | None, state: dict[str, Any]
    ) -> None:
        self._machine = machine
        self._of = stream, stream_run_id
        self._steps: dict[str, list[str]] = state["steps"]
        self._handles: dict[str, ChildWorkflowHandle] = state.get("handles", {})
        self._ends: dict[str, dict[str, Any]] = state.get("ends", {})
        self._watchers: list[str] = state.get("watchers", [])
        self._number: int = state.get("number", 0)
        self._terminated: bool = state.get("terminated", False)
        self._delayed: list[tuple[int, int, str, str]] = [tuple(d) for d in state.get("delayed", [])]
        self._later = len(self._delayed)
        self._events = 0
        self._tasks: dict[asyncio.Task[ChildEnd], str] = {}

    async def run(self) -> dict[str, Any]:
        """Take signals in until every step has ended.

        Returns:
            How it ended: what `run_stream_workflow` makes its result of.
        """
        try:
            await self._subscribe()
            await self._forward()
        except asyncio.CancelledError:
            self._tell_watchers(self._outcome("cancelled"))
            raise
        failed = any(end["state"] == "failed" for end in self._ends.values())
        outcome = self._outcome("failed" if failed else "terminated" if self._terminated else "completed")
        self._tell_watchers(outcome)
        return outcome

    async def _subscribe(self) -> None:
        """Start the steps that have not been started, and wait for the ends of all."""
        for name in self._steps:
            if name not in self._handles:
                consumer = _consumer(self._of[0], name)
                self._handles[name] = await start_child_workflow(
                    consumer, self._of[1], {}, wait_for_completion=False
                )
                self._events += 2
        watched = set(self._tasks.values()) | set(self._ends)
        for name, handle in self._handles.items():
            if name not in watched:
                child = self._machine.children[handle.run_id]
                task = asyncio.create_task(wait_for_end(self._machine, child))
                self._tasks[task] = name

    async def _forward(self) -> None:
        machine = self._machine
        pump = asyncio.create_task(machine.inbox.get(machine))
        while self._tasks:
            due = self._delayed[0][0] - machine.now if self._delayed else None
            timeout = None if due is None else max(due, 0) / 1e6
            done, _ = await asyncio.wait(
                [pump, *self._tasks], timeout=timeout, return_when=asyncio.FIRST_COMPLETED
            )
            for task in [task for task in self._tasks if task in done]:
                name = self._tasks.pop(task)
                self._ends[name] = _end_of(machine, task.result())
            if pump in done:
                await self._take(pump.result())
                pump = asyncio.create_task(machine.inbox.get(machine))
            while self._delayed and self._delayed[0][0] <= machine.now:
                _, _, kind, wire = heapq.heappop(self._delayed)
                self._send(kind, unpack(Raw(wire.encode())))
            grown = self._events + _PER_SIGNAL * machine.inbox.heard >= EVENTS
            quiet = not pump.done() and len(machine.inbox.untaken) < _BACKLOG
            if grown and self._tasks and quiet and can_hand_on(machine, self._state()):
                pump.cancel()  # or it would take a signal that belongs to the run that goes on
                continue_as_new(*self._of, self._state())
        pump.cancel()

    async def _take(self, signal: SignalReceived) -> None:
        wire = unpack(signal.payload)
        match signal.signal:
            case kind if not kind.startswith(RESERVED):
                if wire.delayed and wire.at > self._machine.now:
                    self._later += 1
                    text = bytes(signal.payload).decode()
                    heapq.heappush(self._delayed, (wire.at, self._later, kind, text))
                else:
                    self._send(kind, wire)
            case str(kind) if kind == WATCH:
                if signal.sender not in self._watchers:
                    self._watchers.append(signal.sender)
            case str(kind) if kind == JOIN:
                known = self._machine.decode(wire.body)["payload"]
                for name, types in known.items():
                    # A step that takes less by now passes over the rest; see `step_context.handle`.
                    self._steps[name] = sorted({*self._steps.get(name, ()), *types})
                if not self._terminated:
                    await self._subscribe()
            case str(kind) if kind == TERMINATE:
                self._terminate()

    def _send(self, kind: str, wire: Wire) -> None:
        """Tell the steps that take it the next signal of the stream."""
        if self._terminated:
            return
        self._number += 1
        payload = pack(msgspec.structs.replace(wire, number=self._number, delayed=False))
        for name in self._tasks.values():
            if kind in self._steps[name]:
                self._tell(self._handles[name].run_id, kind, str(self._number), payload)

    def _terminate(self) -> None:
        if not self._terminated:
            self._terminated = True
            self._delayed.clear()
            last = pack(Wire(Raw(b"null"), self._machine.now))
            for name in self._tasks.values():
                self._tell(self._handles[name].run_id, LAST, LAST, last)

    def _tell(self, run_id: str, kind: str, signal_id: str, payload: Raw) -> None:
        note(self._machine, SignalSent(run_id, kind, signal_id, payload))
        self._events += 1

    def _tell_watchers(self, outcome: dict[str, Any]) -> None:
        told = Raw(self._machine.codec.encode(outcome))
        for run_id in self._watchers:
            self._tell(run_id, ENDED, ENDED, told)

    def _outcome(self, status: str) -> dict[str, Any]:
        ended = {name: self._ends.get(name, {"state": status}) for name in self._handles}
        return {"status": status, "steps": ended, "signals": self._number}

    def _state(self) -> dict[str, Any]:
        return {
            "steps": self._steps,
            "handles": self._handles,
            "ends": self._ends,
            "watchers": self._watchers,
            "number": self._number,
            "terminated": self._terminated,
            "delayed": [list(delayed) for delayed in sorted(self._delayed)],
        }


@workflow(name=STREAM, max_recovery_attempts=NEVER_GIVEN_UP)
async def stream_hub(stream: str, stream_run_id: str | None, state: dict[str, Any]) -> dict[str, Any]:
    """The run of a stream; the state is what it begins with, or took over."""
    machine = current_machine.get()
    assert machine is not None
    return await Hub(machine, stream, stream_run_id, state).run()


def _consumer(stream: str, step: str) -> WorkflowDefinition[Any, Any]:
    """The workflow of a stream step; what stands for it where this process does not define the step."""
    known = steps_of(stream).get(step)
    if known is not None:
        return known.workflow

    async def subscriber(stream_run_id: str | None, state: dict[str, Any]) -> dict[str, Any]:
        raise NotImplementedError

    return WorkflowDefinition(subscriber, name=subscriber_name(stream, step))


def _end_of(machine: Machine, how: ChildEnd) -> dict[str, Any]:
    if isinstance(how, ChildWorkflowCompleted):
        end: dict[str, Any] = machine.decode(how.result)
        return end
    if isinstance(how, ChildWorkflowCancelled):
        return {"state": "cancelled", "error": how.reason}
    # As it stands in the log: whether this process knows the class must make no difference.
    error = _decode_error(how.error)
    return {"state": "failed", "error": f"{error.type.rpartition('.')[2]}: {error.message}"}
