"""Runs of streams: their ids, their first events, and bringing one into being."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Raw

from pyworkflow_core.ids import derive_run_id
from pyworkflow_core.payloads import SignalReceived, WorkflowStarted
from pyworkflow_core.record import RunRecord

from ..engine.attempt import Attempt
from ..engine.control import DEFAULT_QUEUE
from ..engine.engine import Engine
from ..engine.outside import create, end_of_chain
from ..engine.together import deliver_together
from ..errors import StreamNotFoundError
from .definitions import get_stream, known_streams, steps_of
from .signal import JOIN, Wire, body_of, pack

STREAM = "pyworkflow.stream"
_MOST_JOINED = 10_000
NEVER_GIVEN_UP = 1_000_000
"""Recoveries of runs that execute none of the application's code."""

Steps = dict[str, list[str]]
"""The signal types of a stream's steps, by the steps' names."""


def stream_run(stream: str, stream_run_id: str | None) -> str:
    """The run id of a stream's run; every process derives the same."""
    return derive_run_id("stream", stream, *(() if stream_run_id is None else (stream_run_id,)))


def known_steps(stream: str) -> Steps:
    """The steps of a stream, as far as this process defines them."""
    return {name: list(step.signals) for name, step in steps_of(stream).items()}


def first_event(
    engine: Engine, stream: str, stream_run_id: str | None, steps: Steps, queue: str | None
) -> WorkflowStarted:
    """The first event of a stream's run."""
    definition = get_stream(stream)
    queue = (definition.queue if definition is not None else None) or queue or DEFAULT_QUEUE
    return WorkflowStarted(
        STREAM,
        Raw(engine.codec.encode_args((stream, stream_run_id, {"steps": steps}), {})),
        queue=queue,
        python=f"{sys.version_info.major}.{sys.version_info.minor}",
        max_recoveries=NEVER_GIVEN_UP,
    )


async def begin(
    engine: Engine,
    attempt: Attempt | None,
    stream: str,
    stream_run_id: str | None,
    steps: Steps,
    queue: str | None = None,
) -> None:
    """Create a stream's run, unless it exists."""
    run_id = stream_run(stream, stream_run_id)
    if attempt is None:
        await create(engine, run_id, first_event(engine, stream, stream_run_id, steps, queue))
        return
    started = attempt.call.machine.started
    queue = queue or (None if started is None else started.queue)
    # In the log of the step's run, so that whoever drives that here drives the stream, too.
    await attempt.start_run(run_id, first_event(engine, stream, stream_run_id, steps, queue))


async def tell_stream(
    engine: Engine,
    attempt: Attempt | None,
    stream: str,
    stream_run_id: str | None,
    signals: Sequence[SignalReceived],
    *,
    steps: Steps | None = None,
    queue: str | None = None,
) -> RunRecord | None:
    """Tell a run of a stream something; it begins now if it had not begun.

    Args:
        engine: whose storage it is in.
        attempt: the attempt of a step that tells it, if one does.
        stream: the stream's name.
        stream_run_id: which run of it.
        signals: what to tell, in this order.
        steps: the stream's steps, where the caller knows them better than this process.
        queue: whose workers run it if it begins.

    Returns:
        None; the record of the run if it has ended, and was told nothing.

    Raises:
        StreamNotFoundError: there is no such run, and this process does not know the stream.
        StorageError: the storage refuses a signal, or cannot be used.
    """
    run_id = stream_run(stream, stream_run_id)
    steps = known_steps(stream) if steps is None else steps
    record = await end_of_chain(engine, run_id)
    if record is None:
        if not steps:
            raise StreamNotFoundError(unknown(engine, stream, stream_run_id))
        await begin(engine, attempt, stream, stream_run_id, steps, queue)
    elif record.status.is_terminal:
        return record
    if steps and engine.joined.get(run_id) != steps:
        # A step that a later version of the program defines subscribes to what is there already.
        signals = [join(engine, steps), *signals]
        if len(engine.joined) >= _MOST_JOINED:
            engine.joined.clear()
        engine.joined[run_id] = steps
    heard = False
    try:
        heard = await deliver_together(engine, run_id, signals)
    finally:
        if not heard:
            engine.joined.pop(run_id, None)
    if heard:
        return None
    record = await end_of_chain(engine, run_id)
    if record is None:
        raise StreamNotFoundError(unknown(engine, stream, stream_run_id))
    return record


def join(engine: Engine, steps: Mapping[str, Any]) -> SignalReceived:
    """What says which steps there are."""
    text = msgspec.json.encode(steps, order="deterministic")
    digest = hashlib.blake2b(text, digest_size=8).hexdigest()
    wire = Wire(body_of(engine.codec, steps, None), engine.clock.now())
    return SignalReceived(JOIN, f"{JOIN} {digest}", pack(wire))


def unknown(engine: Engine, stream: str, stream_run_id: str | None) -> str:
    """What to say of a run that does not exist."""
    if stream not in known_streams():
        have = ", ".join(known_streams()[:20]) or "none"
        return (
            f"there is no stream {stream!r} in {engine.storage!r}, and this process does not define it: "
            f"import the module with its steps. Defined here: {have}."
        )
    if not steps_of(stream):
        return f"stream {stream!r} has no steps in this process: import the module that defines them"
    which = "" if stream_run_id is None else f" of {stream_run_id!r}"
    return f"the run{which} of stream {stream!r} does not exist in {engine.storage!r}"
