"""A store that does nothing at all, and says that it can do everything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...events import Event
from ...record import RunRecord
from ...storage import (
    Answer,
    Append,
    Capabilities,
    Claim,
    FeedPage,
    Page,
    Position,
    RunQuery,
    StorageBackend,
)


class DoNothing(StorageBackend):
    """Answers every call with nothing."""

    capabilities = Capabilities(
        durable=True,
        multi_process=True,
        file_medium=True,
        server=True,
        feed=True,
        push=True,
        transactions=True,
    )

    async def open(self) -> None:
        """Do nothing."""

    async def close(self) -> None:
        """Do nothing."""

    async def commit(self, appends: Sequence[Append], *, within: Any = None) -> list[Answer]:
        """No answers."""
        return []

    async def read(self, run_id: str, *, after: int = 0, limit: int | None = None) -> list[Event]:
        """No events."""
        return []

    async def get(self, run_id: str) -> RunRecord | None:
        """No record."""
        return None

    async def find(
        self, query: RunQuery | None = None, *, cursor: str | None = None, limit: int = 100
    ) -> Page:
        """No runs."""
        return Page([], None)

    async def claim(
        self,
        *,
        owner: str,
        now: int,
        lease: int,
        limit: int = 1,
        queues: Sequence[str] | None = None,
        run_id: str | None = None,
    ) -> list[Claim]:
        """No claims."""
        return []

    async def extend(self, claim: Claim, until: int) -> bool:
        """No."""
        return False

    async def release(self, claim: Claim) -> bool:
        """No."""
        return False

    async def delete(self, run_id: str, *, expected: int) -> None:
        """Do nothing."""

    async def feed(self, *, after: Position | None = None, limit: int = 1000) -> FeedPage:
        """No events."""
        return FeedPage([], "")

    async def wait(self, timeout: int) -> None:
        """Do nothing."""

    get_run = get

    async def _open(self) -> None:
        pass

    async def _close(self) -> None:
        pass

    async def _commit(self, appends: Sequence[Append], within: Any) -> list[Answer]:
        return []

    async def _read(self, run_id: str, after: int, limit: int | None) -> list[Event]:
        return []

    async def _get(self, run_id: str) -> RunRecord | None:
        return None

    async def _find(self, query: RunQuery, cursor: str | None, limit: int) -> Page:
        return Page([], None)

    async def _claim(
        self, owner: str, now: int, lease: int, limit: int, queues: tuple[str, ...] | None, run_id: str | None
    ) -> list[Claim]:
        return []

    async def _extend(self, claim: Claim, until: int) -> bool:
        return False

    async def _release(self, claim: Claim) -> bool:
        return False

    async def _delete(self, run_id: str, expected: int) -> None:
        pass
