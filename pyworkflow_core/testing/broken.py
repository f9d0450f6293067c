"""What a check raises when a law is broken, and the few words that checks are written in."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

_LONGEST = 2_000


class LawBroken(AssertionError):
    """A backend did what a law forbids.

    Attributes:
        said: what happened, in one sentence.
        law: number of the law, where it is not the one that the check proves.
        program: a program that shows it, where the check made one.
    """

    def __init__(self, said: str, *, law: int | None = None, program: str = "") -> None:
        super().__init__(said)
        self.said = said
        self.law = law
        self.program = program


class NotChecked(Exception):
    """A check could not be made here; says why, and what would make it possible."""


def same(actual: object, expected: object, said: str) -> None:
    """Break the law, saying `said`, unless `actual` equals `expected`, types of the values included.

    Raises:
        LawBroken: they differ.
    """
    if type(actual) is not type(expected) or actual != expected:
        raise LawBroken(f"{said}: got {_show(actual)}, expected {_show(expected)}")


def holds(condition: object, said: str) -> None:
    """Break the law, saying `said`, unless `condition` is true.

    Raises:
        LawBroken: it is false.
    """
    if not condition:
        raise LawBroken(said)


async def raises(
    kind: type[BaseException] | tuple[type[BaseException], ...], call: Awaitable[Any], said: str
) -> BaseException:
    """Await `call` and return the exception of type `kind` that it raises.

    Raises:
        LawBroken: it raised another one, or none.
    """
    names = " or ".join(k.__name__ for k in (kind if isinstance(kind, tuple) else (kind,)))
    try:
        answer = await call
    except kind as error:
        return error
    except Exception as error:
        raise LawBroken(f"{said}: raised {type(error).__name__}: {error}; expected {names}") from error
    raise LawBroken(f"{said}: answered {_show(answer)}; expected {names}")


def _show(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(text)} characters)"
