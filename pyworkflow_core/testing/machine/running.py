"""Runs random programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..broken import LawBroken

if TYPE_CHECKING:
    from ..profiles import Profile
    from ..runner import Look
    from ..subject import Subject


def run_programs(
    subject: Subject, how: Profile, seed: int, seen: Look, laws: frozenset[int] | None = None
) -> tuple[int, list[LawBroken]]:
    """Run random programs; how many there were, and one failure for each law that they broke."""
    return 0, []
