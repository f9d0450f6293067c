"""Tokens that code chose for its hooks: for each there is a small log that says which hook has it.

The log's id is derived from the token, and its last event counts. A token is taken when the hook
is in the log of its run, and before anybody is told of it. It is free as soon as the hook that has
it is not open any more; nobody needs to give it back.
"""

from __future__ import annotations

import contextlib

from msgspec import Struct

from pyworkflow_core.carried import OWN_TOKEN
from pyworkflow_core.events import Event, decode_body, encode_body
from pyworkflow_core.ids import derive_run_id, validate_id
from pyworkflow_core.payloads import HookCreated, HookRefused, HookTokenTaken
from pyworkflow_core.record import RunRecord, evolve
from pyworkflow_core.storage import Append, Committed, Refused

from .engine import Engine
from .history import envelopes_of
from .hooklog import HookState, find_hook, hooks_of
from .outside import append_outside, end_of_chain

MAX_TOKEN_BYTES = 64


class Take(Struct, frozen=True):
    """A hook is to get the token that its code chose."""

    token: str
    run_id: str
    hook: str
    ordinal: int


def check_own_token(token: str) -> str:
    """The token, if code may choose it.

    Raises:
        InvalidIdError: it is empty, or no text that every storage takes.
        ValueError: it is too long, or looks like one that was drawn.
    """
    validate_id(token, "token of a hook")
    size = len(token.encode())
    if size > MAX_TOKEN_BYTES:
        raise ValueError(f"token {token[:40]!r}… of a hook has {size} bytes; at most {MAX_TOKEN_BYTES} fit")
    if token.startswith("run_"):
        raise ValueError(f"token {token!r} of a hook begins with 'run_', as tokens do that are drawn")
    return token


async def take(engine: Engine, wanted: Take) -> HookRefused | None:
    """Take a token for a hook that is in its run's log; it may be done twice.

    Returns:
        What the run is told if another open hook has the token; otherwise None.
    """
    log_id = _log_of(wanted.token)
    me = wanted.run_id, wanted.hook, wanted.ordinal
    mine = HookTokenTaken(wanted.token, *me)
    while True:
        record = await engine.storage.get(log_id)
        if record is None:
            if await _begin(engine, log_id, mine):
                return None
            continue
        holder, state = await _holder(engine, record)
        if holder is not None and state is not None and _is_open(engine, holder, state):
            if (holder.run_id, state.created.hook, state.created.ordinal) != me:
                return HookRefused(wanted.hook, wanted.ordinal, holder.run_id, state.hook_id)
            if await _last(engine, record) == mine:
                return None
        # Written also where the run has it already: whoever found it free before is refused by that.
        if await append_outside(engine, record, [mine]):
            return None


def is_own(token: str) -> bool:
    """Whether a token, as the log has it, is one that code chose."""
    return token.startswith(OWN_TOKEN)


async def forget_tokens(engine: Engine, record: RunRecord) -> None:
    """Delete what is kept of the tokens that a run took, before the run itself is deleted."""
    if not record.detail.hooks:
        return
    history = envelopes_of(await engine.storage.read(record.run_id, limit=record.head))
    chosen = {e.data.token for e in history if isinstance(e.data, HookCreated) and is_own(e.data.token)}
    for token in chosen:
        log_id = _log_of(token.removeprefix(OWN_TOKEN))
        found = await engine.storage.get(log_id)
        if found is not None and (await _last(engine, found)).run_id == record.run_id:
            with contextlib.suppress(ValueError):  # somebody else takes it just now
                await engine.storage.delete(log_id, expected=found.head)


async def run_of_token(engine: Engine, token: str) -> str | None:
    """The run whose hook has the token, or had it last; None if nobody ever had."""
    record = await engine.storage.get(_log_of(token))
    return None if record is None else (await _last(engine, record)).run_id


def _log_of(token: str) -> str:
    return derive_run_id("hook token", token)


async def _begin(engine: Engine, log_id: str, mine: HookTokenTaken) -> bool:
    incarnation = engine.ids.incarnation()
    event = Event(log_id, 1, engine.ids.event_id(), encode_body(mine, engine.clock.now()))
    record = evolve(None, [event], incarnation=incarnation)
    answer = await engine.queue.append(Append(log_id, incarnation, 0, (event,), record))
    if isinstance(answer, Refused):
        raise answer.error
    return isinstance(answer, Committed)


async def _last(engine: Engine, record: RunRecord) -> HookTokenTaken:
    after = record.head - 1
    while True:
        for event in reversed(await engine.storage.read(record.run_id, after=after)):
            payload = decode_body(event.body).data
            if isinstance(payload, HookTokenTaken):
                return payload
        assert after, "the log of a token begins with who took it"
        after = 0  # somebody wrote events of another kind


async def _holder(engine: Engine, record: RunRecord) -> tuple[RunRecord | None, HookState | None]:
    """The run that goes on for the one that took the token, and its hook."""
    last = await _last(engine, record)
    holder = await end_of_chain(engine, last.run_id)
    if holder is None:
        return None, None
    history = envelopes_of(await engine.storage.read(holder.run_id, limit=holder.head))
    return holder, find_hook(hooks_of(history), OWN_TOKEN + last.token)


def _is_open(engine: Engine, record: RunRecord, state: HookState) -> bool:
    expires = state.created.expires_at
    over = expires is not None and expires <= engine.clock.now()
    return state.status == "open" and not over and not record.status.is_terminal
