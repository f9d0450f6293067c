"""Cuts a program that breaks a law down to what matters, by running shorter and simpler ones."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from enum import Enum
from typing import Any

import msgspec
from msgspec import Struct

from ..broken import LawBroken
from ..place import Place
from ..profiles import Profile
from ..subject import Subject
from .session import Session
from .steps import Call, Expr, Make, Ref, Reopen, Step, Unplayable, names_in

_SECONDS = 60
_DRAWN = re.compile(r"[acprt]\d+")
_NUMBERS = (0, 1, 10, 20)
"""Numbers that are easier to read than others."""


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
        steps = _live(steps)
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
                await place.__aexit__(None, None, None)
            return None

        with asyncio.Runner() as runner:
            return runner.run(main())

    def attribute(self, failure: Failure) -> Failure:
        """Find the law that is really broken: without the step, or the circumstance, that was blamed."""
        for _ in range(5):
            found = next((f for steps in _doubts(failure) if (f := self.play(steps)) is not None), None)
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
        return self._try(failure, _tidy(failure.steps)) or failure

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
            for steps in _simpler(failure.steps):
                if (found := self._try(failure, steps)) is not None:
                    failure, again = found, True
                    break
        return failure

    def _try(self, failure: Failure, steps: tuple[Step, ...]) -> Failure | None:
        steps = _live(steps)
        if steps == failure.steps or not _is_complete(steps):
            return None
        found = self.play(steps)
        return found if found is not None and found.law == failure.law else None


def _live(steps: Sequence[Step]) -> tuple[Step, ...]:
    """The steps without the appends that nothing uses."""
    kept: list[Step] = []
    used: set[str] = set()
    for step in reversed(steps):
        if not isinstance(step, Make) or step.name in used:
            kept.append(step)
            used.update(names_in(step))
    return tuple(reversed(kept))


def _is_complete(steps: Sequence[Step]) -> bool:
    made: set[str] = set()
    for step in steps:
        if any(name not in made for name in names_in(step)):
            return False
        if not isinstance(step, Reopen):
            made.add(step.name)
    return True


def _doubts(failure: Failure) -> Iterator[tuple[Step, ...]]:
    """Programs that should break no law, if the failure is rightly attributed."""
    steps = failure.steps
    if failure.blamed is not None:
        yield (*steps[: failure.blamed], *steps[failure.blamed + 1 :])
    if failure.law == 11:
        yield tuple(_of_last_run(steps))
    if failure.law == 56:
        deletions = [i for i, step in enumerate(steps) if isinstance(step, Call) and step.method == "delete"]
        yield steps[deletions[-1] + 1 :] if deletions else ()
    if failure.law == 7:
        yield tuple(part for step in steps for part in _split(step))
    if failure.law == 19:
        yield _with_one_handle(steps)
    if failure.law == 26:
        yield tuple(_without(step, "queues") for step in steps)


def _of_last_run(steps: Sequence[Step]) -> Iterator[Step]:
    """The steps that are about no other run than the last one is."""
    run_of: dict[str, str] = {}
    for step in steps:
        if isinstance(step, Make):
            base = next(names_in(step.value), "")
            run_of[step.name] = step.value.args[0] if step.value.function == "created" else run_of[base]
    about = [_runs_of(step, run_of) for step in steps]
    for step, runs in zip(steps, about, strict=True):
        if not runs or runs & about[-1]:
            yield step


def _runs_of(step: Step, run_of: dict[str, str]) -> set[str]:
    if isinstance(step, Call) and step.method == "commit":
        return {run_of[append.name] for append in step.args[0]}
    return {step.args[0]} if isinstance(step, Call) and step.method in _BY_ID else set()


def _split(step: Step) -> Iterator[Step]:
    if isinstance(step, Call) and step.method == "commit":
        for append in step.args[0]:
            yield msgspec.structs.replace(step, args=([append],))
    else:
        yield step


def _with_one_handle(steps: Sequence[Step]) -> tuple[Step, ...]:
    return tuple(s if isinstance(s, Make) else msgspec.structs.replace(s, handle="h1") for s in steps)


def _without(step: Step, option: str) -> Step:
    if isinstance(step, Call) and option in step.options:
        options = {key: value for key, value in step.options.items() if key != option}
        return msgspec.structs.replace(step, options=options)
    return step


def _simpler(steps: tuple[Step, ...]) -> Iterator[tuple[Step, ...]]:
    """Programs that are a little simpler than `steps`, the greatest steps first."""
    yield _with_one_handle(steps)
    yield _renamed(steps, {"h3": "h2"})
    ids = list(dict.fromkeys(_run_ids(steps)))
    plain = dict(zip(ids, "abcdefgh", strict=False))
    if plain != {name: name for name in ids}:
        yield tuple(_map_ids(step, plain) for step in steps)
    for step in steps:
        if isinstance(step, Make) and step.value.args and isinstance(step.value.args[0], Ref):
            yield _without_append(steps, step)
    for index, step in enumerate(steps):
        for simpler in _simpler_step(step):
            yield (*steps[:index], simpler, *steps[index + 1 :])


def _without_append(steps: Sequence[Step], gone: Make) -> tuple[Step, ...]:
    """The steps without one append: what came behind it comes behind the one before."""
    kept: list[Step] = []
    for step in steps:
        if isinstance(step, Call) and step.method == "commit":
            appends = [append for append in step.args[0] if append.name != gone.name]
            if appends:
                kept.append(msgspec.structs.replace(step, args=(appends,)))
        elif isinstance(step, Make):
            value = _replaced(step.value, Ref(gone.name, None, "record"), gone.value.args[0])
            kept.append(msgspec.structs.replace(step, value=value))
        else:
            kept.append(step)
    return tuple(kept)


def _replaced(value: Expr, old: Ref, new: Any) -> Expr:
    args = tuple(
        new if part == old else _replaced(part, old, new) if isinstance(part, Expr) else part
        for part in value.args
    )
    return msgspec.structs.replace(value, args=args)


def _renamed(steps: Sequence[Step], handles: dict[str, str]) -> tuple[Step, ...]:
    return tuple(
        s if isinstance(s, Make) else msgspec.structs.replace(s, handle=handles.get(s.handle, s.handle))
        for s in steps
    )


def _simpler_step(step: Step) -> Iterator[Step]:
    if isinstance(step, Make):
        for value in _simpler_value(step.value):
            yield msgspec.structs.replace(step, value=value)
    elif isinstance(step, Call):
        if step.method == "commit":
            appends = step.args[0]
            for index in range(len(appends) if len(appends) > 1 else 0):
                yield msgspec.structs.replace(step, args=([*appends[:index], *appends[index + 1 :]],))
            return
        if step.handle != "h1":
            yield msgspec.structs.replace(step, handle="h1")
        for options in _simpler_options(step.options, keep=("owner", "now", "lease", "expected", "after")):
            yield msgspec.structs.replace(step, options=options)
        for index, part in enumerate(step.args):
            for simpler in _simpler_value(part):
                yield msgspec.structs.replace(
                    step, args=(*step.args[:index], simpler, *step.args[index + 1 :])
                )


def _simpler_value(value: Any) -> Iterator[Any]:
    if isinstance(value, Expr):
        if value.function == "after" and len(value.args) > 1:
            yield msgspec.structs.replace(value, args=value.args[:-1])
        if value.function in ("suspended", "resumed", "completed"):
            yield Expr("after", value.args[:1], {k: v for k, v in value.options.items() if k == "prefix"})
        for options in _simpler_options(value.options):
            yield msgspec.structs.replace(value, options=options)
        for index, part in enumerate(value.args):
            for simpler in _simpler_value(part):
                args = (*value.args[:index], simpler, *value.args[index + 1 :])
                yield msgspec.structs.replace(value, args=args)
    elif type(value) is int:
        yield from (n for n in _NUMBERS if n < value)


def _simpler_options(options: dict[str, Any], keep: tuple[str, ...] = ()) -> Iterator[dict[str, Any]]:
    for key, value in options.items():
        if key not in keep:
            yield {k: v for k, v in options.items() if k != key}
        for simpler in _simpler_value(value):
            if simpler or key not in ("lease", "limit"):
                yield {**options, key: simpler}


def _tidy(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """The steps with names that count from 1: of appends, claims and pages, of rivals' events, of tokens."""
    counts: Counter[str] = Counter()
    names: dict[str, str] = {}
    for name in _drawn(steps):
        if name not in names:
            counts[name[0]] += 1
            names[name] = f"{name[0]}{counts[name[0]]}"
    return tuple(_rename(step, names) for step in steps)


