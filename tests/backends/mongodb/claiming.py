"""A process that claims runs, gives none back, and tells the leases: `python claiming.py URL NAME CLAIMS`."""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time

from pyworkflow_core.plugins import open_storage

LEASE = 60_000


async def main(url: str, name: str, claims: str) -> None:
    choices, told = random.Random(name), 0
    async with open_storage(url) as store:
        print("ready", flush=True)
        sys.stdin.readline()
        while told < int(claims):
            now = time.time_ns() // 1000
            for claim in await store.claim(owner=name, now=now, lease=LEASE, limit=5):
                told += 1
                until = claim.until
                if choices.random() < 0.3 and await store.extend(claim, until=until + LEASE):
                    until += LEASE
                print(json.dumps([claim.run_id, now, until]), flush=True)
            await asyncio.sleep(0.001)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
