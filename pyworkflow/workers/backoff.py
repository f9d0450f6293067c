"""How long to wait while the storage is away: longer each time, and not in step with other processes."""

from __future__ import annotations

import random

FIRST = 100_000
LONGEST = 30_000_000


class Backoff:
    """Pauses between two tries, in microseconds.

    Args:
        rng: where jitter comes from.

    Attributes:
        failures: tries that failed in a row.
    """

    def __init__(self, rng: random.Random) -> None:
        self.failures = 0
        self._rng = rng

    def next(self) -> int:
        """Count a failure; how long to wait before the next try."""
        longest = min(FIRST << min(self.failures, 20), LONGEST)
        self.failures += 1
        # From half of it upwards: many workers that lost one database must not come back together.
        return int(longest * (0.5 + self._rng.random() / 2))

    def reset(self) -> None:
        """It worked."""
        self.failures = 0
