"""One of many processes on the same runs: it appends, wakes runs, and handles those that it claims.

    python crowd.py URL NAMESPACE NAME APPENDS RUNS

Says `ready`, waits for a line, appends so many times to runs chosen by chance, and claims all the
while. When a second line comes it handles what is due until nothing is, and tells what it did.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from typing import Any

from pyworkflow_core.storage import Claim, Committed, Conflict, LeaseChange, StorageBackend
from pyworkflow_core.testing.appends import after, created, resumed, suspended
from pyworkflow_redis import RedisStorageBackend

LEASE = 20_000_000


def now() -> int:
    return time.time_ns() // 1000


class Member:
    """One process of the crowd."""

    def __init__(self, store: StorageBackend, name: str, runs: int) -> None:
        self.store = store
        self.name = name
        self.runs = runs
        self.choices = random.Random(name)
        self.acknowledged: list[list[Any]] = []
        self.turn = 0

    async def append(self) -> bool:
        """Append to a run, and make it due; whether nobody was quicker."""
        self.turn += 1
        run_id = f"r{self.choices.randrange(self.runs)}"
        prefix = f"{self.name}-{self.turn}-"
        record = await self.store.get(run_id)
        append: Any
        if record is None:
            append = created(run_id, at=now(), event_id=f"{prefix}1")
        elif self.choices.random() < 0.5:
            append = resumed(record, at=now(), prefix=prefix)
        else:
            append = after(record, prefix=prefix)
        return await self.commit(append)

    async def commit(self, append: Any) -> bool:
        (answer,) = await self.store.commit([append])
        if isinstance(answer, Committed):
            self.acknowledged += [[e.run_id, e.sequence, e.event_id] for e in append.events]
            return True
        assert isinstance(answer, Conflict), answer
        return False

    async def handle(self, claim: Claim) -> None:
        """Let a claimed run wait for somebody; if it was appended to meanwhile, it is due again."""
        self.turn += 1
        release = LeaseChange(claim.token, claim.owner, None)
        prefix = f"{self.name}-{self.turn}-"
        if not await self.commit(suspended(claim.record, None, at=now(), prefix=prefix, lease=release)):
            assert await self.store.release(claim), f"{claim.run_id}: somebody else has the lease"

    async def work(self, ended: asyncio.Event) -> None:
        """Claim and handle, until nothing is due and nothing more comes."""
        while True:
            last = ended.is_set()
            claims = await self.store.claim(owner=self.name, now=now(), lease=LEASE, limit=3)
            for claim in claims:
                await self.handle(claim)
            if not claims:
                if last:
                    return
                await self.store.wait(20_000)


async def main(url: str, namespace: str, name: str, appends: str, runs: str) -> None:
    loop = asyncio.get_running_loop()
    async with RedisStorageBackend(url, namespace=namespace) as store:
        member, ended = Member(store, name, int(runs)), asyncio.Event()
        print("ready", flush=True)
        await loop.run_in_executor(None, sys.stdin.readline)
        working = asyncio.create_task(member.work(ended))
        done = 0
        while done < int(appends):
            done += await member.append()
        print("done", flush=True)
        await loop.run_in_executor(None, sys.stdin.readline)
        ended.set()
        await working
    print(json.dumps(member.acknowledged))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
