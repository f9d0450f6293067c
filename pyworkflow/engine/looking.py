"""Looking at a child from outside of its parent's workflow code: from a step, or from a program."""

from __future__ import annotations

from pyworkflow_core.replay import ChildEnd

from .engine import Engine
from .outbox import news_of
from .results import last_payload, wait_until_ended


async def end_of_child(engine: Engine, run_id: str, workflow: str, *, here: bool = True) -> ChildEnd:
    """Wait until a child has ended; how it did, as its parent is told.

    Args:
        engine: whose storage it is in.
        run_id: the child's run, as it was started.
        workflow: its workflow's name.
        here: take it up here whenever it is due and nobody has it.
    """
    record = await wait_until_ended(engine, run_id, here=here)
    return news_of(engine, (workflow, run_id), record.run_id, await last_payload(engine, record))
