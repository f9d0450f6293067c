"""``answering_process.py URL GO N``: answers a hook with N once the file GO is there; says how that went."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

from pyworkflow import WorkflowError, open_storage, resume_hook


async def main(url: str, go: str, answer: int) -> str:
    async with open_storage(url) as storage:
        await storage.get("run_x")
        print("ready", flush=True)
        while not Path(go).exists():
            time.sleep(0.001)
        try:
            await resume_hook("the-answer", answer, storage=storage)
        except WorkflowError as error:
            return type(error).__name__
        return "accepted"


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))))
