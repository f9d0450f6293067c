"""What the SQL backends have in common: the storage contract in terms of scripts."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, TypeVar

from sqlalchemy import URL, Dialect

from pyworkflow_core.events import Event
from pyworkflow_core.record import RunRecord
from pyworkflow_core.storage import Answer, Append, Claim, FeedPage, Page, Refused, RunQuery, StorageBackend

from . import migrate, scripts
from .migrate import Layout
from .options import Options, parse_url
from .rows import find_unfit
from .schema import make_tables
from .scripts import Script
from .statements import Statements

T = TypeVar("T")
MakeScript = Callable[[], Script[T]]
"""Makes the script anew for every try."""


class SqlStorageBackend(StorageBackend):
    """Keeps runs in tables of a SQL database.

    Args:
        url: the database, as SQLAlchemy names it, with options of this backend among its own.
        options: those options, by name; they win over the URL's.

    Raises:
        ConfigurationError: the URL or an option cannot work.
    """

    _options_class: ClassVar[type[Options]] = Options
    options: Options
    _layout: Layout | None = None
    _s: Statements
    """The statements; there once the layout is known."""

    def __init__(self, url: str | URL, **options: Any) -> None:
        self.url, given = parse_url(url, self._options_class, options)
        unknown = sorted(set(given) - set(self._options_class.__struct_fields__))
        if unknown:
            raise TypeError(f"{type(self).__name__} has no option {unknown[0]!r}")
        self._set_options(self._options_class(**given))

    @abstractmethod
    def _set_options(self, options: Any) -> None:
        """Take the options, of the class `_options_class`."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url.render_as_string(hide_password=True)!r})"

    async def describe(self) -> list[str]:
        """What the storage is and promises, in lines for people."""
        promises = await super().describe()
        database = await self._ask(self._describe_database)
        facts = await self._ask(lambda: migrate.look(self._s.tables, self._s.dialect))
        return [*database, migrate.describe(facts, self.options.namespace), *promises]

    # ---- what each database does its own way -----------------------------------------

    @abstractmethod
    def _describe_database(self) -> Script[list[str]]:
        """Which database it is, and what it is set to do for durability."""

    @abstractmethod
    async def _ask(self, make: MakeScript[T]) -> T:
        """Run a script of one statement that only reads."""

    @abstractmethod
    async def _transact(self, make: MakeScript[T]) -> T:
        """Run a script in a transaction, again where the database says so."""

    @abstractmethod
    async def _write(self, appends: Sequence[Append], within: Any) -> list[Answer]:
        """Answer appends that the columns can hold."""

    # ---- the contract ----------------------------------------------------------------

    def _know(self, layout: Layout, namespace: str, dialect: Dialect) -> None:
        """Take what is fixed in the namespace."""
        self._layout = layout
        self._s = Statements(make_tables(namespace, dialect.name, layout.feed), dialect)

    async def _commit(self, appends: Sequence[Append], within: Any) -> list[Answer]:
        unfit = {append.run_id: error for append in appends if (error := find_unfit(append)) is not None}
        if not unfit:
            return await self._write(appends, within)
        accepted = [append for append in appends if append.run_id not in unfit]
        answers = iter(await self._write(accepted, within) if accepted else [])
        return [Refused(a.run_id, unfit[a.run_id]) if a.run_id in unfit else next(answers) for a in appends]

    async def _read(self, run_id: str, after: int, limit: int | None) -> list[Event]:
        return await self._ask(lambda: scripts.read(self._s, run_id, after, limit))

    async def _get(self, run_id: str) -> RunRecord | None:
        return await self._ask(lambda: scripts.get(self._s, run_id))

    async def _find(self, query: RunQuery, cursor: str | None, limit: int) -> Page:
        return await self._ask(lambda: scripts.find(self._s, query, cursor, limit))

    async def _claim(
        self, owner: str, now: int, lease: int, limit: int, queues: tuple[str, ...] | None, run_id: str | None
    ) -> list[Claim]:
        return await self._transact(lambda: scripts.claim(self._s, owner, now, lease, limit, queues, run_id))

    async def _extend(self, claim: Claim, until: int) -> bool:
        return await self._transact(lambda: scripts.move_lease(self._s, claim, until))

    async def _release(self, claim: Claim) -> bool:
        return await self._transact(lambda: scripts.move_lease(self._s, claim, None))

    async def _delete(self, run_id: str, expected: int) -> None:
        await self._transact(lambda: scripts.delete(self._s, run_id, expected))

    async def _feed(self, after: str | None, limit: int) -> FeedPage:
        layout = self._layout
        assert layout is not None
        return await self._ask(lambda: scripts.feed(self._s, layout.tag, after, limit))
