"""Plays a random program as it is thought up: handles, the first broken law, and what moves are made of."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from hypothesis.stateful import RuleBasedStateMachine

from ..broken import LawBroken
from ..place import Place
from ..profiles import Profile
from ..subject import Subject
from .author import Author
from .session import Session
from .steps import Call, Ref, Step, Unplayable

HANDLES = ("h1", "h2", "h3")
Note = Callable[[list[Step], LawBroken], None]


class Play(RuleBasedStateMachine):
    """One random program on a fresh namespace; `rules` says what it may consist of.

    Args:
        subject: on what.
        how: how thoroughly.
        note: is told the steps of a program that broke a law.
    """

    def __init__(self, subject: Subject, how: Profile, note: Note) -> None:
        super().__init__()
        self._note = note
        self._over = False
        self._runner = asyncio.Runner()
        self._place = Place(subject, how)
        self._session = Session(self._place)
        self._author = Author(self._session)
        try:
            self._runner.run(self._session.open(HANDLES))
        except BaseException:
            self.teardown()
            raise

    def _play(self, steps: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Play what a rule does, then look at every run; the first broken law ends the program."""
        if self._over:
            return
        try:
            self._runner.run(steps())
        except Unplayable:
            pass
        except LawBroken as error:
            self._over = True
            self._note(self._session.steps, error)

    def teardown(self) -> None:
        """Compare everything once more, and clean up."""
        if self._session.stores:
            self._play(self._look_at_the_end)
        try:
            self._runner.run(self._place.__aexit__(None, None, None))
        except Exception as error:
            if not self._over:
                said = f"{type(error).__name__} escaped when handles were closed and runs removed: {error}"
                self._note(self._session.steps, LawBroken(said, law=53))
        finally:
            self._over = True
            self._runner.close()

    # ---- what moves are made of ----------------------------------------------------------

    async def _think_up(self, kind: str, run: str, back: int, lease: str) -> Ref | None:
        author = self._author
        if kind == "stale":
            return await author.stale(run, back, lease)
        if kind == "future":
            return await author.future(run, 1 + back, lease)
        if kind == "longer":
            return await author.longer(back)
        if kind == "forged":
            return await author.forged(back)
        return author.earlier(back) if kind == "resent" else await author.good(run, 1, lease)

    async def _commit(self, handle: str, *appends: Ref | None) -> None:
        chosen = [append for append in appends if append is not None]
        if chosen:
            await self._session.take(Call(handle, "commit", (chosen,)))
            await self._look(handle)

    async def _claim(
        self, handle: str, limit: int, queues: tuple[str, ...], only: str | None, units: int
    ) -> None:
        options: dict[str, Any] = {"owner": "x", "now": self._author.now, "lease": self._author.lease(units)}
        if limit != 1 and only is None:
            options["limit"] = limit
        if queues:
            options["queues"] = queues
        if only is not None:
            options["run_id"] = only
        name = self._author.name("c")
        await self._session.take(Call(handle, "claim", (), options, name))
        self._author.note_claims(name)
        await self._look(handle)

    async def _change_lease(self, handle: str, method: str, claim: Ref | None, units: int) -> None:
        if claim is not None:
            args = (claim,) if method == "release" else (claim, self._author.until(units))
            await self._session.take(Call(handle, method, args))
            await self._look(handle)

    async def _delete(self, run: str, handle: str, right: bool) -> None:
        there = self._author.run(run)
        head = (there.head if there else 1) + (not right)
        await self._session.take(Call(handle, "delete", (run,), {"expected": head}))
        await self._look(handle)

    async def _look(self, handle: str) -> None:
        """Look at the runs of the last step in two ways, and at the others' records."""
        session = self._session
        another = HANDLES[(HANDLES.index(handle) + 1) % len(HANDLES)]
        for run_id in sorted({*session.model.runs} | session.recent):
            await session.take(Call(handle, "get", (run_id,)))
            if run_id in session.recent:
                await session.take(Call(handle, "read", (run_id,)))
                await session.take(Call(another, "get", (run_id,)))

    async def _look_at_the_end(self) -> None:
        session = self._session
        for handle in HANDLES:
            for run_id in sorted({*session.model.runs, *session.model.buried}):
                await session.take(Call(handle, "read", (run_id,)))
                await session.take(Call(handle, "get", (run_id,)))
            await session.take(Call(handle, "listed", (), {"limit": 2}))
        if session.stores["h1"].capabilities.feed:
            await session.take(Call("h2", "follow", (), {"limit": 3}, self._author.name("p")))
        await self._claim("h1", 100, (), None, 1)
        if not session.server_clock:
            self._author.now += 1000
            await self._claim("h2", 100, (), None, 1)
