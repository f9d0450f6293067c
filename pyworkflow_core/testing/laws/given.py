"""What checks begin with: runs that are there, and claims that were made."""

from __future__ import annotations

from typing import Any

from ...storage import Append, Claim, Committed, StorageBackend
from ..appends import created
from ..broken import same
from ..place import Place


async def given(store: StorageBackend, *appends: Append) -> None:
    """Commit what a check begins with; each append must be committed."""
    expected = [Committed(append.run_id, append.events[-1].sequence) for append in appends]
    same(await store.commit(list(appends)), expected, "a commit of appends that fit")


def due_run(place: Place, run_id: str, **fields: Any) -> Append:
    """The append that creates a run which has been due for a short while.

    Args:
        place: whose time counts.
        run_id: the run.
        **fields: further arguments of `created`.
    """
    return created(run_id, **{"at": place.now - place.unit, **fields})


async def take(
    place: Place,
    store: StorageBackend,
    *,
    owner: str = "worker",
    units: int = 100,
    limit: int = 10,
    queues: list[str] | None = None,
    run_id: str | None = None,
) -> list[Claim]:
    """Claim at the place's time.

    Args:
        place: whose time and unit count.
        store: where.
        owner: who claims.
        units: the lease, in units of the place: 100 are more than a check takes.
        limit: how many at most.
        queues: only these.
        run_id: only this run.
    """
    return await store.claim(
        owner=owner, now=place.now, lease=units * place.unit, limit=limit, queues=queues, run_id=run_id
    )


async def take_one(
    place: Place, store: StorageBackend, run_id: str, *, owner: str = "worker", units: int = 100
) -> Claim:
    """The claim of a run that must be there to claim."""
    claims = await take(place, store, owner=owner, units=units, run_id=run_id)
    same(ids(claims), [run_id], f"claim of run {run_id!r}, which is due and free")
    return claims[0]


def ids(claims: list[Claim]) -> list[str]:
    """The claimed runs."""
    return [claim.run_id for claim in claims]
