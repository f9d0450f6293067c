"""`pyworkflow events`: a run's log, once or as it grows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from .runs import RunArgument
from .session import Session
from .session import run as run_async

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyworkflow_core.events import Event

_POLL = 0.2
_TYPE_WIDTH = len("child_workflow_completed")


def events(
    session: Session,
    run_id: RunArgument,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the run has ended; Ctrl-C ends it too.")
    ] = False,
    after: Annotated[int, typer.Option(metavar="N", min=0, help="Only events with a number above this.")] = 0,
) -> int:
    """Print a run's log. With --json one event a line."""
    return run_async(_events(session, run_id, follow, after))


async def _events(session: Session, run_id: str, follow: bool, after: int) -> int:
    import asyncio

    from .run import find_run

    async with session.opened() as storage:
        await find_run(session, storage, run_id)
        show = _print_line if session.as_json else _row_printer()
        while True:
            record = await storage.get(run_id)
            for event in await storage.read(run_id, after=after):
                show(event)
                after = event.sequence
            if not follow or record is None or (record.status.is_terminal and after >= record.head):
                return 0
            await asyncio.sleep(_POLL)


def _print_line(event: Event) -> None:
    from .values import print_json

    document = {
        "run_id": event.run_id,
        "sequence": event.sequence,
        "type": str(event.type),
        "time": event.timestamp,
        "data": event.data,
    }
    print_json(document, line=True)


def _row_printer() -> Any:
    """Prints one row for each event, in columns that stay where they are while events come in."""
    from .render import fit, one_line, style, width

    room = width()
    with_time = room is None or room >= 72
    title = f"{'N':>5}  " + (f"{'TIME':<12}  " if with_time else "") + f"{'EVENT':<{_TYPE_WIDTH}}  WHAT"
    print(style(title, "1"))

    def show(event: Event) -> None:
        head = f"{event.sequence:>5}  "
        if with_time:
            head += f"{event.timestamp.astimezone().strftime('%H:%M:%S.%f')[:12]}  "
        text = one_line(describe(str(event.type), event.data))
        plain = f"{head}{event.type!s:<{_TYPE_WIDTH}}  {text}".rstrip()
        plain = plain if room is None else fit(plain, room)
        start = len(head)
        end = start + len(str(event.type))
        print(plain[:start] + style(plain[start:end], _style(str(event.type))) + plain[end:], flush=True)

    return show


def _style(kind: str) -> str:
    if kind.endswith("_failed") or kind == "workflow_interrupted":
        return "31"
    if kind.endswith(("_retrying", "_cancelled", "_expired")) or kind == "run_recovered":
        return "33"
    return "32" if kind == "workflow_completed" else ""


def describe(kind: str, data: Mapping[str, Any]) -> str:
    """What happened, in one line."""
    from .values import arguments_text, to_plain, to_text

    name = _name(data)
    match kind:
        case "workflow_started":
            return f"{data['workflow']}({arguments_text(data.get('args'))})"
        case "step_started":
            again = f", attempt {data['attempt']}" if data["attempt"] > 1 else ""
            return f"{name}({arguments_text(data.get('args'))}){again}"
        case "child_workflow_started":
            return f"{name}({arguments_text(data['start'].get('args'))}) as {data['run_id']}"
        case "workflow_continued_as_new":
            return f"({arguments_text(data['start'].get('args'))}) as {data['run_id']}"
        case "child_workflow_released":
            return f"{name} {'is asked to stop' if data['stop'] else 'goes on alone'}"
        case "child_workflow_completed":
            return f"{name} → {to_text(data.get('result'))}"
        case "child_workflow_failed":
            return f"{name} {to_text(data.get('error'))}"
        case "step_completed" | "workflow_completed":
            return f"{name} → {to_text(data.get('result'))}".strip()
        case "step_failed" | "workflow_failed":
            return f"{name} {to_text(data.get('error'))}".strip()
        case "step_retrying":
            return f"{name} again at {_clock(data['retry_at'])}: {to_text(data.get('error'))}"
        case "hook_received":
            return f"{name} ← {to_text(data.get('payload'))}"
        case "run_recovered":
            return f"its process died; taken up again ({data.get('count', 1)})"
    until = data.get("wake_at") or data.get("expires_at")
    words = [name, str(data.get("reason") or ""), ", ".join(data.get("waiting", ()))]
    words.append(f"until {_clock(until)}" if isinstance(until, int) else "")
    text = "  ".join(word for word in words if word)
    return text or ("" if kind in _SILENT else to_text(to_plain(data)))


_SILENT = {"workflow_resumed", "workflow_cancelled", "cancellation_requested", "deliveries_made"}


def _name(data: Mapping[str, Any]) -> str:
    """The step, sleep, hook, timer or child that the event is about."""
    if "timer" in data:
        return f"timer#{data['timer']}"
    if "child" in data:
        return f"{data['child']}#{data['ordinal']}" if data.get("ordinal") else str(data["child"])
    word = next((word for word in ("step", "sleep", "hook") if word in data), None)
    return f"{data[word]}#{data.get('ordinal', 1)}" if word is not None else ""


def _clock(micros: int) -> str:
    from pyworkflow_core.events import from_micros

    from .render import local

    return local(from_micros(micros))
