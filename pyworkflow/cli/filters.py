"""Options that say which runs are meant: those of `runs list` and `runs cancel`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .completion import complete_run, complete_status
from .failures import UsageError

if TYPE_CHECKING:
    from pyworkflow_core.record import RunStatus

StatusOption = Annotated[
    list[str] | None,
    typer.Option(metavar="STATUS", help="Only this status; may be repeated.", autocompletion=complete_status),
]
WorkflowOption = Annotated[str | None, typer.Option(metavar="NAME", help="Only this workflow.")]
QueueOption = Annotated[str | None, typer.Option(metavar="NAME", help="Only this queue.")]
ParentOption = Annotated[
    str | None,
    typer.Option(metavar="RUN", help="Only children of this run.", autocompletion=complete_run),
]
CreatedFromOption = Annotated[
    str | None,
    typer.Option(metavar="WHEN", help="Only created since then: 2h for two hours ago, or a date and time."),
]
CreatedBeforeOption = Annotated[
    str | None, typer.Option(metavar="WHEN", help="Only created before that: 30d, or a date and time.")
]
AttributeOption = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=VALUE", help="Only with this attribute; may be repeated."),
]


def filters_of(
    status: list[str] | None = None,
    workflow: str | None = None,
    queue: str | None = None,
    parent: str | None = None,
    created_from: str | None = None,
    created_before: str | None = None,
    attribute: list[str] | None = None,
) -> dict[str, Any]:
    """The options as arguments of `list_workflow_runs`, those that were given."""
    found = {
        "status": status_of(status),
        "workflow_name": workflow,
        "queue": queue,
        "parent_run_id": parent,
        "created_from": moment_of(created_from, "--created-from"),
        "created_before": moment_of(created_before, "--created-before"),
        "attributes": _attributes(attribute),
    }
    return {name: value for name, value in found.items() if value is not None}


def status_of(status: list[str] | None) -> frozenset[RunStatus] | None:
    """The statuses of repeated options, each of which may name several with commas."""
    import difflib

    from pyworkflow_core.record import RunStatus

    words = [word for text in status or () for word in text.split(",")]
    known = [one.value for one in RunStatus]
    for word in words:
        if word not in known:
            close = difflib.get_close_matches(word, known, 1)
            hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(known)}"
            raise UsageError(f"there is no status {word!r}; {hint}")
    return frozenset(RunStatus(word) for word in words) or None


def moment_of(text: str | None, option: str) -> datetime | None:
    """A moment: so long ago, or a date and time, of this machine's zone unless it says otherwise."""
    from ..durations import to_duration

    if text is None:
        return None
    try:
        return datetime.now(UTC) - timedelta(microseconds=to_duration(text))
    except (ValueError, OverflowError):
        pass
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise UsageError(
            f"{option} {text!r}: write how long ago, such as 2h or 30d, or a moment, such as 2026-01-31T18:00"
        ) from None


def _attributes(words: list[str] | None) -> dict[str, str] | None:
    found = {}
    for word in words or ():
        name, equals, value = word.partition("=")
        if not name or not equals:
            raise UsageError(f"--attribute {word!r}: write NAME=VALUE")
        found[name] = value
    return found or None
