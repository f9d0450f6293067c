"""When a failed step is tried again."""

from __future__ import annotations

import random
from collections.abc import Sequence

from msgspec import Struct

from pyworkflow_core.errors import ConfigurationError, LimitExceeded, UnserializableValueError

from .durations import Duration, to_duration
from .errors import FatalError, RetryableError

RetryDelay = Duration | Sequence[Duration]
"""``"exponential"``, ``"fixed"``, one duration, or a list of them whose last one repeats."""

_SECOND = 1_000_000
_LONGEST = 300 * _SECOND


class RetryPolicy(Struct, frozen=True):
    """How often and when a step is tried again.

    Attributes:
        max_retries: tries after the first; attempts lost to a crash are not counted.
        delays: microseconds before the first, second, … retry; the last repeats. Empty for
            exponential: 1 s, 2 s, 4 s, … up to 300 s, each shortened by up to half at random,
            so that many runs do not come back together.
    """

    max_retries: int
    delays: tuple[int, ...] = ()

    def delay(self, failures: int, rng: random.Random) -> int:
        """Microseconds to wait after the given number of failures, from 1."""
        if self.delays:
            return self.delays[min(failures, len(self.delays)) - 1]
        longest = min(_SECOND << min(failures - 1, 20), _LONGEST)
        return rng.randint(longest // 2, longest)

    def after(self, error: BaseException, failures: int, rng: random.Random) -> int | None:
        """Microseconds until the next try after `error`; None to give up."""
        if (
            isinstance(error, (FatalError, UnserializableValueError, LimitExceeded))
            or failures > self.max_retries
        ):
            return None
        if isinstance(error, RetryableError) and error.retry_after is not None:
            return to_duration(error.retry_after, "retry_after")
        return self.delay(failures, rng)


def retry_policy(max_retries: int, retry_delay: RetryDelay, what: str) -> RetryPolicy:
    """The policy that a step's arguments describe.

    Raises:
        ConfigurationError: they describe none.
    """
    if isinstance(max_retries, bool) or not isinstance(max_retries, int) or max_retries < 0:
        raise ConfigurationError(f"{what}: max_retries must be 0 or more, not {max_retries!r}")
    if retry_delay == "exponential":
        return RetryPolicy(max_retries)
    if retry_delay == "fixed":
        return RetryPolicy(max_retries, (_SECOND,))
    try:
        if isinstance(retry_delay, Sequence) and not isinstance(retry_delay, str):
            delays = tuple(to_duration(delay, "retry_delay") for delay in retry_delay)
            if not delays:
                raise ValueError("retry_delay is an empty list")
        else:
            delays = (to_duration(retry_delay, "retry_delay"),)
    except ValueError as error:
        raise ConfigurationError(f"{what}: {error}, nor 'exponential' or 'fixed'") from None
    return RetryPolicy(max_retries, delays)
