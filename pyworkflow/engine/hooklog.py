"""What a log says of the run's hooks, without running any code."""

from __future__ import annotations

import hmac
from typing import Any

from msgspec import Struct

from pyworkflow_core.events import Envelope
from pyworkflow_core.payloads import (
    HookCreated,
    HookDisposed,
    HookExpired,
    HookReceived,
    HookRefused,
    StepCancelled,
    StepCompleted,
    StepFailed,
    WorkflowStarted,
)
from pyworkflow_core.replay import step_text

Key = tuple[str, int]


class HookState(Struct, frozen=True):
    """A hook as the log has it.

    Attributes:
        created: how it was created.
        status: ``open``, ``received``, ``expired``, ``disposed`` or ``refused``.
        at: when it was created, in microseconds; of one that was taken over, when the run began.
    """

    created: HookCreated
    status: str
    at: int = 0

    @property
    def hook_id(self) -> str:
        """The hook for people: ``name#ordinal``, and before it ``step#ordinal/`` if a step waits."""
        created = self.created
        before = f"{created.step}/" if created.step else ""
        return f"{before}{created.hook}#{created.ordinal}"


def hooks_of(history: list[Envelope[Any]]) -> dict[Key, HookState]:
    """Every hook of the run, by name and ordinal; a step's hook by a name that no other has."""
    found: dict[Key, HookState] = {}
    of_steps = False
    for envelope in history:
        payload = envelope.data
        cls = payload.__class__
        if cls is WorkflowStarted and payload.carried is not None:
            for hook in payload.carried.hooks:
                there = HookCreated(hook.hook, hook.ordinal, hook.token)
                status = "received" if len(hook.answer) else "open"
                found[hook.hook, hook.ordinal] = HookState(there, status, envelope.at)
        elif cls is HookCreated:
            of_steps = of_steps or bool(payload.step)
            early = found.get(_key(payload))
            status = early.status if early is not None else "open"
            if early is None or not payload.step:
                found[_key(payload)] = HookState(payload, status, envelope.at)
        elif cls in _STATUS:
            key = _key(payload)
            state = found.get(key)
            if state is not None and state.status == "open":
                found[key] = HookState(state.created, _STATUS[cls], state.at)
        elif of_steps and cls in _ENDS_OF_STEPS:
            step = step_text(payload.step, payload.ordinal)
            for key, state in found.items():
                if state.status == "open" and state.created.step == step:
                    found[key] = HookState(state.created, "disposed", state.at)
    return found


def find_hook(hooks: dict[Key, HookState], token: str) -> HookState | None:
    """The open hook that was created first with this token as the log has it, else the last of them."""
    same = hmac.compare_digest
    found = [state for state in hooks.values() if same(state.created.token.encode(), token.encode())]
    return next((state for state in found if state.status == "open"), found[-1] if found else None)


def _key(payload: Any) -> Key:
    # No name holds a NUL.
    step = getattr(payload, "step", "")
    return f"{step}\0{payload.hook}" if step else payload.hook, payload.ordinal


_STATUS: dict[type[Any], str] = {
    HookReceived: "received",
    HookExpired: "expired",
    HookDisposed: "disposed",
    HookRefused: "refused",
}
_ENDS_OF_STEPS = {StepCompleted, StepFailed, StepCancelled}
