"""Taking back the end of a run, so that it goes on."""

from __future__ import annotations

from typing import ClassVar

from .base import EventType, Payload


class RunReopened(Payload, frozen=True, gc=False, omit_defaults=True):
    """Somebody retried a run that had ended: it goes on from the place where that began.

    What the log holds from event `since` on up to this one no longer counts for the run's code,
    except for results of steps that had begun before, completed children, and answers to hooks
    that were open.

    Attributes:
        since: sequence number of the first event that no longer counts.
        reason: text given with the request.
        mark: tells this reopening from every other.
        parent_mark: the mark of the parent's reopening that this one follows; empty if it was asked for.
        owes: whether the run waits for children, or for answers under tokens of its own choice: the
            children are brought back, and the tokens are taken again.
        cancel_requested: whether a cancellation request from before `since` still stands.
        deadline: when ``max_duration`` ends the run now.
        context_at: the event that has the step context now.
        state_at: the event that has the published state now.
    """

    TYPE: ClassVar[EventType] = EventType.RUN_REOPENED

    since: int
    reason: str | None = None
    mark: str = ""
    parent_mark: str = ""
    owes: bool = False
    cancel_requested: bool = False
    deadline: int | None = None
    context_at: int | None = None
    state_at: int | None = None
