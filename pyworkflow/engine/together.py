"""Many who tell one run something at the same time, in one process: one append, not a race of all."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from msgspec import Struct

from pyworkflow_core.errors import StorageError
from pyworkflow_core.payloads import SignalReceived

from .engine import Engine
from .outbox import deliver_signals

_LEAD = "lead"
_ALONE = "alone"


class Told(Struct):
    """Somebody who waits for what it has to say to be said.

    Attributes:
        signals: what it is.
        answer: whether it was heard; ``lead``: say what all say that wait; ``alone``: say it yourself.
    """

    signals: Sequence[SignalReceived]
    answer: asyncio.Future[bool | str]


async def deliver_together(engine: Engine, run_id: str, signals: Sequence[SignalReceived]) -> bool:
    """Do what `deliver_signals` does, in one append with what others in this process tell the run.

    Raises:
        StorageError: the storage refuses one of these signals, or cannot be used.
    """
    waiting = engine.told.get(run_id)
    if waiting is None:
        engine.told[run_id] = []
        return await _lead(engine, run_id, signals)
    told = Told(signals, asyncio.get_running_loop().create_future())
    waiting.append(told)
    try:
        answer = await told.answer
    except asyncio.CancelledError:
        if told.answer.done() and not told.answer.cancelled() and told.answer.result() == _LEAD:
            _hand_on(engine, run_id)
        raise
    if answer == _LEAD:
        return await _lead(engine, run_id, signals)
    if answer == _ALONE:
        return await deliver_signals(engine, run_id, signals)
    return answer is True


async def _lead(engine: Engine, run_id: str, signals: Sequence[SignalReceived]) -> bool:
    others = [told for told in engine.told[run_id] if not told.answer.done()]
    engine.told[run_id].clear()
    answer: bool | str = _ALONE
    try:
        heard = await deliver_signals(
            engine, run_id, [*signals, *(s for told in others for s in told.signals)]
        )
        answer = heard
        return heard
    except StorageError:
        if not others:
            raise
        return await deliver_signals(engine, run_id, signals)  # perhaps it was a signal of another's
    finally:
        for told in others:
            if not told.answer.done():
                told.answer.set_result(answer)
        _hand_on(engine, run_id)


def _hand_on(engine: Engine, run_id: str) -> None:
    """Let one of those that wait by now speak for all of them."""
    waiting = engine.told[run_id]
    while waiting:
        told = waiting.pop(0)
        if not told.answer.done():
            told.answer.set_result(_LEAD)
            return
    del engine.told[run_id]
