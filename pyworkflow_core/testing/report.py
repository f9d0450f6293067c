"""What a run of the suite found: for people, for machines, and as a badge."""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable

import msgspec
from msgspec import Struct

from ..storage import Capabilities
from .laws.table import LAWS, PARTS


class Verdict(enum.StrEnum):
    """What was found of one law."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"
    """It is declared, but could not be checked here. That is not passed."""
    UNDECLARED = "undeclared"
    """It is about a capability that the backend does not declare."""


class Broken(Struct, frozen=True):
    """One way in which a law was broken.

    Attributes:
        check: name of the check.
        said: what happened.
        program: a program that shows it.
    """

    check: str
    said: str
    program: str = ""


class LawResult(Struct, frozen=True, kw_only=True):
    """What was found of one law.

    Attributes:
        law: the law's number.
        verdict: what was found.
        checks: how many checks were made.
        broken: how it was broken.
        reason: why it was not checked.
        known: why it is known to be broken; empty if it is not.
    """

    law: int
    verdict: Verdict
    checks: int = 0
    broken: tuple[Broken, ...] = ()
    reason: str = ""
    known: str = ""


class Report(Struct, frozen=True, kw_only=True):
    """What a run of the suite found.

    Attributes:
        backend: the class of the backend's handles.
        versions: of the backend's distribution, pyworkflow-core, Python and Hypothesis, by name.
        target: the storage URL, without secrets, or the subject.
        profile: how thoroughly was looked.
        seed: what the choices were made from.
        capabilities: what the backend says of itself.
        programs: random programs that were run.
        seconds: how long it took.
        results: one for each law that was asked for, by number.
        stale: laws that are said to be broken and are not.
        problem: why nothing could be run; empty if something was.
    """

    backend: str
    versions: dict[str, str]
    target: str
    profile: str
    seed: int
    capabilities: Capabilities = Capabilities()
    programs: int = 0
    seconds: float = 0.0
    results: tuple[LawResult, ...] = ()
    stale: tuple[int, ...] = ()
    problem: str = ""

    @property
    def declared(self) -> int:
        """Laws that the backend has to obey."""
        return sum(result.verdict is not Verdict.UNDECLARED for result in self.results)

    @property
    def passed(self) -> int:
        """Laws that it was seen to obey."""
        return _count(self.results, Verdict.PASSED)

    @property
    def failed(self) -> tuple[LawResult, ...]:
        """Laws that it breaks."""
        return tuple(result for result in self.results if result.verdict is Verdict.FAILED)

    @property
    def skipped(self) -> tuple[LawResult, ...]:
        """Laws that it has to obey and that were not checked."""
        return tuple(result for result in self.results if result.verdict is Verdict.SKIPPED)

    @property
    def ran(self) -> bool:
        """Whether anything was checked at all."""
        return any(result.checks for result in self.results)

    @property
    def score(self) -> str:
        """Passed of declared, as ``1.0`` only if all of them; ``NONE`` if nothing was checked."""
        if not self.ran or not self.declared:
            return "NONE"
        if self.passed == self.declared:
            return "1.0"
        return f"{math.floor(100 * self.passed / self.declared) / 100:.2f}"

    @property
    def exit_status(self) -> int:
        """0: all that is declared holds. 1: a law is broken, or nothing ran. 3: one was not checked.

        5: the storage cannot be reached.
        """
        if self.problem:
            return 5
        if self.failed or self.stale or not self.ran:
            return 1
        return 3 if self.skipped else 0

    @property
    def line(self) -> str:
        """The whole report in one line, with the same parts for every backend."""
        parts = [f"{part} {_fraction(self.results, part)}" for part in PARTS]
        known = sum(bool(result.known) for result in self.results)
        parts += [f"known failures {known}", f"suite {self.score}", f"seed {self.seed}"]
        return " · ".join(parts)

    def to_json(self) -> bytes:
        """The report as indented JSON."""
        summary = {"score": self.score, "line": self.line}
        fields = {**msgspec.to_builtins(self), **summary}
        return msgspec.json.format(msgspec.json.encode(fields), indent=2) + b"\n"

    def to_badge(self) -> bytes:
        """A badge in the format of an endpoint of shields.io."""
        color = {0: "brightgreen", 3: "yellow"}.get(self.exit_status, "red")
        message = self.score if self.score == "NONE" else f"{self.passed}/{self.declared} laws"
        badge = {"schemaVersion": 1, "label": "conformance", "message": message, "color": color}
        return msgspec.json.format(msgspec.json.encode(badge), indent=2) + b"\n"


def read_report(data: bytes) -> Report:
    """The report that `Report.to_json` wrote.

    Raises:
        ValueError: it is something else.
    """
    return msgspec.json.decode(data, type=Report)


def merge_into(result: LawResult, broken: Iterable[Broken]) -> LawResult:
    """The result with further ways in which its law was broken."""
    more = tuple(broken)
    if not more:
        return result
    return msgspec.structs.replace(result, verdict=Verdict.FAILED, broken=result.broken + more)


def _count(results: Iterable[LawResult], verdict: Verdict) -> int:
    return sum(result.verdict is verdict for result in results)


def _fraction(results: Iterable[LawResult], part: str) -> str:
    of_part = [result for result in results if LAWS[result.law].part == part]
    declared = sum(result.verdict is not Verdict.UNDECLARED for result in of_part)
    return f"{_count(of_part, Verdict.PASSED)}/{declared}" if declared else "-"
