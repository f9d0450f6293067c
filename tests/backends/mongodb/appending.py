"""A process that appends to runs to which others append, too, and may kill itself in mid-commit.

`python appending.py URL NAME APPENDS RUNS DEATH`: it ends after so many appends of its own. DEATH is
``never``, or ``before`` or ``after``: it kills itself just before or after the update of a run whose tail it
has copied to a chunk. It tells each append before it is made, and what became of it.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
from typing import Any

from pyworkflow_core.plugins import open_storage
from pyworkflow_core.record import RunRecord
from pyworkflow_core.storage import Append, Committed, Conflict
from pyworkflow_core.testing.appends import after, created, noted, suspended
from pyworkflow_mongodb.commit import Committer


def tell(*what: object) -> None:
    print(json.dumps(what), flush=True)


async def main(url: str, name: str, appends: str, runs: str, death: str) -> None:
    choices = random.Random(name)
    if death != "never":
        die_at_a_full_tail(death, choices.randint(1, 3))
    async with open_storage(url) as store:
        tell("ready")
        sys.stdin.readline()
        made = turn = 0
        while made < int(appends):
            turn += 1
            append = await next_append(store, f"r{choices.randrange(int(runs))}", f"{name}-{turn}", choices)
            tell("tries", append.run_id, [event.event_id for event in append.events])
            (answer,) = await store.commit([append])
            assert isinstance(answer, Committed | Conflict), answer
            if isinstance(answer, Committed):
                made += 1
                tell("made", append.run_id, [event.event_id for event in append.events])


async def next_append(store: Any, run_id: str, name: str, choices: random.Random) -> Append:
    """An append behind what there is; its size stands in the events' ids."""
    record: RunRecord | None = await store.get(run_id)
    if record is None:
        return created(run_id, event_id=f"{name}-1-1", incarnation=name)
    if choices.random() < 0.3:
        wake_at = choices.choice([None, choices.randint(1, 1000)])
        return suspended(record, wake_at, prefix=f"{name}-1-")
    size = choices.choice((1, 1, 2, 3))
    return after(record, *[noted(f'{{"n":{n}}}') for n in range(size)], prefix=f"{name}-{size}-")


def die_at_a_full_tail(death: str, left: int) -> None:
    """Kill this process at the so many-th update that has to follow a copy."""
    whole = Committer._write

    async def dying(self: Any, writes: Any, answers: Any) -> Any:
        nonlocal left
        left -= any(each.full for each in writes)
        if left == 0 and death == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        missed = await whole(self, writes, answers)
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return missed

    Committer._write = dying  # type: ignore[method-assign]


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
