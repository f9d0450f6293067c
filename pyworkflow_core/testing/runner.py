"""Runs the checks on a subject and makes a report of what they found."""

from __future__ import annotations

import asyncio
import importlib.metadata
import secrets
import time
from collections.abc import Callable, Iterable
from random import Random
from typing import Any

import msgspec
from msgspec import Struct

from ..errors import StorageUnavailable
from ..plugins import redact
from ..storage import Capabilities, StorageBackend
from .broken import LawBroken, NotChecked
from .laws.registry import Check, Prove, all_checks
from .laws.table import LAWS
from .place import Place
from .profiles import PROFILES, Profile
from .program import about_python, headline, program_of_check
from .report import Broken, LawResult, Report, Verdict, merge_into
from .subject import Factory, Subject, UrlSubject, subject_of

Progress = Callable[[str], None]


class Look(Struct, frozen=True):
    """A first look at a backend: what it is and what it says of itself.

    Attributes:
        backend: the class of its handles.
        capabilities: what it declares.
        versions: of its distribution, pyworkflow-core, Python and Hypothesis.
    """

    backend: str
    capabilities: Capabilities
    versions: dict[str, str]

    @property
    def about(self) -> str:
        """Names and versions in one line."""
        return f"{self.backend} · " + " · ".join(f"{name} {v}" for name, v in self.versions.items())


async def check(
    target: str | Subject | Factory,
    *,
    profile: str = "default",
    seed: int | None = None,
    laws: Iterable[int] | None = None,
    progress: Progress | None = None,
) -> Report:
    """Look whether a backend obeys the laws.

    Args:
        target: a storage URL with ``{namespace}`` in it, a `Subject`, or a function of a
            namespace and a clock that returns an async context manager of a handle.
        profile: how thoroughly: ``quick``, ``default``, ``ci`` or ``nightly``.
        seed: repeats the choices of an earlier run.
        laws: only these.
        progress: called with a line about each law.

    Raises:
        ConfigurationError: the URL names no namespace, or no backend.
    """
    return await asyncio.to_thread(run, target, profile=profile, seed=seed, laws=laws, progress=progress)


def run(
    target: str | Subject | Factory,
    *,
    profile: str = "default",
    seed: int | None = None,
    laws: Iterable[int] | None = None,
    progress: Progress | None = None,
) -> Report:
    """As `check`, for code that is not async; it makes event loops of its own."""
    subject = subject_of(target)
    how = PROFILES[profile]
    if how.same:
        seed = 0
    number = secrets.randbelow(2**32) if seed is None else seed
    try:
        return _run(subject, how, number, laws, progress or (lambda line: None))
    finally:
        subject.remove_folder()


def _run(subject: Subject, how: Profile, seed: int, laws: Iterable[int] | None, progress: Progress) -> Report:
    began = time.monotonic()
    wanted = sorted(LAWS if laws is None else set(laws))
    name = redact(subject.template) if isinstance(subject, UrlSubject) else type(subject).__name__
    try:
        seen = look_at(subject)
    except StorageUnavailable as error:
        versions = {"Python": about_python()}
        return Report(
            backend=subject.name or type(subject).__name__,
            versions=versions,
            target=name,
            profile=how.name,
            seed=seed,
            results=tuple(LawResult(law=law, verdict=Verdict.SKIPPED, reason=str(error)) for law in wanted),
            problem=f"the storage cannot be reached: {error}",
        )
    from .machine import run_programs

    found: dict[int, LawResult] = {}
    for law in wanted:
        of_law = [c for c in all_checks() if c.law == law]
        found[law] = _look_at_law(subject, how, seed, law, of_law, seen)
        progress(describe(found[law]))
    programs, broken = run_programs(
        subject, how, seed, seen, laws=None if laws is None else frozenset(wanted)
    )
    for failure in broken:
        law = failure.law or 53
        if law in found:
            found[law] = merge_into(found[law], [Broken("random programs", failure.said, failure.program)])
            progress(describe(found[law]))
    known = {k.law: f"{k.reason} ({k.issue})" for k in subject.known_failures}
    for law, reason in known.items():
        if law in found and found[law].verdict is Verdict.FAILED:
            found[law] = msgspec.structs.replace(found[law], known=reason)
    stale = tuple(law for law in sorted(known) if law in found and found[law].verdict is Verdict.PASSED)
    return Report(
        backend=seen.backend,
        versions=seen.versions,
        target=name,
        profile=how.name,
        seed=seed,
        capabilities=seen.capabilities,
        programs=programs,
        seconds=round(time.monotonic() - began, 1),
        results=tuple(found[law] for law in wanted),
        stale=stale,
    )


