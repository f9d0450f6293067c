"""`pyworkflow streams`: list runs of streams, show one, tell one something, end one."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from .failures import UsageError
from .session import Session
from .session import run as run_async

StreamArgument = Annotated[str, typer.Argument(metavar="STREAM", help="The stream's name.")]
RunOption = Annotated[
    str | None,
    typer.Option(
        "--run", metavar="NAME", help="Which run of it, by stream_run_id. Default: the unnamed one."
    ),
]
ModuleOption = Annotated[
    str | None,
    typer.Option(metavar="MODULE", help="The module that defines the stream, to check the payload first."),
]


def list_streams(
    session: Session,
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="How many at most.")] = 20,
) -> int:
    """List runs of streams, the newest first."""
    return run_async(_list(session, limit))


def show(session: Session, stream: StreamArgument, of: RunOption = None) -> int:
    """Show one run of a stream: how far it has come, and its steps."""
    return run_async(_show(session, stream, of))


def emit_signal(
    session: Session,
    stream: StreamArgument,
    signal_type: Annotated[str, typer.Argument(metavar="TYPE", help="What kind of signal it is.")],
    payload: Annotated[
        str | None, typer.Argument(metavar="JSON", help="Its payload: JSON where it is JSON, otherwise text.")
    ] = None,
    of: RunOption = None,
    delay: Annotated[
        str | None, typer.Option(metavar="TIME", help="The stream hears it so much later, such as 10m.")
    ] = None,
    signal_id: Annotated[
        str | None, typer.Option("--id", metavar="ID", help="Its id: the same again is not heard again.")
    ] = None,
    module: ModuleOption = None,
) -> int:
    """Tell a stream something. A worker brings it to the stream's steps."""
    from .modules import load_configured
    from .values import parse_value

    load_configured(module)
    value = None if payload is None else parse_value(payload)
    options = {"stream_run_id": of, "delay": delay, "signal_id": signal_id}
    return run_async(_emit(session, stream, signal_type, value, options))


def terminate_stream(
    session: Session,
    stream: StreamArgument,
    of: RunOption = None,
    reason: Annotated[str | None, typer.Option(metavar="TEXT", help="Why; the log keeps it.")] = None,
) -> int:
    """End a run of a stream: what was emitted before is handled, nothing after it."""
    return run_async(_terminate(session, stream, of, reason))


async def _list(session: Session, limit: int) -> int:
    from ..streams import list_stream_runs
    from .values import print_json

    async with session.opened() as storage:
        found = await list_stream_runs(limit=limit, storage=storage)
    if session.as_json:
        print_json([_document(run) for run in found])
        return 0
    if not found:
        print(f"no streams in {session.storage_name}")
        return 0
    from .render import Column, ago, print_table

    columns = [
        Column("STREAM"),
        Column("RUN", least=8),
        Column("STATUS", status=True),
        Column("SIGNALS", drop=1, right=True),
        Column("SINCE", drop=2),
    ]
    rows = [
        (r.stream_id, r.stream_run_id or "-", str(r.status), str(r.signals), ago(r.created_at)) for r in found
    ]
    print_table(columns, rows)
    return 0


async def _show(session: Session, stream: str, of: str | None) -> int:
    from ..streams import get_stream_run
    from .values import print_json

    async with session.opened() as storage:
        found = await get_stream_run(stream, of, storage=storage)
    if session.as_json:
        print_json(_document(found))
        return 0
    from .render import Column, print_table, status

    print(f"stream   {found.stream_id}")
    if found.stream_run_id is not None:
        print(f"run      {found.stream_run_id}")
    print(f"status   {status(found.status)}{'' if found.outcome is None else f' ({found.outcome})'}")
    print(f"signals  {found.signals}")
    print(f"log      {found.run_id}")
    if found.steps:
        print()
        columns = [Column("STEP"), Column("STATUS", status=True), Column("LOG", drop=1)]
        print_table(columns, [(step.name, str(step.status), step.run_id) for step in found.steps])
    return 0


async def _emit(
    session: Session, stream: str, signal_type: str, payload: Any, options: dict[str, Any]
) -> int:
    from pyworkflow_core.errors import WorkflowError

    from ..streams import emit
    from .values import print_json

    async with session.opened() as storage:
        try:
            signal = await emit(stream, signal_type, payload, storage=storage, **options)
        except WorkflowError:
            raise
        except ValueError as error:  # the payload does not fit, or the delay is none
            raise UsageError(str(error)) from None
    if session.as_json:
        print_json({"signal_id": signal.signal_id, "published_at": signal.published_at})
    else:
        print(f"told stream {stream} {signal_type} as {signal.signal_id}")
    return 0


async def _terminate(session: Session, stream: str, of: str | None, reason: str | None) -> int:
    from ..streams import terminate
    from .values import print_json

    async with session.opened() as storage:
        await terminate(stream, stream_run_id=of, reason=reason, storage=storage)
    if session.as_json:
        print_json({"stream_id": stream, "stream_run_id": of, "requested": True})
    else:
        print(f"stream {stream} ends when its steps have handled what came before")
    return 0


def _document(run: Any) -> dict[str, Any]:
    import msgspec

    found: dict[str, Any] = msgspec.to_builtins(run)
    return found
