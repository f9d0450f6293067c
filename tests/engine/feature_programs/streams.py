"""Programs that show streams: steps that consume signals from workflows and from outside."""

from __future__ import annotations

import contextlib
import functools
from typing import Any

from feature_programs import Program
from pyworkflow import (
    StreamFailedError,
    StreamNotFoundError,
    StreamWorkflowResult,
    emit,
    get_checkpoint,
    get_current_signal,
    run_stream_workflow,
    save_checkpoint,
    set_result,
    step,
    stream_step,
    stream_workflow,
    terminate,
    workflow,
)
from pyworkflow.streams.naming import stream_run
from pyworkflow_core.events import decode_body
from pyworkflow_core.payloads import SignalReceived
from pyworkflow_core.replay import current_machine
from pyworkflow_core.storage import StorageBackend

CRASHES = 1000


def own_run() -> str:
    """The run's id, which names its run of a stream, so that many programs do not share one."""
    machine = current_machine.get()
    assert machine is not None
    return machine.run_id


@stream_workflow(name="programs.letters")
async def letters() -> None:
    for letter in "abc":
        await emit("programs.letters", "letter", letter)
    await emit("programs.letters", "letter", "late", delay="1m")


@stream_step("programs.letters", ["letter", "number"], max_recovery_attempts=CRASHES)
async def collects() -> None:
    signal = await get_current_signal()
    if signal is None:
        await save_checkpoint([])
        return
    seen = [*await get_checkpoint(), signal.payload]
    await save_checkpoint(seen)
    await set_result(seen)
    if signal.payload == "late":
        await emit("programs.letters", "done", len(seen))
        await terminate()


@stream_step(
    "programs.letters",
    ["letter", "done"],
    on_signal=lambda signal: signal.payload != "b",
    max_recovery_attempts=CRASHES,
)
async def counts() -> None:
    signal = await get_current_signal()
    if signal is None:
        return
    count = (await get_checkpoint() or 0) + 1
    await save_checkpoint(count)
    if signal.signal_type == "done":
        await set_result([count, signal.payload])
        await terminate()


@step(name="programs.prepared")
async def prepared(name: str) -> str:
    return f"prepared {name}"


@workflow(name="programs.streaming", max_recovery_attempts=CRASHES)
async def streaming(name: str) -> dict[str, Any]:
    async def init() -> None:
        await emit("programs.letters", "letter", await prepared(name))

    result = await run_stream_workflow(letters, stream_run_id=own_run(), init=init)
    return {"status": result.status, **result.step_results}


@stream_workflow(name="programs.orders")
async def orders() -> None:
    """Nothing: what is ordered comes from outside."""


@stream_step(
    "programs.orders", {"order": int}, max_retries=0, on_failure="skip", max_recovery_attempts=CRASHES
)
async def takes_orders() -> None:
    signal = await get_current_signal()
    if signal is not None:
        if signal.value == 2:
            raise ValueError("not this one")
        total = (await get_checkpoint() or 0) + signal.value
        await save_checkpoint(total)
        await set_result(total)


@stream_step(
    "programs.orders", ["close"], max_retries=0, on_failure="terminate", max_recovery_attempts=CRASHES
)
async def closes_the_shop() -> None:
    if await get_current_signal() is not None:
        raise ValueError("closed")


@workflow(name="programs.shop", max_recovery_attempts=CRASHES)
async def shop() -> Any:
    try:
        await run_stream_workflow(orders, stream_run_id=own_run())
    except StreamFailedError as error:
        return error.result


async def customers(storage: StorageBackend, run_id: str) -> None:
    """Order, and close the shop; what was told before is told again only if something is missing."""
    events = await storage.read(stream_run("programs.orders", run_id))
    told = [decode_body(event.body).data for event in events]
    heard = {signal.signal_id for signal in told if isinstance(signal, SignalReceived)}
    if not heard.issuperset({"o1", "o2", "o3", "close"}):
        order = functools.partial(emit, "programs.orders", stream_run_id=run_id, storage=storage)
        with contextlib.suppress(StreamNotFoundError):  # it has ended
            for n in (1, 2, 3):
                await order("order", n, signal_id=f"o{n}")
            await order("close", signal_id="close")


PROGRAMS = (
    Program(
        "streams: a workflow runs one",
        streaming,
        ("x",),
        outcome=(
            "completed",
            {
                "status": "completed",
                "collects": ["prepared x", "a", "b", "c", "late"],
                "counts": [5, 5],
            },
        ),
    ),
    Program(
        "streams: signals from outside",
        shop,
        outcome=(
            "completed",
            StreamWorkflowResult(
                "failed",
                {"takes_orders": "terminated", "closes_the_shop": "failed"},
                {"takes_orders": 4},
                {"closes_the_shop": "ValueError: closed"},
            ),
        ),
        act=customers,
    ),
)
