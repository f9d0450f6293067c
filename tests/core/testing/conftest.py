"""Says at the end how many faults the suite has caught."""

from __future__ import annotations

import re
from typing import Any


def pytest_terminal_summary(terminalreporter: Any) -> None:
    caught = set()
    for report in terminalreporter.stats.get("passed", []):
        if match := re.search(r"test_the_fault_is_caught_.*\[(\d+)-(\w+)\]", report.nodeid):
            caught.add((int(match[1]), match[2]))
    if caught:
        laws = {law for law, _ in caught}
        terminalreporter.write_line(f"kill matrix: {len(caught)} faults caught, {len(laws)} laws bite")
