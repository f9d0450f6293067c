"""`pyworkflow conformance`: whether a storage backend obeys the laws."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .failures import UsageError
from .session import Session

if TYPE_CHECKING:
    from pyworkflow_core.testing import Report


def conformance(
    session: Session,
    url: Annotated[
        str,
        typer.Argument(
            metavar="URL",
            help="The storage. Write {namespace} where each check gets a name of its own, "
            "unless the backend's plugin knows.",
        ),
    ],
    profile: Annotated[
        str, typer.Option(metavar="NAME", help="How thoroughly: quick, default, ci or nightly.")
    ] = "default",
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="Repeat the choices of an earlier run.")
    ] = None,
    law: Annotated[
        list[int] | None, typer.Option(metavar="N", help="Only this law; may be given again.")
    ] = None,
    restart: Annotated[
        str,
        typer.Option(metavar="COMMAND", help="A shell command that kills the server and starts it again."),
    ] = "",
    json: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the report as JSON; '-' for stdout.")
    ] = None,
    badge: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a badge for shields.io, as its endpoint's JSON."),
    ] = None,
) -> int:
    """Look whether a storage backend obeys the laws.

    It works in namespaces of its own, and removes them. Each broken law is shown with a program
    that runs as it stands. The last line is the report.
    """
    try:
        from pyworkflow_core.testing import LAWS, PROFILES, UrlSubject, run
        from pyworkflow_core.testing.subject import subject_of
    except ImportError as error:
        raise UsageError(str(error)) from None
    if profile not in PROFILES:
        raise UsageError(f"there is no profile {profile!r}; there are {', '.join(PROFILES)}")
    if unknown := [number for number in law or () if number not in LAWS]:
        raise UsageError(f"there is no law {unknown[0]}; they are numbered 1 to {max(LAWS)}")
    # A store that is cut and killed complains in its log; that is what it should do.
    logging.basicConfig(level=logging.CRITICAL)
    subject = subject_of(url)
    if isinstance(subject, UrlSubject):
        subject.restart_command = restart
    report = run(subject, profile=profile, seed=seed, laws=law or None, progress=_progress())
    if json is not None and str(json) == "-":
        sys.stdout.write(report.to_json().decode())
    else:
        _show(report)
    if json is not None and str(json) != "-":
        json.write_bytes(report.to_json())
    if badge is not None:
        badge.write_bytes(report.to_badge())
    return report.exit_status


def _progress() -> Callable[[str], None]:
    def show(line: str) -> None:
        if sys.stderr.isatty() or not line.startswith(("passed", "undeclared")):
            print(line, file=sys.stderr)

    return show


def _show(report: Report) -> None:
    from pyworkflow_core.testing.program import headline

    from .render import style

    if report.problem:
        print(style(report.problem, "31"))
    for result in report.failed:
        for broken in result.broken:
            known = f" (known: {result.known})" if result.known else ""
            print(style(f"\n{headline(result.law, broken.said)}{known}", "31"))
            print(f"found by: {broken.check}\n\n{broken.program}")
    for result in report.skipped:
        print(style(f"law {result.law} was not checked: {result.reason}", "33"))
    for law in report.stale:
        print(style(f"law {law} is said to be broken, but it holds: remove it from known_failures", "31"))
    versions = " · ".join(f"{name} {version}" for name, version in report.versions.items())
    programs = f"{report.programs} random programs · {report.seconds:.0f} s"
    print(f"{report.backend} · {versions} · profile {report.profile} · {programs}")
    print(report.line)
