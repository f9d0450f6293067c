"""Events from outside a run: answers to hooks, cancellation requests.

Each is validated against the log and appended where the log ends; if somebody else appended
first, it is validated again. So of two answers to one hook exactly one is accepted.
"""

from __future__ import annotations

import contextlib
import hmac
from typing import Any

import msgspec
from msgspec import Raw, Struct

from pyworkflow_core.errors import InvalidIdError, UnserializableValueError
from pyworkflow_core.ids import validate_id
from pyworkflow_core.payloads import CancellationRequested, HookReceived, Payload, WorkflowCancelled
from pyworkflow_core.record import RunRecord, RunStatus
from pyworkflow_core.storage import StorageBackend

from ..durations import Duration, to_duration
from ..errors import (
    HookAlreadyReceivedError,
    HookExpiredError,
    HookNotFoundError,
    InvalidTokenError,
    WorkflowNotFoundError,
)
from ..primitives import get_typed_hook
from ..schemas import to_schema
from .clock import time_limit
from .engine import Engine
from .history import HookState, envelopes_of, hooks_of
from .outbox import has_run_no_code, run_errand
from .outside import append_outside, end_of_chain
from .results import wait_until_ended
from .transient import engine_of, plain_id, why_not_found

_SECRET_DIGITS = 32


class ResumeResult(Struct, frozen=True):
    """What became of an answer to a hook.

    Attributes:
        run_id: the run that waits for it.
        hook_id: the hook, as ``name#ordinal``.
        status: ``resumed``: the answer is recorded and the run is due.
    """

    run_id: str
    hook_id: str
    status: str


async def resume_hook(
    token: str, payload: Any = None, *, storage: StorageBackend | str | None = None
) -> ResumeResult:
    """Answer a hook. The answer is recorded and the run is due; a worker or `resume` drives it.

    Args:
        token: what `on_created` was given; ``run_id:hook_id`` is accepted too.
        payload: the answer: any value that the log can hold.
        storage: where the run's log is; the configured one unless given.

    Raises:
        InvalidTokenError: the text is no token.
        HookNotFoundError: no hook answers to it.
        HookAlreadyReceivedError: somebody was faster.
        HookExpiredError: its timeout has fired, or its run has ended or no longer waits.
        ValueError: the payload does not fit the hook's type.
        UnserializableValueError: the payload cannot be recorded.
    """
    run_id, name = _parse(token)
    engine = engine_of(run_id, storage)
    secret = token.rpartition(".")[2] if name is None else None
    while True:
        record = await engine.storage.get(run_id)
        if record is None:
            raise HookNotFoundError("no hook answers to this token; its run does not exist in this storage")
        history = envelopes_of(await engine.storage.read(run_id, limit=record.head))
        state = _find(hooks_of(history), name, secret)
        created = state.created
        if record.status is RunStatus.CONTINUED_AS_NEW and state.status == "open":
            # The run that goes on has the hook, under the same token and perhaps another number.
            await end_of_chain(engine, run_id)
            run_id, name, secret = record.detail.continued_to or "", None, created.token
            continue
        _check_open(engine, record, state)
        answer = HookReceived(created.hook, created.ordinal, Raw(_encode(engine, created.hook, payload)))
        if await append_outside(engine, record, [answer]):
            return ResumeResult(run_id, f"{created.hook}#{created.ordinal}", "resumed")


