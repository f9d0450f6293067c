"""The scripts, which lie beside this module: loaded into a server once, and called by their digest."""

from __future__ import annotations

import hashlib
from pathlib import Path

from .connections import Command

_FOLDER = Path(__file__).with_name("scripts")


class Script:
    """One script.

    Args:
        names: files without their ending; the script is what stands in them, one after the other.

    Attributes:
        source: its text.
        digest: what a server that has loaded it knows it by.
    """

    def __init__(self, *names: str) -> None:
        self.name = names[-1]
        self.source = "\n".join((_FOLDER / f"{name}.lua").read_text(encoding="utf-8") for name in names)
        self.digest = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()

    def call(self, key: str, *arguments: object) -> Command:
        """The command that runs it for the slot of `key`."""
        return ("EVALSHA", self.digest, 1, key, *arguments)

    def __repr__(self) -> str:
        return f"Script({self.name!r})"


SETTLE_NAMESPACE = Script("found")
COMMIT = Script("row", "listing", "commit")
CLAIM = Script("row", "claim")
CLAIM_RUN = Script("row", "claim_run")
SET_LEASE = Script("row", "set_lease")
DELETE = Script("row", "listing", "delete")
FIND = Script("row", "find")
FEED = Script("row", "feed")
PEEK = Script("row", "peek")
ALL = (SETTLE_NAMESPACE, COMMIT, CLAIM, CLAIM_RUN, SET_LEASE, DELETE, FIND, FEED, PEEK)
