"""Processes around one stream: ``killable_stream.py emit FOLDER NAME``, or ``… work FOLDER``."""

from __future__ import annotations

import asyncio
import sys

from pyworkflow import (
    Worker,
    emit,
    get_checkpoint,
    get_current_signal,
    save_checkpoint,
    set_result,
    stream_step,
    stream_workflow,
    terminate,
)
from pyworkflow.engine.engine import Engine, Settings, use_engine
from pyworkflow_file import FileStorageBackend

SIGNALS = 100
SETTINGS = Settings(lease=1_000_000, poll=50_000)


@stream_workflow(name="killable.stream")
async def stream() -> None:
    """Nothing: it is told from outside."""


async def note_signal() -> None:
    """Keep in order which signals came."""
    signal = await get_current_signal()
    if signal is None:
        return
    if signal.signal_type == "end":
        await terminate()
        return
    seen = [*(await get_checkpoint() or []), signal.signal_id]
    await save_checkpoint(seen)
    await set_result(seen)


@stream_step(stream, ["item", "end"])
async def first() -> None:
    await note_signal()


@stream_step(stream, ["item", "end"])
async def second() -> None:
    await note_signal()


async def main(role: str, folder: str, name: str = "") -> None:
    """Emit, some of it twice, or work until killed."""
    async with FileStorageBackend(base_path=folder) as storage:
        engine = Engine(storage, settings=SETTINGS)
        use_engine(engine)
        print("ready", flush=True)
        if role == "work":
            await Worker(storage, engine=engine, poll_interval=0.02).run()
        for n in range(SIGNALS):
            for _ in range(2 if n % 10 == 0 else 1):
                await emit(stream, "item", n, signal_id=f"{name} {n}", storage=storage)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
