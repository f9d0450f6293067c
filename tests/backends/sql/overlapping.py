"""A process that appends to runs to which others append, too, and tells what it was answered."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from typing import Any

from pyworkflow_core.plugins import open_storage
from pyworkflow_core.storage import Committed, Conflict
from pyworkflow_core.testing.appends import after, created, noted


async def main(url: str, name: str, commits: str, runs: str) -> None:
    choices = random.Random(name)
    told: dict[str, list[Any]] = {"acknowledged": [], "heads": []}
    async with open_storage(url) as store:
        print("ready", flush=True)
        sys.stdin.readline()
        for turn in range(int(commits)):
            chosen = choices.sample(range(int(runs)), min(4, int(runs)))
            appends = [await next_append(store, f"r{n}", f"{name}-{turn}-", choices) for n in chosen]
            for append, answer in zip(appends, await store.commit(appends), strict=True):
                match answer:
                    case Committed():
                        told["acknowledged"] += [[e.run_id, e.sequence, e.event_id] for e in append.events]
                    case Conflict(run_id, head):
                        told["heads"].append([run_id, head])
                    case _:
                        raise AssertionError(answer)
    print(json.dumps(told))


async def next_append(store: Any, run_id: str, prefix: str, choices: random.Random) -> Any:
    record = await store.get(run_id)
    if record is None:
        return created(run_id, event_id=f"{prefix}1")
    bodies = [noted(f'{{"n":{n}}}') for n in range(choices.choice((1, 1, 2)))]
    return after(record, *bodies, prefix=prefix)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
