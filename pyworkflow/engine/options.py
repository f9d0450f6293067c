"""Options of a start: when the run begins, and what it must not stand beside."""

from __future__ import annotations

from datetime import datetime

from msgspec.structs import replace

from pyworkflow_core.errors import ConfigurationError
from pyworkflow_core.events import to_micros
from pyworkflow_core.ids import derive_run_id, validate_id
from pyworkflow_core.payloads import DeduplicationIdTaken, WorkflowStarted

from ..durations import Duration, to_duration
from ..errors import DeduplicationError
from .engine import Engine
from .outside import end_of_chain
from .sidelog import append_to


def with_options(
    engine: Engine,
    started: WorkflowStarted,
    *,
    delay: Duration | None,
    start_at: datetime | None,
    deduplication_id: str | None,
    concurrency_key: str | None,
    enqueued: bool,
) -> WorkflowStarted:
    """The first event of a run with these options.

    Args:
        engine: whose clock says what time it is.
        started: the event without them.
        delay: how long after now it begins.
        start_at: when it begins.
        deduplication_id: the id that no other run of the queue has at the same time.
        concurrency_key: what the queue counts it under.
        enqueued: whether the run is left to workers.

    Raises:
        ConfigurationError: they contradict each other, or are of the wrong kind.
    """
    if all(option is None for option in (delay, start_at, deduplication_id, concurrency_key)):
        return started
    if deduplication_id is not None:
        validate_id(deduplication_id, "deduplication id")
        if started.idempotency_key is not None:
            raise ConfigurationError(
                "give idempotency_key= or deduplication_id=, not both: the one is taken for good, the other "
                "while its run goes on"
            )
    if concurrency_key is not None:
        validate_id(concurrency_key, "concurrency key")
        if not enqueued:
            raise ConfigurationError(
                "concurrency_key= needs queue=: the limits of a queue hold for what workers drive"
            )
    now = engine.clock.now()
    wake_at = _beginning(now, delay, start_at)
    if wake_at is not None and started.deadline is not None:
        started = replace(started, deadline=started.deadline + wake_at - now)
    return replace(
        started, wake_at=wake_at, deduplication_id=deduplication_id, concurrency_key=concurrency_key
    )


def _beginning(now: int, delay: Duration | None, start_at: datetime | None) -> int | None:
    """When the run begins; None for at once."""
    if start_at is not None:
        if delay is not None:
            raise ConfigurationError("give delay= or start_at=, not both")
        if not isinstance(start_at, datetime):
            raise ConfigurationError(
                f"start_at= is a datetime, not {type(start_at).__name__}; delay= takes a duration"
            )
        wake_at = to_micros(start_at)
    elif delay is not None:
        try:
            wake_at = now + to_duration(delay, "delay")
        except ValueError as error:
            raise ConfigurationError(str(error)) from None
    else:
        return None
    return wake_at if wake_at > now else None


async def deduplicated_run_id(engine: Engine, started: WorkflowStarted) -> str:
    """The id of the run to create under a deduplication id that nobody has.

    The runs of an id are numbered, and their ids follow from the number. A log of the id's own
    counts them; a run that is not there yet belongs to whoever creates it first.

    Raises:
        DeduplicationError: a run that goes on has it.
    """
    key = (started.queue, started.deduplication_id or "")
    log_id = derive_run_id("deduplication", *key, prefix="dedup_")
    while True:
        log = await engine.storage.get(log_id)
        number = 0 if log is None else log.head
        run_id = derive_run_id("deduplicated", *key, str(number))
        if await engine.storage.get(run_id) is None:
            return run_id
        end = await end_of_chain(engine, run_id)
        if end is not None and not end.status.is_terminal:
            raise DeduplicationError(
                f"deduplication id {key[1]!r} of queue {key[0]!r} belongs to run {end.run_id!r}, which is "
                f"{end.status}, until that has ended; nothing was started",
                end.run_id,
            )
        after = derive_run_id("deduplicated", *key, str(number + 1))
        if await append_to(engine, log_id, log, DeduplicationIdTaken(key[1], key[0], after)) is not None:
            return after
