"""Hooks with tokens of their own; what steps record while they run, and hooks that they wait for."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from typing import Any

from feature_programs import Program
from pyworkflow import (
    HookAlreadyReceivedError,
    HookExpiredError,
    HookNotFoundError,
    continue_as_new,
    delete_step_checkpoint,
    get_workflow_chain,
    heartbeat,
    hook,
    list_hooks,
    load_step_checkpoint,
    load_step_checkpoint_blocking,
    resume_hook,
    save_step_checkpoint,
    save_step_checkpoint_blocking,
    step,
    step_hook,
    step_info,
    workflow,
)
from pyworkflow_core.storage import StorageBackend

CRASHES = 1000


@step(name="inside.choose", max_retries=0)
async def choose() -> str:
    return uuid.uuid4().hex


@workflow(name="inside.tokens", max_recovery_attempts=CRASHES)
async def tokens() -> Any:
    token = await choose()
    first = await asyncio.gather(
        hook("a", token=token), hook("b", token=token), hook("c"), return_exceptions=True
    )
    again = await hook("b", token=token, timeout="1d")
    return [answer if isinstance(answer, str) else type(answer).__name__ for answer in [*first, again]]


async def answer(storage: StorageBackend, run_id: str) -> None:
    hooks = {h.hook_id: h for h in await list_hooks(run_id, only_open=False, storage=storage)}
    if "b#1" in hooks and hooks["b#1"].status == "refused":
        for one in hooks.values():
            with contextlib.suppress(HookNotFoundError, HookAlreadyReceivedError, HookExpiredError):
                await resume_hook(one.token, "yes", storage=storage)


@workflow(name="inside.token_in_a_chain", max_recovery_attempts=CRASHES)
async def token_in_a_chain(left: int = 1, token: str | None = None) -> Any:
    token = token or await choose()
    waiting = asyncio.ensure_future(hook("paid", token=token))
    await asyncio.sleep(1)
    if left:
        continue_as_new(left - 1, token)
    return await waiting


async def answer_the_last(storage: StorageBackend, run_id: str) -> None:
    chain = await get_workflow_chain(run_id, storage)
    if len(chain) == 2:
        for one in await list_hooks(chain[-1].run_id, storage=storage):
            with contextlib.suppress(HookNotFoundError, HookAlreadyReceivedError, HookExpiredError):
                await resume_hook(one.token, "paid", storage=storage)


@step(name="inside.counting", max_retries=2, retry_delay=2)
async def counting() -> Any:
    at = await load_step_checkpoint(0)
    while at < 3:
        at += 1
        heartbeat({"at": at})
        await save_step_checkpoint(at)
        if at == 2 and not await load_step_checkpoint(name="failed"):
            await save_step_checkpoint(True, name="failed")
            raise OSError("once")
    await delete_step_checkpoint(name="failed")
    return at, step_info().step_id


@step(name="inside.counting_in_a_thread", max_retries=2, retry_delay=2)
def counting_in_a_thread() -> Any:
    at = load_step_checkpoint_blocking(0)
    while at < 3:
        at += 1
        heartbeat({"at": at})
        save_step_checkpoint_blocking(at)
    return at, step_info().step_id


@workflow(name="inside.progress", max_recovery_attempts=CRASHES)
async def progress() -> Any:
    return [*await asyncio.gather(counting(), counting_in_a_thread()), await counting()]


@step(name="inside.asking", max_retries=0)
async def asking() -> Any:
    from pyworkflow.engine.attempt import current_attempt

    attempt = current_attempt.get()
    assert attempt is not None
    storage = attempt.engine.storage

    async def answer_it(token: str) -> None:
        with contextlib.suppress(HookAlreadyReceivedError):
            await resume_hook(token, {"answer": "yes"}, storage=storage)

    return [await step_hook("one", on_created=answer_it), await step_hook("two", on_created=answer_it)]


@workflow(name="inside.asks", max_recovery_attempts=CRASHES)
async def asks() -> Any:
    return await asyncio.gather(asking(), asking())


_YES = {"answer": "yes"}
PROGRAMS = (
    Program(
        "own-tokens",
        tokens,
        outcome=("completed", ["yes", "HookTokenInUseError", "yes", "yes"]),
        act=answer,
    ),
    Program("token-in-a-chain", token_in_a_chain, outcome=("completed", "paid"), act=answer_the_last),
    Program(
        "progress",
        progress,
        outcome=(
            "completed",
            [(3, "inside.counting#1"), (3, "inside.counting_in_a_thread#1"), (3, "inside.counting#2")],
        ),
    ),
    Program("step-hooks", asks, outcome=("completed", [[_YES, _YES], [_YES, _YES]])),
)
