"""Children of a run: their calls, what is known of each, and how their ends reach the code."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..carried import NO_RAW, CarriedChild
from ..events import Envelope
from ..payloads import (
    ChildWorkflowCancelled,
    ChildWorkflowCompleted,
    ChildWorkflowFailed,
    ChildWorkflowReleased,
    ChildWorkflowStarted,
    Payload,
    WorkflowStarted,
)
from .calls import CANCEL_REQUEST, Call, Site, count_call, site_text
from .requests import request_to_stop

if TYPE_CHECKING:
    from .machine import Machine

ChildEnd = ChildWorkflowCompleted | ChildWorkflowFailed | ChildWorkflowCancelled
"""How a child ended, as its parent was told."""


class Child:
    """What a run knows of one of its children.

    Attributes:
        name: the child's workflow.
        run_id: its run id, as it was started.
        abandon: whether the parent's end leaves it alone.
        call: the call that waits for it, if one does.
        ended: how it ended; None while it has not.
        waiters: futures of code that waits for its end by a handle.
    """

    __slots__ = ("abandon", "call", "ended", "name", "run_id", "waiters")

    def __init__(self, name: str, run_id: str, *, abandon: bool, call: ChildCall | None = None) -> None:
        self.name = name
        self.run_id = run_id
        self.abandon = abandon
        self.call = call
        self.ended: ChildEnd | None = None
        self.waiters: list[asyncio.Future[Any]] = []

    def end(self, how: ChildEnd) -> None:
        """Take how it ended, and tell whoever waits."""
        self.ended = how
        call = self.call
        if call is not None and not call.settled:
            try:
                call.answer(call.revive(how))
            except Exception as error:
                call.fail(error)
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_result(how)
        self.waiters.clear()

    def carried(self) -> CarriedChild:
        """What a successor of the run has to know."""
        how = self.ended
        return CarriedChild(
            self.name,
            self.run_id,
            self.abandon,
            how.result if isinstance(how, ChildWorkflowCompleted) else NO_RAW,
            how.error if isinstance(how, ChildWorkflowFailed) else NO_RAW,
            how.reason if isinstance(how, ChildWorkflowCancelled) else None,
            _STATUS[how.__class__],
        )


_STATUS: dict[type[Any], str] = {
    type(None): "open",
    ChildWorkflowCompleted: "completed",
    ChildWorkflowFailed: "failed",
    ChildWorkflowCancelled: "cancelled",
}


def child_of(carried: CarriedChild) -> Child:
    """A child that the run took over from the one it continues."""
    child = Child(carried.child, carried.run_id, abandon=carried.abandon)
    match carried.status:
        case "completed":
            child.ended = ChildWorkflowCompleted(carried.child, carried.run_id, carried.result)
        case "failed":
            child.ended = ChildWorkflowFailed(carried.child, carried.run_id, carried.error)
        case "cancelled":
            child.ended = ChildWorkflowCancelled(carried.child, carried.run_id, carried.reason)
    return child


class ChildCall(Call):
    """The start of a child.

    Attributes:
        run_id: the child's run id.
        start: the first event of the child's log.
        abandon: whether the parent's end leaves it alone.
        handle: what the workflow gets at once; None if it waits for the child's end.
        revive: makes of the child's end what the workflow gets, or raises.
    """

    __slots__ = ("abandon", "handle", "revive", "run_id", "start")

    KIND = "child"

    def __init__(
        self,
        machine: Machine,
        start: WorkflowStarted,
        derive: Callable[[str, int], str],
        *,
        abandon: bool = False,
        make_handle: Callable[[str], Any] | None = None,
        revive: Callable[[ChildEnd], Any] = lambda how: how,
        site: Site | None = None,
    ) -> None:
        super().__init__(machine, start.workflow, count_call(machine.child_ordinals, start.workflow), site)
        self.run_id = derive(self.name, self.ordinal)
        self.start = start
        self.abandon = abandon
        self.handle = None if make_handle is None else make_handle(self.run_id)
        self.revive = revive

    @property
    def is_done_at_once(self) -> bool:  # type: ignore[override]
        """Whether the code has its handle and goes on."""
        return self.handle is not None

    @property
    def weight(self) -> int:  # type: ignore[override]
        """Bytes of the arguments, which the command's event holds."""
        return len(self.start.args)

    def issue(self) -> None:
        """Become a command, the first time; a handle is there at once."""
        if self.begun:
            return
        super().issue()
        waits = self.handle is None
        child = Child(self.name, self.run_id, abandon=self.abandon, call=self if waits else None)
        self.machine.children[self.run_id] = child
        if not waits:
            self.answer(self.handle)

    def started(self) -> Payload:
        """The command event's payload."""
        at = site_text(self.site)
        return ChildWorkflowStarted(self.name, self.ordinal, self.run_id, self.start, self.abandon, "", at)

    def cancelled_payload(self) -> Payload:
        """The payload that says that nobody waits any more; then the child is asked to stop."""
        reason = self.machine.cancel_reason if self.machine.cancel_delivered else None
        return ChildWorkflowReleased(self.name, self.run_id, not self.abandon, reason)

    def mismatch(self, payload: Any) -> str:
        """What differs from a recorded command."""
        if (
            payload.__class__ is not ChildWorkflowStarted
            or payload.child != self.name
            or payload.ordinal != self.ordinal
        ):
            return "step"
        same = bytes(payload.start.args) == bytes(self.start.args) and payload.abandon == self.abandon
        return "" if same else "arguments"


