"""What the shell offers after the tab key. It never fails and never says why."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

import typer


def _silent(complete: Callable[..., list[str]]) -> Callable[[str], list[str]]:
    @wraps(complete)
    def attempt(incomplete: str) -> list[str]:
        try:
            return [word for word in complete(incomplete) if word.startswith(incomplete)]
        except Exception:
            return []

    return attempt


@_silent
def complete_storage(incomplete: str) -> list[str]:
    """The schemes of the installed backends."""
    from pyworkflow_core.plugins import list_backends

    return [f"{backend.scheme}:" for backend in list_backends() if not backend.problem]


@_silent
def complete_status(incomplete: str) -> list[str]:
    """Every status of a run."""
    from pyworkflow_core.record import RunStatus

    return list(RunStatus)


def complete_run(context: typer.Context, incomplete: str) -> list[str]:
    """Ids of the newest runs in the storage that the line names so far."""
    import asyncio

    from ..config import get_storage

    async def newest() -> list[str]:
        given = context.params.get("storage") or (context.find_root().params.get("url"))
        storage = get_storage(given)
        try:
            return [record.run_id for record in await storage.list_runs(limit=200)]
        finally:
            await storage.close()

    try:
        return [run_id for run_id in asyncio.run(newest()) if run_id.startswith(incomplete)]
    except Exception:
        return []