async def cancel_workflow(
    run_id: str,
    reason: str | None = None,
    wait: bool = False,
    timeout: Duration | None = None,
    *,
    storage: StorageBackend | str | None = None,
) -> bool:
    """Ask a run to stop. Its code gets `CancellationError` at its next pyworkflow await.

    Of a run that continued as new, the one that goes on is asked. A run is asked once: a second
    request changes nothing, and the first reason stands.

    Args:
        run_id: the run.
        reason: text that the code and the log get.
        wait: until the run has ended; it is taken up here if it is due and nobody has it.
        timeout: how long to wait at most.
        storage: where the run's log is; the configured one unless given.

    Returns:
        False if the run had ended already, otherwise True.

    Raises:
        WorkflowNotFoundError: there is no such run.
        ValueError: the reason cannot be recorded, or the timeout is no duration.
        TimeoutError: it did not end in time; the request stands.
    """
    run_id = plain_id(run_id)
    engine = engine_of(run_id, storage)
    limit = None if timeout is None else to_duration(timeout, "timeout")
    if reason is not None and (
        not isinstance(reason, str) or reason != reason.encode(errors="ignore").decode()
    ):
        raise ValueError(f"the reason of a cancellation is text without lone surrogates, not {reason!r}")
    while True:
        record = await end_of_chain(engine, run_id)
        if record is None or not record.workflow:
            raise WorkflowNotFoundError(
                f"there is no run {run_id!r} in {engine.storage!r}, so nothing was cancelled"
                f"{why_not_found(run_id)}"
            )
        if record.status.is_terminal:
            return False
        if record.detail.cancel_requested:
            break
        payloads: list[Payload] = [CancellationRequested(reason)]
        if has_run_no_code(record):
            payloads.append(WorkflowCancelled(reason))
        if await append_outside(engine, record, payloads):
            if len(payloads) > 1:
                await run_errand(engine, record.run_id)
            break
    if wait:
        async with time_limit(engine.clock, limit, f"run {run_id!r} was asked to stop and did not end"):
            await wait_until_ended(engine, run_id, here=True)
    return True


def _parse(token: str) -> tuple[str, str | None]:
    """The run id, and the hook's name where the token names it; None where it holds a secret."""
    if isinstance(token, str):
        run_id, dot, secret = token.rpartition(".")
        with contextlib.suppress(InvalidIdError):
            if dot and run_id and len(secret) == _SECRET_DIGITS and set(secret) <= set("0123456789abcdef"):
                return validate_id(run_id), None
            run_id, colon, hook_id = token.rpartition(":")
            if colon and run_id and hook_id:
                return validate_id(run_id), hook_id
    raise InvalidTokenError(
        "this is not a hook token: pass on what on_created was given, or 'run_id:hook_id'"
    )


def _find(hooks: dict[tuple[str, int], HookState], name: str | None, secret: str | None) -> HookState:
    for (hook, ordinal), state in hooks.items():
        if name is None:
            if secret and hmac.compare_digest(state.created.token, secret):
                return state
        elif name == f"{hook}#{ordinal}" or (name == hook and ordinal == 1):
            return state
    raise HookNotFoundError("no hook answers to this token")


def _check_open(engine: Engine, record: RunRecord, state: HookState) -> None:
    what = f"hook {state.created.hook!r} of run {record.run_id!r}"
    if state.status == "received":
        raise HookAlreadyReceivedError(f"{what} was answered before; the first answer stands")
    if record.status.is_terminal:
        raise HookExpiredError(f"{what} is no longer open: the run is {record.status}")
    expires = state.created.expires_at
    if state.status == "expired" or (expires is not None and expires <= engine.clock.now()):
        raise HookExpiredError(f"{what} got no answer in time; this one comes too late")
    if state.status == "disposed":
        raise HookExpiredError(f"{what} is no longer open: the workflow stopped waiting for it")


def _encode(engine: Engine, name: str, payload: Any) -> bytes:
    typed = get_typed_hook(name)
    value = payload if typed is None else to_schema(payload, typed.schema)
    try:
        return engine.codec.encode(value, where="payload")
    except UnserializableValueError as unwritable:
        # A typed payload travels as plain data; the workflow's side makes the type of it again.
        try:
            plain = _plain(value)
        except (TypeError, ValueError, RecursionError):
            raise unwritable from None
        return engine.codec.encode(plain, where="payload")


def _plain(value: Any) -> Any:
    dump = getattr(value, "model_dump", None)
    return dump(mode="json") if dump is not None else msgspec.to_builtins(value)
