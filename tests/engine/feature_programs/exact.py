"""Time and chance, patches, versions, the step context, published state and queries."""

from __future__ import annotations

import contextlib
from typing import Any

from feature_programs import Program
from pyworkflow import (
    HookAlreadyReceivedError,
    HookExpiredError,
    HookNotFoundError,
    QueryNotFoundError,
    StepContext,
    continue_as_new,
    get_step_context,
    get_workflow_state,
    has_step_context,
    hook,
    now,
    patched,
    publish,
    query,
    query_workflow,
    random,
    resume_hook,
    rng,
    set_step_context,
    sleep,
    start_child_workflow,
    step,
    uuid4,
    workflow,
)
from pyworkflow_core.storage import StorageBackend

CRASHES = 1000


@step(name="exact.keep", max_retries=0)
async def keep(what: Any) -> Any:
    return what


@workflow(name="exact.chance", max_recovery_attempts=CRASHES)
async def chance() -> Any:
    drawn = []
    for _ in range(3):
        here = (now(), random(), rng().choice("abcdef"), uuid4())
        drawn.append(here)
        # What was drawn before a crash is in the log; what is drawn in a replay has to be that.
        if await keep(here) != here:
            return "another one"
        await sleep(30)
    return len({place[3] for place in drawn}), drawn == sorted(drawn, key=lambda place: place[0])


class Tenant(StepContext):
    name: str
    trail: tuple[str, ...] = ()


@step(name="exact.reads", max_retries=0)
async def reads() -> tuple[str, ...]:
    return get_step_context(Tenant).trail


@step(name="exact.reads_in_a_thread", max_retries=0)
def reads_in_a_thread() -> str:
    return get_step_context(Tenant).name


@workflow(name="exact.context", context_class=Tenant, max_recovery_attempts=CRASHES)
async def context(round_: int = 0) -> Any:
    if not has_step_context():
        set_step_context(Tenant(name="acme"))
    seen = [await reads()]
    for place in ("a", "b"):
        tenant = get_step_context(Tenant)
        await set_step_context(tenant.with_updates(trail=(*tenant.trail, f"{place}{round_}")))
        seen += [await reads(), await reads_in_a_thread()]
        await sleep(1)
    if round_ == 0:
        continue_as_new(1)
    return seen, get_step_context(Tenant).to_dict()


@workflow(name="exact.patches", max_recovery_attempts=CRASHES)
async def patches() -> Any:
    found = []
    for name in ("first", "second", "first"):
        found.append(await keep(f"new {name}") if patched(name) else await keep(f"old {name}"))
        await sleep(5)
    return found, patched("last")


@workflow(name="exact.small", version=9, max_recovery_attempts=CRASHES)
async def small_9() -> str:
    return await keep("small 9")


@workflow(name="exact.small", version=10, max_recovery_attempts=CRASHES)
async def small() -> str:
    return await keep("small 10")


@workflow(name="exact.versions", version="1", max_recovery_attempts=CRASHES)
async def versions_1(seen: tuple[str, ...] = ()) -> Any:
    await sleep("10m")
    seen = (*seen, await keep("one"), await start_child_workflow(small_9), await start_child_workflow(small))
    if "two" in seen:
        return seen
    continue_as_new(seen)
    return None


@workflow(name="exact.versions", version="2", max_recovery_attempts=CRASHES)
async def versions_2(seen: tuple[str, ...] = ()) -> Any:
    seen = (*seen, await keep("two"))
    await sleep(5)
    continue_as_new(versions_1, seen)


@workflow(name="exact.published", max_recovery_attempts=CRASHES)
async def published() -> Any:
    state = {"stage": 0, "answers": 0}

    @query
    def stage(factor: int = 1) -> int:
        return state["stage"] * factor

    answers = []
    for number in (1, 2):
        state["stage"] = number
        publish(state)
        await keep(number)
        answers.append(await hook(f"go{number}"))
        state["answers"] += 1
    publish("done")
    return answers


async def answer_with_what_it_says(storage: StorageBackend, run_id: str) -> None:
    state = await get_workflow_state(run_id, storage=storage)
    if not isinstance(state, dict):
        return
    answer = None
    with contextlib.suppress(QueryNotFoundError):
        answer = await query_workflow(run_id, "stage", 10, storage=storage)
    if answer != state["stage"] * 10:
        return  # it has been taken up no further as yet
    with contextlib.suppress(HookNotFoundError, HookAlreadyReceivedError, HookExpiredError):
        await resume_hook(f"{run_id}:go{state['stage']}", answer, storage=storage)


_WAY = ("one", "small 9", "small 10", "two", "one", "small 9", "small 10")

PROGRAMS = (
    Program("chance", chance, outcome=("completed", (3, True))),
    Program(
        "context",
        context,
        outcome=(
            "completed",
            (
                [
                    ("a0", "b0"),
                    ("a0", "b0", "a1"),
                    "acme",
                    ("a0", "b0", "a1", "b1"),
                    "acme",
                ],
                {"name": "acme", "trail": ("a0", "b0", "a1", "b1")},
            ),
        ),
    ),
    Program("patches", patches, outcome=("completed", (["new first", "new second", "new first"], True))),
    Program("versions", versions_1, outcome=("completed", _WAY)),
    Program("published", published, outcome=("completed", [10, 20]), act=answer_with_what_it_says),
)
