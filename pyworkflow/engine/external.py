"""Events from outside a run: answers to hooks, cancellation requests.

Each is validated against the log and appended where the log ends; if somebody else appended
first, it is validated again. So of two answers to one hook exactly one is accepted.
"""

from __future__ import annotations

import contextlib
from typing import Any

from msgspec import Raw, Struct
from msgspec.structs import replace

from pyworkflow_core.carried import OWN_TOKEN
from pyworkflow_core.ids import validate_id
from pyworkflow_core.payloads import CancellationRequested, HookReceived, Payload, WorkflowCancelled
from pyworkflow_core.record import RunRecord, RunStatus
from pyworkflow_core.storage import StorageBackend

from ..config import get_storage
from ..durations import Duration, to_duration
from ..errors import (
    HookAlreadyReceivedError,
    HookExpiredError,
    HookNotFoundError,
    InvalidTokenError,
    WorkflowNotFoundError,
)
from .answers import encode_answer
from .clock import time_limit
from .engine import Engine, engine_for
from .history import envelopes_of
from .hooklog import HookState, find_hook, hooks_of
from .outbox import has_run_no_code, run_errand
from .outside import append_outside, check_reason, end_of_chain
from .results import wait_until_ended
from .tokens import MAX_TOKEN_BYTES, check_own_token, run_of_token
from .transient import engine_of, plain_id, transient_engines, why_not_found

_SECRET_DIGITS = 32


class Address(Struct, frozen=True):
    """Which hook is meant.

    Attributes:
        run_id: the run; empty where only the token tells.
        name: the hook, as people name it; empty where the token tells.
        token: the token, as the log has it.
    """

    run_id: str
    name: str = ""
    token: str = ""


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
        token: what `on_created` was given, or the token that the code chose; ``run_id:hook_id`` is
            accepted too.
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
    engine, address = await _resolve(token, storage)
    while True:
        run_id = address.run_id
        record = await engine.storage.get(run_id)
        if record is None:
            raise HookNotFoundError("no hook answers to this token; its run does not exist in this storage")
        history = envelopes_of(await engine.storage.read(run_id, limit=record.head))
        state = _find(hooks_of(history), address)
        created = state.created
        if record.status is RunStatus.CONTINUED_AS_NEW and state.status == "open":
            # The run that goes on has the hook, under the same token and perhaps another number.
            await end_of_chain(engine, run_id)
            address = Address(record.detail.continued_to or "", token=created.token)
            continue
        _check_open(engine, record, state)
        encoded = encode_answer(engine, record.workflow, created, payload)
        answer = HookReceived(created.hook, created.ordinal, Raw(encoded), created.step)
        if await append_outside(engine, record, [answer]):
            return ResumeResult(run_id, state.hook_id, "resumed")


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
    check_reason(reason, "cancellation")
    limit = None if timeout is None else to_duration(timeout, "timeout")
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


def _parse(token: str) -> Address:
    """What a token says.

    Raises:
        InvalidTokenError: it is none.
    """
    if isinstance(token, str):
        run_id, dot, secret = token.rpartition(".")
        with contextlib.suppress(ValueError):
            if dot and run_id and len(secret) == _SECRET_DIGITS and set(secret) <= set("0123456789abcdef"):
                return Address(validate_id(run_id), token=secret)
            run_id, colon, hook_id = token.rpartition(":")
            if token.startswith("run_") and colon and hook_id:
                return Address(validate_id(run_id), name=hook_id)
            if len(token.encode()) > MAX_TOKEN_BYTES and colon and hook_id:
                return Address(validate_id(run_id), name=hook_id)
            return Address("", token=OWN_TOKEN + check_own_token(token))
    raise InvalidTokenError(
        "this is not a hook token: pass on what on_created was given, or 'run_id:hook_id'"
    )


async def _resolve(token: str, storage: StorageBackend | str | None) -> tuple[Engine, Address]:
    """Which hook of which run a token means, and whose engine has the run: a transient one's, perhaps."""
    for engine in transient_engines():
        with contextlib.suppress(HookNotFoundError):
            address = await _address(engine, token)
            if await engine.storage.get(address.run_id) is not None:
                return engine, address
    engine = engine_for(get_storage(storage))
    return engine, await _address(engine, token)


async def _address(engine: Engine, token: str) -> Address:
    """Which hook of which run a token means.

    Raises:
        InvalidTokenError: it is none.
        HookNotFoundError: no hook ever had it.
    """
    address = _parse(token)
    if address.run_id:
        return address
    run_id = await run_of_token(engine, token)
    if run_id is not None:
        return replace(address, run_id=run_id)
    run_id, _, hook_id = token.rpartition(":")
    if run_id and hook_id:  # of a run whose id does not look like one
        return Address(run_id, name=hook_id)
    raise HookNotFoundError("no hook answers to this token")


def _find(hooks: dict[tuple[str, int], HookState], address: Address) -> HookState:
    found: HookState | None = None
    if not address.name:
        found = find_hook(hooks, address.token)
    else:
        names = {address.name, f"{address.name}#1"}
        found = next((state for state in hooks.values() if state.hook_id in names), None)
    if found is None:
        raise HookNotFoundError("no hook answers to this token")
    return found


def _check_open(engine: Engine, record: RunRecord, state: HookState) -> None:
    what = f"hook {state.created.hook!r} of run {record.run_id!r}"
    if state.status == "received":
        raise HookAlreadyReceivedError(f"{what} was answered before; the first answer stands")
    if record.status.is_terminal:
        raise HookExpiredError(f"{what} is no longer open: the run is {record.status}")
    expires = state.created.expires_at
    if state.status == "expired" or (expires is not None and expires <= engine.clock.now()):
        raise HookExpiredError(f"{what} got no answer in time; this one comes too late")
    if state.status == "refused":
        raise HookNotFoundError(f"{what} did not get its token, and nobody waits for it")
    if state.status == "disposed":
        raise HookExpiredError(f"{what} is no longer open: the workflow stopped waiting for it")
