"""Replay of completed steps from the file store (bar 1): `python benchmarks/replay.py [steps …]`.

A run of N steps is written to a file store and then replayed by the same calls that `resume`
makes: read the log, check each line, decode the events, compare the arguments, run the code.
The floor is the decoding of the same two events a step into typed structs.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import frame
from frame import READS, ROUNDS, Bar
from msgspec import Raw

from pyworkflow import FileStorageBackend, step
from pyworkflow_core.codec import default_codec
from pyworkflow_core.events import Event, decode_bodies, encode_body
from pyworkflow_core.payloads import Payload, StepCompleted, StepStarted, WorkflowStarted
from pyworkflow_core.record import evolve
from pyworkflow_core.replay import Machine
from pyworkflow_core.storage import Append

START = 1_763_820_000_000_000
RUN = "run_0123456789abcdef0123"


@step
async def charge(number: int, currency: str) -> dict[str, Any]:
    return {"ok": True, "id": number}


def workflow(steps: int, width: int) -> Callable[[WorkflowStarted], Coroutine[Any, Any, int]]:
    """`steps` calls, one after the other or in gathers of `width`."""

    async def main(_: WorkflowStarted) -> int:
        done = 0
        while done < steps:
            if width == 1:
                await charge(done, "EUR")
                done += 1
            else:
                done += len(await asyncio.gather(*[charge(done + n, "EUR") for n in range(width)]))
        return done

    return main


def history(steps: int, width: int) -> list[list[Payload]]:
    """The appends that such a run makes: an answer goes with the command that follows it."""

    def started(n: int) -> Payload:
        args = default_codec.encode_args((n, "EUR"), {})
        return StepStarted("charge", n + 1, Raw(args), 1, "replay.py:43")

    def completed(n: int) -> Payload:
        return StepCompleted("charge", n + 1, Raw(default_codec.encode({"ok": True, "id": n})))

    appends: list[list[Payload]] = [[WorkflowStarted("charges", owner="bench")]]
    for first in range(0, steps, width):
        appends[-1] += [started(n) for n in range(first, first + width)]
        if width == 1:
            appends.append([completed(first)])
        else:
            appends += [[completed(n) for n in range(first, first + width)]]
    return appends


async def write(store: FileStorageBackend, appends: list[list[Payload]]) -> None:
    """Write the run's log, one line an append."""
    record, at = None, START
    for payloads in appends:
        head = record.head if record is not None else 0
        at += 100
        events = tuple(
            Event(RUN, head + 1 + n, f"{head + 1 + n:016x}", encode_body(p, at))
            for n, p in enumerate(payloads)
        )
        after = evolve(record, events, incarnation="0123456789ab")
        await store.commit([Append(RUN, "0123456789ab", head, events, after)])
        record = after


async def replay(store: FileStorageBackend, steps: int, width: int) -> tuple[float, float]:
    """Seconds of one replay, and of decoding alone."""
    began = time.perf_counter()
    events = await store.read(RUN)
    read = time.perf_counter()
    envelopes = decode_bodies([event.body for event in events])
    decoded = time.perf_counter()
    machine = Machine(RUN, workflow(steps, width))
    machine.feed(envelopes)
    ended = time.perf_counter()
    assert machine.outcome is not None
    assert machine.outcome.value == steps, machine.outcome
    machine.evict()
    return ended - began, decoded - read


async def measure(steps: int, width: int) -> float:
    """Show what a step costs, and return it."""
    with frame.folder() as folder:
        async with FileStorageBackend(folder) as store:
            store._disk.sync = lambda fd: None  # type: ignore[method-assign] # what is read is measured
            await write(store, history(steps, width))
            rounds = [await replay(store, steps, width) for _ in range(ROUNDS)]
    ours, floor = ([taken[i] / steps * 1e6 for taken in rounds] for i in (0, 1))
    way = "in sequence" if width == 1 else f"in gathers of {width}"
    what, bar = f"replay of a completed step, {way}, {steps:,} steps", Bar(1, 3 if width == 1 else 5)
    figure = frame.show(what, ours, "µs", bar=bar, floor=floor, store="file", durable=READS)
    return float(figure["median"])


def main() -> None:
    options = frame.parser(__doc__)
    options.add_argument("steps", type=int, nargs="*", help="of the runs")
    with frame.kept(options) as given:
        for width in (1, 100):
            costs = {steps: asyncio.run(measure(steps, width)) for steps in given.steps or [10_000, 100_000]}
            least, most = min(costs), max(costs)
            if least < most:
                frame.show(f"{most:,} steps over {least:,}, width {width}", costs[most] / costs[least], "x",
                           bar=Bar(1, 1.2), store="file")  # fmt: skip


if __name__ == "__main__":
    main()
