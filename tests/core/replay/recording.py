"""Drives a program on a machine in a random order, records its history, and replays it.

Run as a script, it replays histories that another process recorded: see `digest_of`.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from msgspec import Raw, Struct

from pyworkflow_core.codec import default_codec
from pyworkflow_core.events import Envelope, decode_bodies, encode_body
from pyworkflow_core.payloads import (
    CancellationRequested,
    HookReceived,
    Payload,
    StepCompleted,
    StepFailed,
    StepRetrying,
    WorkflowStarted,
)
from pyworkflow_core.replay import HookCall, Machine, SleepCall, StepCall, WorkflowLoop

SECOND = 1_000_000
BEGIN = 1_700_000_000_000_000

Program = Callable[[list[Any]], Awaitable[Any]]


def machine_here() -> Machine:
    """The machine whose code runs."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, WorkflowLoop)
    return loop.machine


def step(name: str, *args: Any) -> Any:
    """Call a step, as the front door does."""
    frame = sys._getframe(1)
    return StepCall(
        machine_here(), name, default_codec.encode_args(args, {}), site=(frame.f_code, frame.f_lasti)
    )


def sleep(seconds: float) -> Any:
    """Sleep durably."""
    frame = sys._getframe(1)
    site = (frame.f_code, frame.f_lasti)
    return SleepCall(machine_here(), "sleep", duration=round(seconds * SECOND), site=site)


def hook(name: str, timeout: float | None = None) -> Any:
    """Wait for somebody."""
    frame = sys._getframe(1)
    micros = None if timeout is None else round(timeout * SECOND)
    return HookCall(machine_here(), name, timeout=micros, site=(frame.f_code, frame.f_lasti))


class Recording(Struct):
    """What one live execution left.

    Attributes:
        bodies: its history, as events' bodies.
        effects: what the program noted on its way.
        outcome: how it ended, in words.
    """

    bodies: list[str]
    effects: list[Any]
    outcome: str

    @property
    def history(self) -> list[Envelope[Any]]:
        """The history, decoded."""
        return decode_bodies([body.encode() for body in self.bodies])


def new_machine(program: Program, effects: list[Any]) -> Machine:
    """A machine that runs `program`."""

    async def main(started: WorkflowStarted) -> Any:
        return await program(effects)

    tokens = iter(range(10**6))
    return Machine("run", main, draw_token=lambda: f"{next(tokens):032x}")


def outcome_of(machine: Machine) -> str:
    """How it ended, or what it waits for."""
    outcome = machine.outcome
    if outcome is None:
        return f"waits for {machine.waiting()}"
    if outcome.error is not None:
        return f"{'cancelled' if outcome.cancelled else 'raised'} {outcome.error!r}"
    return f"returned {outcome.value!r}"


class Live:
    """One live execution: deliveries in an order that `seed` decides."""

    def __init__(self, program: Program, seed: int, *, cancels: bool = False) -> None:
        self.effects: list[Any] = []
        self.bodies: list[bytes] = []
        self.machine = new_machine(program, self.effects)
        self.now = BEGIN
        self.random = random.Random(seed)
        self.cancels = cancels

    def run(self) -> Recording:
        """Drive it until it ends, or nothing could come any more."""
        self._deliver(WorkflowStarted("program", owner="o", python=_python()))
        for _ in range(500):
            self._record_commands()
            payload = self._next()
            if payload is None:
                break
            self._deliver(payload)
        recording = Recording(
            [body.decode() for body in self.bodies], self.effects[:], outcome_of(self.machine)
        )
        self.machine.evict()
        return recording

    def _deliver(self, payload: Payload) -> None:
        body = encode_body(payload, self.now)
        self.bodies.append(body)
        self.machine.feed(decode_bodies([body]))

    def _record_commands(self) -> None:
        if self.machine.outcome is None:
            taken = self.machine.take_commands()
            self.bodies += [encode_body(payload, self.now) for _, payload in taken]

    def _next(self) -> Payload | None:
        machine, rng = self.machine, self.random
        if machine.outcome is not None:
            return None
        self.now += rng.randrange(0, 2 * SECOND)
        if self.cancels and rng.random() < 0.15 and not machine.cancel_requested:
            return CancellationRequested("why not")
        choices: list[Callable[[], Payload | None]] = [
            lambda call=call: self._answer(call)  # type: ignore[misc]
            for call in machine.open_steps()
        ]
        choices += [lambda h=h: HookReceived(h.name, h.ordinal, _raw("ok")) for h in machine.hooks.values()]  # type: ignore[misc]
        if machine.next_wake() is not None:
            choices.append(self._wait)
        return rng.choice(choices)() if choices else None

    def _wait(self) -> Payload | None:
        wake = self.machine.next_wake()
        assert wake is not None
        self.now = max(self.now, wake)
        return self.machine.next_due(self.now)

    def _answer(self, call: StepCall) -> Payload:
        fate = self.random.random()
        if fate < 0.15:
            error = ValueError(f"{call.name}#{call.ordinal} failed")
            return StepFailed(call.name, call.ordinal, Raw(default_codec.encode_error(error)), call.attempt)
        if fate < 0.25:
            error = ValueError("once more")
            encoded = Raw(default_codec.encode_error(error))
            return StepRetrying(
                call.name, call.ordinal, encoded, call.attempt, call.failures + 1, self.now + SECOND
            )
        args, _ = default_codec.decode_args(call.args)
        return StepCompleted(call.name, call.ordinal, _raw([call.ordinal, *args]))


def _raw(value: Any) -> Raw:
    return Raw(default_codec.encode(value))


def _python() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def replay(program: Program, recording: Recording, *, one_by_one: bool) -> Recording:
    """Feed a history to a fresh machine; what that leaves."""
    effects: list[Any] = []
    machine = new_machine(program, effects)
    history = recording.history
    for part in [[envelope] for envelope in history] if one_by_one else [history]:
        machine.feed(part)
    left = [call.describe() for call, _ in machine.pending]
    assert not left, f"commands that the history does not hold: {left}"
    replayed = Recording(recording.bodies, effects[:], outcome_of(machine))
    machine.evict()
    return replayed


def digest_of(programs: dict[str, Program], recordings: dict[str, list[Recording]]) -> str:
    """A digest of what replays of these histories do in this process."""
    digest = hashlib.sha256()
    for name, some in recordings.items():
        for recording in some:
            replayed = replay(programs[name], recording, one_by_one=False)
            digest.update(repr((name, replayed.effects, replayed.outcome)).encode())
    return digest.hexdigest()


if __name__ == "__main__":
    from asyncio_programs import PROGRAMS

    found = msgspec.json.decode(sys.stdin.read(), type=dict[str, list[Recording]])
    print(json.dumps(digest_of(PROGRAMS, found)))
