"""`python -m pyworkflow_core.testing`: set the suite on every faulty store, and see each of them caught.

With `--count` it only says how many there are.
"""

from __future__ import annotations

import logging
import sys

from .laws.table import LAWS
from .matrix import FAULTS
from .teeth import hear


def main(arguments: list[str]) -> int:
    """Print a line for each faulty store, and how many were caught; 1 if one was not."""
    laws = {fault.law for fault in FAULTS}
    if "--count" in arguments:
        print(f"{len(FAULTS)} faulty stores, at least one for each of {len(laws)} of {len(LAWS)} laws")
        return 0
    logging.basicConfig(level=logging.CRITICAL)
    missed = 0
    for fault in FAULTS:
        caught = any(fault.says in said for said in hear(fault))
        missed += not caught
        what = (fault.store.__doc__ or "").strip()
        print(
            f"{'caught' if caught else 'MISSED'} by law {fault.law:>2}: {fault.store.__name__}: {what}",
            flush=True,
        )
    print(f"{len(FAULTS) - missed} of {len(FAULTS)} were caught by their own law, for its own reason")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
