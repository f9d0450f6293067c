"""Plays the steps of a program on a store and on the model at once, and compares.

Every call is recorded, also those that only look, so that the steps which were played are the
program that a failure shows, before it is cut down.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from msgspec import Struct

from ...record import evolve
from ...storage import Append, StorageBackend
from ..broken import LawBroken, same
from ..looks import follow
from ..place import Place
from . import reading
from .model import Model
from .steps import Call, Make, Reopen, Step, Unplayable, resolve
from .writing import show, show_call, show_make

SERVER_NOW = 5_000_000_000_000_000
"""The time of the model where the server's clock decides: after all that is past, before all that is not."""
FAR = 10_000_000_000_000_000
"""A moment that no test lives to see."""
_SECONDS = 60
_WORDS: dict[str, tuple[Callable[..., Awaitable[Any]], int]] = {
    "listed": (reading.listed, 30),
    "follow": (follow, 34),
}
"""Words that take the handle first, and the law that is broken if they do not end."""


class Touch(Struct, frozen=True):
    """What last happened to a run.

    Attributes:
        kind: what: ``append``, ``conflict``, ``refused``, ``resent``, ``deleted``, ``kept``, ``lease``.
        step: number of the step.
        before: the run's head before it.
    """

    kind: str
    step: int
    before: int


