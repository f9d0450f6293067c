"""What it takes to begin (bar 8): `python benchmarks/startup.py`.

`import pyworkflow` over a bare interpreter, `pyworkflow --help`, and whether either imports a driver.
Each is a process of its own, turn by turn, and the first of each is not counted.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time

import frame
from frame import Bar, by_rounds

TIMES = 20
DRIVERS = ("aiosqlite", "asyncmy", "asyncpg", "bson", "hiredis", "motor", "pymongo", "redis", "sqlalchemy")
LOADED = (
    f"import json, sys, pyworkflow; print(json.dumps([name for name in {DRIVERS} if name in sys.modules]))"
)


def taken(*words: str) -> float:
    """Milliseconds of a process."""
    began = time.perf_counter()
    subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
    return (time.perf_counter() - began) * 1e3


def main() -> None:
    processes = {
        "bare": ("-c", "pass"),
        "import": ("-c", "import pyworkflow"),
        "help": ("-m", "pyworkflow", "--help"),
        "typer": ("-c", "import typer"),
    }
    with frame.kept(frame.parser(__doc__)):
        rounds = [{name: taken(*words) for name, words in processes.items()} for _ in range(TIMES + 1)][1:]
        bare = by_rounds([each["bare"] for each in rounds])
        extra = by_rounds([each["import"] - each["bare"] for each in rounds])
        frame.show("a bare interpreter", bare, "ms")
        frame.show("import pyworkflow, over a bare interpreter", extra, "ms", bar=Bar(8, 80))
        frame.show("pyworkflow --help", by_rounds([each["help"] for each in rounds]), "ms", bar=Bar(8, 300),
                   floor=by_rounds([each["typer"] for each in rounds]), floor_is="import typer")  # fmt: skip
        found = subprocess.run([sys.executable, "-c", LOADED], check=True, capture_output=True).stdout
        drivers = json.loads(found)
        frame.show(
            "drivers that import pyworkflow imports", len(drivers), "drivers", bar=Bar(8, 0), which=drivers
        )


if __name__ == "__main__":
    main()
