"""Removing a whole namespace."""

from __future__ import annotations

from pyworkflow_core.errors import StorageUnavailable

from .connections import Server, first_error


async def remove_keys(server: Server, namespace: str) -> None:
    """Remove the keys of a namespace from a server.

    Raises:
        Unreachable, Lost: it is not done, or not all of it.
        StorageUnavailable: the server refuses.
    """
    # A namespace's name has no character that means something in a pattern. A bucket's tag
    # goes on with a slash, so that no other namespace's keys begin alike.
    for pattern in (f"{{{namespace}}}:*", f"{{{namespace}/*"):
        cursor: bytes | int = 0
        while True:
            (answer,) = await server.ask(("SCAN", cursor, "MATCH", pattern, "COUNT", 1000))
            if isinstance(answer, Exception):
                raise StorageUnavailable(f"{server} refused: {answer}")
            cursor, keys = answer
            # One by one: on a cluster they are of different slots.
            if keys and (error := first_error(await server.ask(*(("UNLINK", key) for key in keys)))):
                raise StorageUnavailable(f"{server} refused: {error}")
            if int(cursor) == 0:
                break
