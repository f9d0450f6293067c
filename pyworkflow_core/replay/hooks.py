"""The call of a hook: a wait for an answer from outside."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

from ..carried import OWN_TOKEN
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
        own: the token that the code chose; empty where the engine draws one.
        token: the token as the log has it, once the hook is recorded.
        schema: name of the payload's type, for people.
        reach: types that the payload may hold.
        revive: turns the decoded payload into what the workflow gets.
        on_created: called with the token once the hook is durable.
        on_expired: the error that the workflow gets when the timeout fires.
        on_refused: the error that it gets when another hook has the token.
        in_a_task: whether a task of its own waits for it; then the answer is taken from that.
    """

    __slots__ = (
        "expires_at",
        "in_a_task",
        "on_created",
        "on_expired",
        "on_refused",
        "own",
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
        on_refused: Callable[[str], BaseException] = ValueError,
        token: str = "",
        site: Site | None = None,
    ) -> None:
        super().__init__(machine, name, count_call(machine.hook_ordinals, name), site)
        self.timeout = timeout
        self.in_a_task = False
        self.expires_at: int | None = None
        self.own = token
        self.token = ""
        self.schema = schema
        self.reach = reach
        self.revive = revive
        self.on_created = on_created
        self.on_expired = on_expired
        self.on_refused = on_refused

    @property
    def public_token(self) -> str:
        """What people are told."""
        return public_token(self.machine.run_id, self.token)

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
        token = self.token or (OWN_TOKEN + self.own if self.own else "")
        return HookCreated(
            self.name,
            self.ordinal,
            token or self.machine.mail.token(self.name, self.ordinal) or self.machine.draw_token(),
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
        own = payload.token == OWN_TOKEN + self.own or not self.own
        return "" if own and payload.expires_at == self.expires_at else "arguments"


def public_token(run_id: str, token: str) -> str:
    """What people are told of a token that stands in the log of a run."""
    return token.removeprefix(OWN_TOKEN) if token.startswith(OWN_TOKEN) else f"{run_id}.{token}"
