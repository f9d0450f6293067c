"""Answers to hooks that the code has not taken, and hooks that a run takes over from its predecessor."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING

from msgspec import Raw

from ..carried import NO_RAW, Carried, CarriedHook
from ..events import Envelope
from ..payloads import HookExpired, HookReceived, HookRefused
from .hooks import HookCall
from .in_steps import on_step_hook_ended

if TYPE_CHECKING:
    from .machine import Machine

Key = tuple[str, int]


class Mail:
    """What came for hooks, and which tokens open them.

    An answer may come before the code of a run that continues another has asked for it. It is
    kept, and delivered (by an event of its own) as soon as the hook is there.
    """

    def __init__(self) -> None:
        self._tokens: dict[Key, str] = {}
        self._untaken: dict[Key, tuple[str, Raw]] = {}
        self._early: dict[Key, Raw] = {}
        self._ready: deque[Key] = deque()

    def carry(self, hooks: Iterable[CarriedHook]) -> None:
        """Take over what the predecessor had."""
        for hook in hooks:
            key = (hook.hook, hook.ordinal)
            self._tokens[key] = hook.token
            if len(hook.answer):
                self._early[key] = hook.answer

    def token(self, name: str, ordinal: int) -> str:
        """The token that the hook has from the predecessor; empty if it has none."""
        return self._tokens.get((name, ordinal), "")

    def created(self, call: HookCall) -> None:
        """The hook is in the log: what came before it can be delivered."""
        key = (call.name, call.ordinal)
        self._tokens.pop(key, None)
        if key in self._early:
            self._ready.append(key)

    def received(self, call: HookCall, answer: Raw) -> None:
        """An answer was delivered to a call; whether the code looks at it remains to be seen."""
        self._untaken[call.name, call.ordinal] = (call.token, answer)

    def came_early(self, key: Key, answer: Raw) -> None:
        """An answer came, and no call waits for it: keep the first one if the hook is still to come."""
        if key in self._tokens:
            self._early.setdefault(key, answer)

    def take(self, name: str, ordinal: int) -> None:
        """The code has the answer."""
        self._untaken.pop((name, ordinal), None)

    def next_delivery(self, hooks: dict[Key, HookCall]) -> HookReceived | None:
        """The next answer that can be delivered, as the event to append."""
        while self._ready:
            key = self._ready.popleft()
            if key in hooks:
                return HookReceived(*key, self._early[key])
        return None

    def carried(self, hooks: dict[Key, HookCall]) -> tuple[CarriedHook, ...]:
        """What a successor takes over: hooks still to come, open ones, answers not taken; numbered anew."""
        found: dict[Key, tuple[str, Raw]] = {key: (call.token, NO_RAW) for key, call in hooks.items()}
        found.update(self._untaken)
        for key, token in self._tokens.items():
            found[key] = (token, self._early.get(key, NO_RAW))
        ordinals: dict[str, int] = {}
        carried = []
        for name, ordinal in sorted(found):
            token, answer = found[name, ordinal]
            ordinals[name] = ordinals.get(name, 0) + 1
            carried.append(CarriedHook(name, ordinals[name], token, answer))
        return tuple(carried)


def carry_over(machine: Machine, args: bytes) -> Carried | None:
    """What a successor with these encoded arguments takes over; None if that is nothing.

    Of children that have ended only those go with it whose handle is among the arguments.
    """
    children = tuple(
        child.carried()
        for child in machine.children.values()
        if child.ended is None or child.run_id.encode() in args
    )
    undelivered = machine.cancel_requested and not machine.cancel_was_raised
    cancel = (machine.cancel_reason, machine.cancel_source) if undelivered else None
    inbox, context = machine.inbox.carried(), machine.notebook.context
    carried = Carried(machine.mail.carried(machine.hooks), children, cancel, *inbox, context=context)
    return None if carried == Carried() else carried


def on_hook_received(machine: Machine, envelope: Envelope[HookReceived]) -> None:
    """Somebody answered a hook."""
    payload = envelope.data
    if payload.step:
        on_step_hook_ended(machine, payload)
        return
    key = (payload.hook, payload.ordinal)
    call = machine.hooks.pop(key, None)
    if call is None:  # from outside, and nobody waits: an answer that lost, or one that came early
        machine.mail.came_early(key, payload.payload)
        return
    machine.advance(envelope.at)
    machine.mail.received(call, payload.payload)
    try:
        value = machine.decode(payload.payload, reach=call.reach)
        call.answer(call.revive(value) if call.revive is not None else value)
    except Exception as error:
        call.fail(error)
    machine.drain()


def on_hook_expired(machine: Machine, envelope: Envelope[HookExpired]) -> None:
    """A hook's timeout fired."""
    payload = envelope.data
    if payload.step:
        on_step_hook_ended(machine, payload)
        return
    call: HookCall = machine.take_waiting(machine.hooks, (payload.hook, payload.ordinal), envelope)
    call.fail(call.on_expired(f"hook {call.name!r} #{call.ordinal} got no answer in time"))
    machine.drain()


def on_hook_refused(machine: Machine, envelope: Envelope[HookRefused]) -> None:
    """The hook did not get the token that the code chose."""
    payload = envelope.data
    call: HookCall = machine.take_waiting(machine.hooks, (payload.hook, payload.ordinal), envelope)
    call.fail(
        call.on_refused(
            f"hook {call.name!r} #{call.ordinal}: token {call.own!r} is in use by hook "
            f"{payload.holder_hook!r} of run {payload.holder!r}. It is free again once that hook is "
            "answered, has expired, or is no longer waited for; or choose another token."
        )
    )
    machine.drain()
