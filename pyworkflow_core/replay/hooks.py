"""The call of a hook: a wait for an answer from outside."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

from ..codec import EMPTY_REACH, Reach
from ..payloads import HookCreated, HookDisposed, Payload
from .calls import Call, Site, count_call, site_text
from .loop import HookTask

if TYPE_CHECKING:
    from .machine import Machine


class HookCall(Call):
    """A wait for an answer from outside.

    Attributes:
        timeout: microseconds until it expires; None for never.
        expires_at: when it does.
        token: the secret that lets somebody answer; the engine draws it when it records the hook.
        schema: name of the payload's type, for people.
        reach: types that the payload may hold.
        revive: turns the decoded payload into what the workflow gets.
        on_created: called with the token once the hook is durable.
        on_expired: the error that the workflow gets when the timeout fires.
        in_a_task: whether a task of its own waits for it; then the answer is taken from that.
    """

    __slots__ = (
        "expires_at",
        "in_a_task",
        "on_created",
        "on_expired",
        "reach",
        "revive",
        "schema",
        "timeout",
        "token",
    )

    KIND = "hook"
    TASK = HookTask

    def __init__(
        self,
        machine: Machine,
        name: str,
        *,
        timeout: int | None = None,
        schema: str = "",
        reach: Reach = EMPTY_REACH,
        revive: Callable[[Any], Any] | None = None,
        on_created: Callable[[str], Any] | None = None,
        on_expired: Callable[[str], BaseException] = TimeoutError,
        site: Site | None = None,
    ) -> None:
        super().__init__(machine, name, count_call(machine.hook_ordinals, name), site)
        self.timeout = timeout
        self.in_a_task = False
        self.expires_at: int | None = None
        self.token = ""
        self.schema = schema
        self.reach = reach
        self.revive = revive
        self.on_created = on_created
        self.on_expired = on_expired

    def issue(self) -> None:
        """Become a command; the timeout begins now, in workflow time."""
        if not self.begun and self.timeout is not None:
            self.expires_at = self.machine.now + self.timeout
        super().issue()

    def __await__(self) -> Generator[Any, None, Any]:
        value = yield from super().__await__()
        if not self.in_a_task:
            self.take()
        return value

    def result(self) -> Any:
        """The answer; it counts as taken."""
        value = super().result()
        if not self.in_a_task:
            self.take()
        return value

    def take(self) -> None:
        """The code has the answer."""
        self.machine.mail.take(self.name, self.ordinal)

    def started(self) -> Payload:
        """The command event's payload."""
        return HookCreated(
            self.name,
            self.ordinal,
            self.token or self.machine.mail.token(self.name, self.ordinal) or self.machine.draw_token(),
            self.expires_at,
            self.schema,
            site_text(self.site),
        )

    def cancelled_payload(self) -> Payload:
        """The payload that says that nobody waits any more."""
        return HookDisposed(self.name, self.ordinal)

    def mismatch(self, payload: Any) -> str:
        """What differs from a recorded command."""
        if (
            payload.__class__ is not HookCreated
            or payload.hook != self.name
            or payload.ordinal != self.ordinal
        ):
            return "step"
        return "" if payload.expires_at == self.expires_at else "arguments"
