"""`pyworkflow backends`: where runs can be stored."""

from __future__ import annotations

from typing import Annotated

import typer

from .session import Session, run


def backends(
    session: Session,
    check: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Instead: open this storage, and say what its settings mean."),
    ] = None,
) -> int:
    """List the storage backends.

    Each that is installed is shown, with what keeps it from working if anything does.
    """
    return _list(session) if check is None else run(_check(session, check))


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


async def _check(session: Session, url: str) -> int:
    import msgspec

    from pyworkflow_core.describing import describe
    from pyworkflow_core.plugins import open_storage, redact

    from .values import print_json

    async with open_storage(url) as store:
        said = await describe(store)
        declared = msgspec.structs.asdict(store.capabilities)
    if session.as_json:
        print_json({"storage": redact(url), "capabilities": declared, "says": said})
    else:
        print("\n".join(said))
    return 0
