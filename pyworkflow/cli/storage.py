"""`pyworkflow storage`: make a storage, bring it up to date, say what it is."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from .session import Session
from .session import run as run_async

if TYPE_CHECKING:
    from pyworkflow_core.errors import StorageError, UnsupportedSchema


def init(session: Session) -> int:
    """Make the tables or the folder, unless they are there.

    It does so even if the URL has migrate=never. Repeating it does no harm.
    """
    return run_async(_bring_up(session, make=True))


def migrate(session: Session) -> int:
    """Bring older tables up to date.

    It does so even if the URL has migrate=never, and makes none where there are none. It says
    from which version to which, or that there was nothing to do.
    """
    return run_async(_bring_up(session, make=False))


def check(session: Session) -> int:
    """Say what the storage is, and whether it can be used.

    It makes and changes no tables. Exit code: 0 it can be used, 5 it cannot.
    """
    return run_async(_check(session, used=True))


def describe(session: Session) -> int:
    """Say what the storage is, whether or not somebody has made it, as far as its backend can."""
    return run_async(_check(session, used=False))


async def _bring_up(session: Session, *, make: bool) -> int:
    from pyworkflow_core.errors import UnsupportedSchema

    found = needed = None
    try:
        async with _with_migrate(session, "never").opened():
            done = "nothing"
    except UnsupportedSchema as error:
        found, needed = error.found, error.needed
        if not _is_older(error) or (found == 0 and not make):
            raise _in_words(session, error) from error
        async with _with_migrate(session, "auto").opened():
            done = "migrated" if found else "made"
    if session.as_json:
        from .values import print_json

        print_json({"storage": session.storage_name, "done": done, "from": found or None, "to": needed})
    elif done == "nothing":
        print(f"{session.storage_name} is ready; there was nothing to do")
    else:
        how = f"brought from version {found} to {needed}" if found else f"made, with version {needed}"
        print(f"{session.storage_name} is ready: {how}")
    return 0


async def _check(session: Session, *, used: bool) -> int:
    import msgspec

    from pyworkflow_core.errors import UnsupportedSchema

    from .progress import shown_progress

    storage = _with_migrate(session, "never").storage()
    try:
        with shown_progress(storage):
            if used:
                await storage.find(limit=1)
            lines = await storage.describe()
    except UnsupportedSchema as error:
        raise _in_words(session, error) from error
    finally:
        await storage.close()
    if session.as_json:
        from .values import print_json

        print_json(
            {
                "storage": session.storage_name,
                "description": lines,
                "capabilities": msgspec.structs.asdict(storage.capabilities),
                "limits": msgspec.structs.asdict(storage.limits),
            }
        )
        return 0
    from .render import one_line

    print(f"{session.storage_name} can be used" if used else session.storage_name)
    for line in lines:
        print(f"  {one_line(line)}")
    return 0


def _with_migrate(session: Session, value: str) -> Session:
    """The session, on a URL with that option, where the backend has it."""
    from pyworkflow_core.plugins import find_backend, with_option

    url = session.chosen
    if not isinstance(url, str) or "migrate" not in find_backend(url).info.options:
        return session
    return dataclasses.replace(session, url=with_option(url, "migrate", value))


def _is_older(error: UnsupportedSchema) -> bool:
    return error.found is not None and error.needed is not None and error.found < error.needed


def _in_words(session: Session, error: UnsupportedSchema) -> StorageError:
    """The error for people who said nothing of migrate=never."""
    from pyworkflow_core.errors import StorageUnavailable, UnsupportedSchema

    if error.found == 0:
        return StorageUnavailable(
            f"there is nothing in {session.storage_name} yet; 'pyworkflow storage init' makes it"
        )
    if _is_older(error):
        return UnsupportedSchema(
            f"{session.storage_name} has version {error.found}, and this code needs {error.needed}; "
            "'pyworkflow storage migrate' brings it up to date"
        )
    return error
