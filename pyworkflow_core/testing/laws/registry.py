"""Where the checks of the laws are registered."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from msgspec import Struct

from .table import LAWS

if TYPE_CHECKING:
    from ..place import Place

Prove = Callable[["Place"], Awaitable[None]]

_checks: list[Check] = []


class Check(Struct, frozen=True):
    """One directed test of one law.

    Attributes:
        law: the law's number.
        name: the function's name, a sentence.
        prove: the test.
        needs: capabilities, beyond the law's own, without which the check does not apply:
            names of boolean `Capabilities`, or ``caller_clock`` where a check sets the time,
            ``server_clock`` where it waits for it.
        seconds: how long it may take before it counts as hanging.
        absent: whether the check is made where the law's capability is *not* declared, and shows
            that it is not there either.
    """

    law: int
    name: str
    prove: Prove
    needs: tuple[str, ...] = ()
    seconds: float = 60.0
    absent: bool = False


def proves(
    law: int, *, needs: tuple[str, ...] = (), seconds: float = 60.0, absent: bool = False
) -> Callable[[Prove], Prove]:
    """Register a function as a check of `law`; see `Check`."""
    if law not in LAWS:
        raise ValueError(f"there is no law {law}")

    def register(prove: Prove) -> Prove:
        _checks.append(Check(law, prove.__name__, prove, needs, seconds, absent))
        return prove

    return register


def all_checks() -> list[Check]:
    """Every check, by the number of its law."""
    from . import load_all

    load_all()
    return sorted(_checks, key=lambda check: check.law)