def look_at(subject: Subject) -> Look:
    """Open a handle, and see what the backend is.

    Raises:
        StorageUnavailable: it cannot be reached.
    """

    async def look() -> Look:
        async with Place(subject) as place:
            store = await place.open()
            return Look(subject.name or type(store).__name__, store.capabilities, _versions(store))

    with asyncio.Runner() as runner:
        return runner.run(look())


def applies(check: Check, capabilities: Capabilities) -> bool:
    """Whether the backend declares what the check is about."""
    part = LAWS[check.law].part
    declared = part == "core" or declares(capabilities, "file_medium" if part == "file" else part)
    if check.absent:
        return not declared
    return declared and all(declares(capabilities, need) for need in check.needs)


def declares(capabilities: Capabilities, need: str) -> bool:
    """Whether `capabilities` has what a check needs."""
    if need == "caller_clock":
        return capabilities.clock == "caller"
    if need == "server_clock":
        return capabilities.clock == "server"
    if need == "persists":
        return capabilities.durable or capabilities.file_medium or capabilities.server
    return bool(getattr(capabilities, need))


def _look_at_law(
    subject: Subject, how: Profile, seed: int, law: int, checks: list[Check], seen: Look
) -> LawResult:
    of_law = [check for check in checks if applies(check, seen.capabilities)]
    broken: list[Broken] = []
    reasons: list[str] = []
    for one in of_law:
        try:
            make_check(one, subject, how, seed)
        except NotChecked as error:
            reasons.append(f"{one.name}: {error}")
        except LawBroken as error:
            broken.append(Broken(one.name, error.said, program_of(one, error, subject, how, seed, seen)))
    declared = any(not check.absent for check in of_law)
    verdict = Verdict.PASSED if declared else Verdict.UNDECLARED
    if reasons:
        verdict = Verdict.SKIPPED
    if broken:
        verdict = Verdict.FAILED
    made = len(of_law) - len(reasons)
    return LawResult(law=law, verdict=verdict, checks=made, broken=tuple(broken), reason="; ".join(reasons))


def make_check(check: Check, subject: Subject, how: Profile, seed: int) -> None:
    """Make one check, in an event loop and a namespace of its own.

    Raises:
        LawBroken: the backend breaks the law; also where it raised an exception that the
            check did not expect, or did not answer in time.
        NotChecked: the check cannot be made here.
    """

    async def main() -> None:
        async with Place(subject, how, Random(f"{seed} {check.name}").randrange(2**32)) as place:
            await check.prove(place)

    with asyncio.Runner() as runner:
        try:
            runner.run(asyncio.wait_for(main(), check.seconds))
        except (LawBroken, NotChecked):
            raise
        except TimeoutError as error:
            raise LawBroken(f"no answer within {check.seconds:.0f} s") from error
        except Exception as error:
            raise LawBroken(f"{type(error).__name__} escaped: {error}") from error


def prove(
    function: Prove,
    target: str | Subject | Factory,
    *,
    law: int,
    profile: str = "default",
    seed: int = 0,
) -> None:
    """Make one check, as a printed program does.

    Raises:
        LawBroken: the backend breaks the law.
    """
    subject = subject_of(target)
    one = Check(law, function.__name__, function)
    try:
        make_check(one, subject, PROFILES[profile], seed)
    except LawBroken as error:
        raise LawBroken(headline(law, error.said), law=law) from error
    finally:
        subject.remove_folder()
    print(f"law {law} holds here: {one.name}")


def program_of(check: Check, error: LawBroken, subject: Subject, how: Profile, seed: int, seen: Look) -> str:
    """A program that shows the failure; the reason why there is none if there is none."""
    about = f"{seen.about} · profile {how.name} · seed {seed}"
    try:
        return error.program or program_of_check(
            check.prove, check.law, error.said, subject, how.name, seed, about
        )
    except NotChecked as reason:
        return f"# no program: {reason}\n"


def describe(result: LawResult) -> str:
    """The result in one line."""
    text = f"{result.verdict:<10} {result.law:>2} {LAWS[result.law].sentence}"
    if result.broken:
        return f"{text}: {result.broken[0].said}"
    return f"{text} ({result.reason})" if result.reason else text


def _versions(store: StorageBackend) -> dict[str, str]:
    versions: dict[str, str] = {}
    package = type(store).__module__.partition(".")[0]
    owners: Any = importlib.metadata.packages_distributions().get(package, ())
    for name in [*sorted(set(owners)), "pyworkflow-core", "hypothesis"]:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    versions["Python"] = about_python()
    return versions
