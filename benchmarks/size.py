"""How much room things take (bar 7): `python benchmarks/size.py`.

What a small step takes on the disk, everything included, and the memory of a worker that waits.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import frame
from frame import ROUNDS, SYNCED, Bar
from step import charges

from pyworkflow import FileStorageBackend, start

WORKFLOWS = """
from pyworkflow import step, workflow

@step
async def charge(number: int, currency: str) -> dict:
    return {"ok": True, "id": number}

@workflow
async def charges(steps: int) -> int:
    return sum([(await charge(n, "EUR"))["ok"] for n in range(steps)])
"""
WAITED = 3.0  # seconds: an idle worker looks about once a second, so that it has looked by then


async def step_on_disk(folder: str, steps: int) -> float:
    """Bytes of one step in a run of many."""
    async with FileStorageBackend(os.path.join(folder, f"steps{steps}")) as store:
        await start(charges, steps, storage=store)
    return size_of(store.base_path) / steps


def size_of(folder: str | Path) -> int:
    """Bytes of all files below."""
    return sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())


def idle_worker(folder: str, url: str) -> float:
    """MiB of a worker that has looked a few times and found nothing."""
    Path(folder, "shop.py").write_text(WORKFLOWS)
    command = [sys.executable, "-m", "pyworkflow", "worker", "shop", "--storage", url]
    environment = os.environ | {"PYTHONPATH": folder}
    process = subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE)
    try:
        time.sleep(WAITED)
        if process.poll() is not None:
            raise SystemExit(f"the worker has ended: {process.communicate()[1].decode()}")
        return frame.rss_mib(process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate()


def bare_interpreter() -> float:
    """MiB of a Python that has imported nothing."""
    word = "import os; print(open('/proc/self/statm').read().split()[1], os.sysconf('SC_PAGE_SIZE'))"
    pages, size = subprocess.run([sys.executable, "-c", word], check=True, capture_output=True).stdout.split()
    return int(pages) * int(size) / 2**20


def main() -> None:
    with frame.kept(frame.parser(__doc__)), frame.folder() as folder:
        # A store begins with 45 kB of index, however little is in it.
        for steps, bar in ((10, None), (1000, None), (10_000, Bar(7, 350))):
            size = asyncio.run(step_on_disk(folder, steps))
            what = f"a small step on disk, run of {steps:,}"
            frame.show(what, size, "bytes", bar=bar, store="file", durable=SYNCED)
        bare = [bare_interpreter() for _ in range(ROUNDS)]
        for store, url in (("file", f"file:{folder}/idle"), ("sqlite", f"sqlite:///{folder}/idle.db")):
            taken = [idle_worker(folder, url) for _ in range(ROUNDS)]
            frame.show("memory of an idle worker", taken, "MiB", bar=Bar(7, 60), floor=bare, store=store,
                       floor_is="a bare interpreter")  # fmt: skip


if __name__ == "__main__":
    main()