def _drawn(value: Any) -> Iterator[str]:
    """The names that an author drew, in the order of their use."""
    if isinstance(value, str) and _DRAWN.fullmatch(value):
        yield value
    elif isinstance(value, Struct):
        yield from _drawn([getattr(value, name) for name in value.__struct_fields__])
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _drawn(part)
    elif isinstance(value, dict):
        yield from _drawn(list(value.values()))


def _rename(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, str) and not isinstance(value, Enum):
        return names.get(value, value)
    if isinstance(value, Struct):
        fields = {name: _rename(getattr(value, name), names) for name in value.__struct_fields__}
        return type(value)(**fields)
    if isinstance(value, list | tuple):
        return type(value)(_rename(part, names) for part in value)
    if isinstance(value, dict):
        return {key: _rename(part, names) for key, part in value.items()}
    return value


def _run_ids(steps: Sequence[Step]) -> Iterator[str]:
    for step in steps:
        value = step.value if isinstance(step, Make) else step
        if isinstance(value, Reopen):
            continue
        named = value.function == "created" if isinstance(value, Expr) else value.method in _BY_ID
        if named and isinstance(value.args[0], str):
            yield value.args[0]


_BY_ID = ("read", "get", "delete")


def _map_ids(value: Any, ids: dict[str, str]) -> Any:
    """The value with other run ids; the ids of the programs are nothing else than run ids."""
    if isinstance(value, Ref):
        return msgspec.structs.replace(value, item=ids.get(value.item or "", value.item))
    if isinstance(value, Expr | Call):
        args = tuple(_map_ids(part, ids) for part in value.args)
        options = {k: _map_ids(v, ids) if k in ("run_id", "lease") else v for k, v in value.options.items()}
        return msgspec.structs.replace(value, args=args, options=options)
    if isinstance(value, Make):
        return msgspec.structs.replace(value, value=_map_ids(value.value, ids))
    if isinstance(value, str):
        return ids.get(value, value)
    if isinstance(value, list | tuple):
        return type(value)(_map_ids(part, ids) for part in value)
    return value
