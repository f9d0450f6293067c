"""Cuts a program that breaks a law down to what matters, by running shorter and simpler ones."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence

from msgspec import Struct

from ..broken import LawBroken
from ..place import Place
from ..profiles import Profile
from ..subject import Subject
from .session import Session
from .shortening import is_complete, live, simpler_programs, tidy, without_what_is_blamed
from .steps import Make, Step, Unplayable, names_in

_SECONDS = 60


class Failure(Struct, frozen=True):
    """A program that breaks a law.

    Attributes:
        steps: its steps.
        law: the law.
        said: how.
        lines: the text of its steps.
        handles: the handles that it uses.
        blamed: the step that did it, if it is not the last.
    """

    steps: tuple[Step, ...]
    law: int
    said: str
    lines: tuple[str, ...]
    handles: tuple[str, ...]
    blamed: int | None


class Trimmer:
    """Runs programs on a subject again, each in a namespace of its own."""

    def __init__(self, subject: Subject, how: Profile) -> None:
        self._subject = subject
        self._how = how

    def play(self, steps: Sequence[Step]) -> Failure | None:
        """Play a program; how it breaks a law, or None if it breaks none or cannot be played."""
        steps = live(steps)
        named = frozenset(name for step in steps for name in names_in(step))
        handles = sorted({step.handle for step in steps if not isinstance(step, Make)})

        async def main() -> Failure | None:
            # The handles are closed and the namespace dropped, whatever that says.
            place = Place(self._subject, self._how)
            session = Session(place, named)
            try:
                await session.open(handles)
                for step in steps:
                    await session.take(step)
            except Unplayable:
                return None
            except LawBroken as error:
                played = tuple(session.steps)
                lines = tuple(session.lines)
                return Failure(played, error.law or 53, error.said, lines, tuple(handles), session.blamed)
            finally:
                with contextlib.suppress(Exception):  # the program has said what there is to say
                    await place.__aexit__(None, None, None)
            return None

        with asyncio.Runner() as runner:
            return runner.run(main())

    def attribute(self, failure: Failure) -> Failure:
        """Find the law that is really broken: without the step, or the circumstance, that was blamed."""
        for _ in range(5):
            found = next(
                (
                    f
                    for steps in without_what_is_blamed(failure.steps, failure.law, failure.blamed)
                    if (f := self.play(steps)) is not None
                ),
                None,
            )
            if found is None or found.law == failure.law:
                return failure
            failure = found
        return failure

    def cut(self, failure: Failure) -> Failure:
        """The shortest program that is found to break the same law, or the law that really is broken."""
        while True:
            shorter = self._cut(failure, time.monotonic() + _SECONDS)
            failure = self.attribute(shorter)
            if failure is shorter:
                return failure

    def simplify(self, failure: Failure) -> Failure:
        """The simplest program that is found to break the same law, with names in order."""
        deadline = time.monotonic() + _SECONDS
        while time.monotonic() < deadline:
            simpler = self._cut(self._simplify(failure, deadline), deadline)
            if simpler.steps == failure.steps:
                break
            failure = simpler
        other = self.attribute(failure)
        if other is not failure:  # what is simple may show that it is another law's fault
            return self.simplify(other)
        return self._try(failure, tidy(failure.steps)) or failure

    def _cut(self, failure: Failure, deadline: float) -> Failure:
        size = max(1, len(failure.steps) // 2)
        while True:
            end = len(failure.steps)
            while end > 0 and time.monotonic() < deadline:
                start = max(0, end - size)
                shorter = self._try(failure, (*failure.steps[:start], *failure.steps[end:]))
                failure = shorter or failure
                end = min(start, len(failure.steps))
            if size == 1:
                return failure
            size = max(1, size // 2)

    def _simplify(self, failure: Failure, deadline: float) -> Failure:
        again = True
        while again and time.monotonic() < deadline:
            again = False
            for steps in simpler_programs(failure.steps):
                if (found := self._try(failure, steps)) is not None:
                    failure, again = found, True
                    break
        return failure

    def _try(self, failure: Failure, steps: tuple[Step, ...]) -> Failure | None:
        steps = live(steps)
        if steps == failure.steps or not is_complete(steps):
            return None
        found = self.play(steps)
        return found if found is not None and found.law == failure.law else None
