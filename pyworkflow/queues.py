"""Limits of queues: how many of their runs are driven at once, and how many begin in a time."""

from __future__ import annotations

from msgspec import Struct

from pyworkflow_core.errors import ConfigurationError
from pyworkflow_core.ids import validate_id
from pyworkflow_core.storage import StorageBackend

from .config import get_storage, queue_limits
from .durations import Duration, to_duration

MOST_BEGINNINGS = 10_000
"""How many beginnings a rate limit can count: their times stand in the queue's log."""


class QueueLimits(Struct, frozen=True, kw_only=True):
    """The limits of one queue. None means no limit of that kind.

    Attributes:
        concurrency: runs of the queue driven at once, by all workers together.
        per_key_concurrency: runs of one `concurrency_key` driven at once.
        beginnings: runs that begin within any `period`.
        period: in microseconds.
    """

    concurrency: int | None = None
    per_key_concurrency: int | None = None
    beginnings: int | None = None
    period: int = 0


class QueueState(Struct, frozen=True, kw_only=True):
    """How a queue with limits stands.

    Attributes:
        name: the queue.
        limits: its limits, as this process was told.
        running: run ids of those that have a slot, by their concurrency key (empty for none).
        begun: runs that began within the last period of the rate limit.
    """

    name: str
    limits: QueueLimits
    running: dict[str, list[str]]
    begun: int


def configure_queue(
    name: str,
    *,
    concurrency: int | None = None,
    per_key_concurrency: int | None = None,
    rate_limit: tuple[int, Duration] | None = None,
) -> None:
    """Set the limits of a queue, in place of those it had; none takes them off.

    They hold for what workers drive, over all processes and machines that use the storage. Every
    process with a worker must be told the same: put the call into the module of the workflows.
    A run counts while it is driven; one that is suspended does not.

    Args:
        name: the queue.
        concurrency: how many of its runs are driven at once.
        per_key_concurrency: how many of its runs with the same `concurrency_key`.
        rate_limit: how many of its runs begin within any time of this length, such as
            ``(50, "1m")``; a run that goes on after a wait does not count again.

    Raises:
        ConfigurationError: a limit is of the wrong kind.
    """
    try:
        validate_id(name, "queue")
    except ValueError as error:
        raise ConfigurationError(str(error)) from None
    what = f"queue {name!r}"
    beginnings, period = _rate(rate_limit, what)
    limits = QueueLimits(
        concurrency=_count(concurrency, f"{what}: concurrency"),
        per_key_concurrency=_count(per_key_concurrency, f"{what}: per_key_concurrency"),
        beginnings=beginnings,
        period=period,
    )
    if limits == QueueLimits():
        queue_limits.pop(name, None)
    else:
        queue_limits[name] = limits


def get_queue_limits() -> dict[str, QueueLimits]:
    """The limits that this process was told of, by queue."""
    return dict(queue_limits)


async def get_queue(name: str, storage: StorageBackend | str | None = None) -> QueueState:
    """How a queue with limits stands: who has its slots.

    Args:
        name: the queue.
        storage: where its runs are; the configured one unless given.
    """
    from .engine.engine import engine_for
    from .engine.limiter import Limiter

    engine = engine_for(get_storage(storage))
    limiter = Limiter(engine, name)
    if await limiter.exists():
        await limiter.look()
    limits = queue_limits.get(name, QueueLimits())
    running: dict[str, list[str]] = {}
    for slot in limiter.slots.holders.values():
        running.setdefault(slot.key, []).append(slot.run_id)
    begun = limiter.slots.begun_within(limits.period, engine.clock.now())
    return QueueState(name=name, limits=limits, running=running, begun=begun)


def _count(value: int | None, what: str) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise ConfigurationError(f"{what} is a whole number of 1 or more, not {value!r}")
    return value


def _rate(rate: tuple[int, Duration] | None, what: str) -> tuple[int | None, int]:
    if rate is None:
        return None, 0
    if not isinstance(rate, (tuple, list)) or len(rate) != 2:
        raise ConfigurationError(
            f"{what}: rate_limit is a number and a time, such as (50, '1m'), not {rate!r}"
        )
    beginnings = _count(rate[0], f"{what}: rate_limit[0]")
    if beginnings is None or beginnings > MOST_BEGINNINGS:
        raise ConfigurationError(f"{what}: rate_limit[0] is from 1 to {MOST_BEGINNINGS}, not {rate[0]!r}")
    try:
        period = to_duration(rate[1], f"{what}: rate_limit[1]")
    except ValueError as error:
        raise ConfigurationError(str(error)) from None
    if period < 1:
        raise ConfigurationError(f"{what}: rate_limit[1] is a time above 0, not {rate[1]!r}")
    return beginnings, period
