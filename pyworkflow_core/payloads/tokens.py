"""Tokens that code chose for its hooks: who has one, and who did not get it."""

from __future__ import annotations

from typing import ClassVar

from .base import EventType, Payload


class HookTokenTaken(Payload, frozen=True, gc=False, omit_defaults=True):
    """A hook has the token to whose log this event belongs; the log's last event says which hook.

    The log's id is derived from the token. It is no workflow's log.

    Attributes:
        token: the token.
        run_id: the run that waits.
        hook: the hook's name.
        ordinal: the how-manieth hook of that name.
    """

    TYPE: ClassVar[EventType] = EventType.HOOK_TOKEN_TAKEN

    token: str
    run_id: str
    hook: str
    ordinal: int = 1


class HookRefused(Payload, frozen=True, gc=False, omit_defaults=True):
    """The hook did not get the token that the code chose: an open hook has it. The workflow gets an error.

    Attributes:
        hook: the hook's name.
        ordinal: the how-manieth hook of that name.
        holder: run id of the run that has the token.
        holder_hook: its hook, as ``name#ordinal``.
    """

    TYPE: ClassVar[EventType] = EventType.HOOK_REFUSED

    hook: str
    ordinal: int = 1
    holder: str = ""
    holder_hook: str = ""
