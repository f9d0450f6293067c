"""Record the golden histories of this interpreter: ``python tests/golden/record.py``.

Histories that exist are never recorded again, since they stand for runs under way at users'
sites: the script refuses to overwrite a file.
"""

from __future__ import annotations

import pathlib
import sys

import msgspec

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "core" / "replay")]
from golden_programs import PROGRAMS  # noqa: E402
from recording import Live  # noqa: E402

SEEDS = (1, 2, 3, 4)


def main() -> None:
    """Write ``histories-3.x.jsonl`` beside this file: one history a line."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    path = HERE / f"histories-{version}.jsonl"
    lines = []
    for name, program in PROGRAMS.items():
        for seed in SEEDS:
            live = Live(program, seed, cancels=seed % 2 == 0).run()
            lines.append(msgspec.json.encode({"program": name, "seed": seed, **msgspec.to_builtins(live)}))
    with path.open("xb") as file:
        file.write(b"\n".join(lines) + b"\n")
    print(f"{len(lines)} histories in {path.name}")


if __name__ == "__main__":
    main()
