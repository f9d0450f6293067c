"""Runs random programs, and turns those that break laws into short ones to read."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import hypothesis
from hypothesis import HealthCheck, Phase, Verbosity, configuration
from hypothesis.stateful import run_state_machine_as_test

from ..broken import LawBroken
from .rules import Programs
from .steps import Step
from .trimming import Trimmer
from .writing import write_machine_program

if TYPE_CHECKING:
    from ..profiles import Profile
    from ..runner import Look
    from ..subject import Subject

LAWS_OF_PROGRAMS = frozenset(
    {1, 2, 3, 4, 5, 6, 7, 9, 11, 12, 13, 14, 16, 19, 21, 22, 23, 24, 25, 26, 27, 28, 30, 32}
    | {34, 35, 36, 37, 53, 56, 58}
)
"""The laws that random programs can find broken."""


def run_programs(
    subject: Subject,
    how: Profile,
    seed: int,
    seen: Look,
    laws: frozenset[int] | None = None,
    *,
    shrink: bool = True,
) -> tuple[int, list[LawBroken]]:
    """Run random programs.

    Hypothesis only thinks them up. A broken law ends its program and not the run, so that one
    broken law does not hide another; then each failure is cut down on the steps themselves,
    which keeps it at its law and needs far fewer runs than shrinking the choices.

    Args:
        subject: on what.
        how: how many and how long.
        seed: makes the choices.
        seen: what the backend is.
        laws: if none of these can be found broken here, nothing is run; None for all laws.
        shrink: make the failing programs easy to read, too.

    Returns:
        How many programs were run, and one failure for each law that they broke.
    """
    if laws is not None and not laws & LAWS_OF_PROGRAMS:
        return 0, []
    found: dict[int, tuple[list[Step], LawBroken]] = {}
    count = 0

    def note(steps: list[Step], error: LawBroken) -> None:
        law = error.law or 53
        if law not in found or len(steps) < len(found[law][0]):
            found[law] = list(steps), error

    def machine() -> Programs:
        nonlocal count
        count += 1
        return Programs(subject, how, note)

    with _home(subject.folder / "hypothesis"):
        _explore(machine, how, seed)
    about = f"{seen.about} · profile {how.name} · seed {seed}"
    broken: dict[int, LawBroken] = {}
    trimmer = Trimmer(subject, how)
    for law, (steps, error) in sorted(found.items()):
        failure = trimmer.play(steps)
        if failure is None:  # it does not fail every time: say what was seen
            broken.setdefault(law, error)
            continue
        failure = trimmer.cut(trimmer.attribute(failure))
        if failure.law in broken:
            continue
        if shrink:
            failure = trimmer.simplify(failure)
            if failure.law in broken:
                continue
        program = write_machine_program(failure, subject, how.name, about)
        broken[failure.law] = LawBroken(failure.said, law=failure.law, program=program)
    return count, [broken[law] for law in sorted(broken)]


_homes: list[Path | None] = []
"""Where Hypothesis wrote before any run here, and the folders of the runs that are under way."""
_homes_lock = threading.Lock()


@contextmanager
def _home(folder: Path) -> Iterator[None]:
    """Let Hypothesis write what it keeps to `folder`, and not to the current one.

    It has one place a process. While runs in other threads go on, that is the folder of one of
    them, and it is what it was before when the last one has ended.
    """
    with _homes_lock:
        if not _homes:
            _homes.append(getattr(configuration, "__hypothesis_home_directory", None))
        _homes.append(folder)
        configuration.set_hypothesis_home_dir(folder)
    try:
        yield
    finally:
        with _homes_lock:
            _homes.remove(folder)
            configuration.set_hypothesis_home_dir(_homes[-1])
            if len(_homes) == 1:
                _homes.clear()


def _explore(machine: Callable[[], Programs], how: Profile, seed: int) -> None:
    run_state_machine_as_test(
        cast("Any", hypothesis.seed(seed)(machine)),  # it takes any function that makes a machine
        settings=hypothesis.settings(
            max_examples=how.examples,
            stateful_step_count=how.steps,
            phases=[Phase.generate],
            database=None,
            deadline=None,
            derandomize=False,
            print_blob=False,
            verbosity=Verbosity.quiet,
            suppress_health_check=list(HealthCheck),
        ),
    )
