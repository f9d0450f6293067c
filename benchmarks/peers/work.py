"""The work that every system does, and how its figures are told: the standard library only.

One call of a script is one round. It prints a JSON object a line, which `beside_peers.py` reads.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

STEPS = 1000  # of the run that is measured step by step, and then replayed
RUNS, EACH = 200, 10
SEQUENCE = "sequential step"
REPLAY = "replay of a completed step"
AT_ONCE = f"{RUNS} runs of {EACH} steps"
UNITS = {SEQUENCE: "µs", REPLAY: "µs", AT_ONCE: "steps/s"}
SYNCED = "synced before the next step"
UNSYNCED = "handed to the operating system, not synced"
NOT_DURABLE = "kept in memory only"
READS = "nothing is written"


@dataclass(frozen=True)
class Place:
    """Where a script puts its data: a fresh folder, and a database of its own."""

    folder: str
    postgresql: str


@contextmanager
def place() -> Iterator[Place]:
    """Read the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--postgresql", default="", help="URL of a database of its own")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="peer-", dir=os.environ.get("BENCH_FOLDER")) as folder:
        yield Place(folder, given.postgresql)


def tell(store: str, work: str, seconds: float, durable: str, **more: object) -> None:
    """Print a figure: what ``seconds`` are for so many steps, by the work."""
    value = RUNS * EACH / seconds if work == AT_ONCE else seconds / STEPS * 1e6
    figure = {"store": store, "work": work, "value": value, "unit": UNITS[work], "durable": durable, **more}
    print(json.dumps(figure), flush=True)