class ReleaseCall(Call):
    """The workflow asks one of its children to stop, by its handle."""

    __slots__ = ("reason", "run_id")

    KIND = "cancelling of child"
    is_done_at_once = True

    def __init__(self, machine: Machine, child: Child, reason: str | None, site: Site | None) -> None:
        super().__init__(machine, child.name, 1, site)
        self.run_id = child.run_id
        self.reason = reason

    def issue(self) -> None:
        """Become a command, the first time; there is nothing to wait for."""
        if not self.begun:
            super().issue()
            self.answer(True)

    def started(self) -> Payload:
        """The command event's payload."""
        return ChildWorkflowReleased(self.name, self.run_id, True, self.reason)

    def mismatch(self, payload: Any) -> str:
        """What differs from a recorded command."""
        if payload.__class__ is not ChildWorkflowReleased or payload.run_id != self.run_id:
            return "step"
        return "" if payload == self.started() else "arguments"


async def wait_for_end(machine: Machine, child: Child) -> ChildEnd:
    """Wait until the parent is told how the child ended."""
    if child.ended is not None:
        return child.ended
    waiter = machine.loop.create_future()
    child.waiters.append(waiter)
    try:
        how: ChildEnd = await waiter
    except asyncio.CancelledError as error:
        if error.args == (CANCEL_REQUEST,):
            raise request_to_stop(machine) from None
        raise
    return how


def on_child_started(machine: Machine, envelope: Envelope[ChildWorkflowStarted]) -> None:
    """A child was started: by the code, or by one of its steps."""
    payload = envelope.data
    if not payload.step:
        machine.on_command(envelope)
    elif payload.run_id not in machine.children:
        machine.children[payload.run_id] = Child(payload.child, payload.run_id, abandon=payload.abandon)


def on_child_released(machine: Machine, envelope: Envelope[ChildWorkflowReleased]) -> None:
    """The code gave a child up, or asked it to stop."""
    if machine.pending and not machine.pending[0][1]:
        machine.on_command(envelope)
    else:
        machine.on_given_up(envelope)


def on_child_ended(machine: Machine, envelope: Envelope[ChildEnd]) -> None:
    """The run was told how a child ended; if it was told twice, the first time counts."""
    child = machine.children.get(envelope.data.run_id)
    if child is None or child.ended is not None:
        return
    machine.advance(envelope.at)
    child.end(envelope.data)
    machine.drain()