class Session:
    """One program on one fresh namespace.

    Args:
        place: the namespace.
        named: names that the program needs; other names are left out of its text.

    Attributes:
        model: what must be there.
        steps: the steps that were played.
        lines: their text.
        named: names that the program needs; every name if None.
        touched: what last happened to each run.
        recent: the runs that the last step which changes anything was about.
        writers: the handle that last wrote each run.
        suspects: what would have spoilt the due time of a run, if it did more than it should:
            the law that it would break, and the step.
        pages: the feed pages that led to each named page.
        reopened: handles that were closed and opened again.
        tokens: of every lease that there was.
        blamed: the step without which the failure should not be there, if there is one.
        seen_now: the latest time that any claim named.
    """

    def __init__(self, place: Place, named: frozenset[str] | None = None) -> None:
        self.place = place
        self.model = Model()
        self.stores: dict[str, StorageBackend] = {}
        self.names: dict[str, Any] = {}
        self.steps: list[Step] = []
        self.lines: list[str] = []
        self.named = named
        self.touched: dict[str, Touch] = {}
        self.recent: set[str] = set()
        self.writers: dict[str, str] = {}
        self.suspects: dict[str, tuple[int, int]] = {}
        self.pages: dict[str, list[str]] = {}
        self.reopened: set[str] = set()
        self.tokens: set[str] = set()
        self.blamed: int | None = None
        self.seen_now = 0
        self._made: dict[int, str] = {}

    async def open(self, handles: Iterable[str]) -> None:
        """Open handles by name."""
        for name in handles:
            self.stores[name] = await self.place.open()

    @property
    def server_clock(self) -> bool:
        """Whether the server's clock decides what is due."""
        return any(store.capabilities.clock == "server" for store in self.stores.values())

    @property
    def sharded(self) -> bool:
        """Whether priorities order claims only within parts of the namespace."""
        return any(store.capabilities.due_order != "global" for store in self.stores.values())

    async def take(self, step: Step) -> None:
        """Play one step.

        Raises:
            LawBroken: the store did something else than the model.
            Unplayable: the contract leaves open what should happen.
        """
        self.steps.append(step)
        if isinstance(step, Make):
            made = self.names[step.name] = resolve(step.value, self.names)
            self._made[id(made)] = step.name
            self.lines.append(show_make(step))
        elif isinstance(step, Reopen):
            self.stores[step.handle] = await self.place.reopen(self.store(step.handle))
            self.reopened.add(step.handle)
            self.lines.append(f"{step.handle} = await place.reopen({step.handle})")
        else:
            from .judging import JUDGES

            try:
                await JUDGES[step.method](self, step)
            except (LawBroken, Unplayable):
                raise
            except (TypeError, AttributeError, ValueError, KeyError) as error:
                self.lines.append(show_call(step))
                said = f"an answer of {step.method} that cannot be read: {type(error).__name__}: {error}"
                raise LawBroken(said, law=53) from error

    async def probe(self, call: Call) -> None:
        """Ask more, to tell what an answer that is wrong comes from. What is right is not recorded.

        Raises:
            LawBroken: this answer is wrong too, and says more.
        """
        steps, lines = len(self.steps), len(self.lines)
        await self.take(call)
        del self.steps[steps:], self.lines[lines:]

    def store(self, handle: str) -> StorageBackend:
        """The handle of that name."""
        if handle not in self.stores:
            raise Unplayable(f"{handle} is not open")
        return self.stores[handle]

    async def perform(self, call: Call, *allowed: type[Exception], law: int = 53) -> Any:
        """Make a call, and return its answer, or the exception if it is an allowed one.

        Raises:
            LawBroken: another exception escaped, which breaks `law`.
        """
        args, options = resolve(call.args, self.names), resolve(call.options, self.names)
        store = self.store(call.handle)
        word = _WORDS.get(call.method)
        limit = asyncio.timeout(_SECONDS)
        try:
            async with limit:
                if word is not None:
                    return await word[0](store, *args, **options)
                return await getattr(store, call.method)(*args, **options)
        except allowed as error:
            return error
        except LawBroken as error:
            self.lines.append(show_call(call))
            raise LawBroken(error.said, law=word[1] if word else None) from error
        except Exception as error:
            self.lines.append(show_call(call))
            if limit.expired():
                raise LawBroken(f"no answer within {_SECONDS} s", law=53) from error
            raise LawBroken(f"{type(error).__name__} escaped: {error}", law=law) from error

    def fail(
        self,
        law: int,
        said: str,
        actual: tuple[str, object],
        expected: tuple[str, object],
        blamed: int | None = None,
    ) -> None:
        """End the program with the comparison that fails.

        Args:
            law: the law that is broken.
            said: what is compared.
            actual: the expression of what the store answered, and its value.
            expected: that of what it should have answered.
            blamed: the step that broke the law, if it was an earlier one.

        Raises:
            LawBroken: always.
        """
        self.lines.append(f"same({actual[0]}, {expected[0]}, {show(said)})")
        self.blamed = blamed
        try:
            same(actual[1], expected[1], said)
        except LawBroken as error:
            raise LawBroken(error.said, law=law) from None
        raise LawBroken(f"{said}: the answer changed while it was looked at", law=law)

    # ---- what the judges keep -------------------------------------------------------

    @property
    def now(self) -> int:
        """Number of the step that is being played."""
        return len(self.steps) - 1

    def touch(self, run_id: str, kind: str) -> None:
        """Note what happens to a run in this step."""
        self.touched[run_id] = Touch(kind, self.now, len(self.model.log(run_id)))

    def name_of(self, append: Append) -> str:
        """The name that the program gave an append."""
        return self._made[id(append)]

    def show_log(self, run_id: str) -> str:
        """The expression of a run's whole log."""
        run = self.model.runs.get(run_id)
        parts = [f"*{self.name_of(append)}.events" for append in run.appends] if run else []
        return f"[{', '.join(parts)}]"

    def show_record(self, run_id: str) -> str:
        """The expression of a run's record."""
        run = self.model.runs.get(run_id)
        return f"{self.name_of(run.appends[-1])}.record" if run else "None"

    def needs(self, name: str) -> bool:
        """Whether the text of the program must give a value this name."""
        return bool(name) and (self.named is None or name in self.named)

    def check_playable(self, append: Append) -> None:
        """Refuse a new append of whom the caller is wrong.

        Raises:
            Unplayable: its record is not that of the log, or it takes a lease with an old token.
        """
        run = self.model.runs.get(append.run_id)
        record = evolve(run.record if run else None, append.events, incarnation=append.incarnation)
        if record != append.record:
            raise Unplayable("the record is not the log's")
        change = append.lease
        if change is not None and (run is None or run.lease is None) and change.token in self.tokens:
            raise Unplayable("an old token")
