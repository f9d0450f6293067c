"""`pyworkflow backends`: where runs can be stored."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from .session import Session
from .storage import describe


def backends(
    session: Session,
    check: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Instead: say what this storage is set to, and what that means."),
    ] = None,
) -> int:
    """List the storage backends.

    Each that is installed is shown, with what keeps it from working if anything does.
    """
    if check is None:
        return _list(session)
    return describe(dataclasses.replace(session, url=check))


def _list(session: Session) -> int:
    import msgspec

    from pyworkflow_core.plugins import list_backends

    from .values import print_json

    found = list_backends()
    if session.as_json:
        print_json([msgspec.structs.asdict(backend) for backend in found])
        return 0
    from .render import Column, one_line, print_table, style

    columns = [
        Column("SCHEME"),
        Column("USABLE"),
        Column("FROM", drop=2),
        Column("EXAMPLE", drop=1),
        Column("WHAT", drop=3, least=20),
    ]
    print_table(
        columns,
        [(b.scheme, "no" if b.problem else "yes", b.distribution, b.example, b.summary) for b in found],
    )
    for backend in found:
        if backend.problem:
            print(style(f"\n{backend.scheme}: {one_line(backend.problem)}", "31"))
    return 0
