"""The conformance suite: whether a storage backend obeys the laws.

In pytest, one import and one subclass::

    from contextlib import asynccontextmanager
    from pyworkflow_core.testing import BackendConformance

    class TestMyBackend(BackendConformance):
        @asynccontextmanager
        async def open(self, namespace, clock):
            async with MyBackend(self.folder / namespace) as store:
                yield store

As a function: ``report = await check("mine:///tmp/{namespace}")``. From a shell:
``pyworkflow conformance URL``. Needs the extra ``testing``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

try:
    import hypothesis as _hypothesis  # noqa: F401
except ImportError as error:  # pragma: no cover - the packaging session meets it
    raise ImportError(
        "the conformance suite needs Hypothesis; install it: pip install 'pyworkflow-core[testing]'"
    ) from error

from .broken import LawBroken, NotChecked, holds, raises, same
from .child import load_subject
from .clock import Clock
from .laws.table import LAWS, Law
from .place import Place
from .profiles import PROFILES, Profile
from .report import Report, Verdict
from .runner import check, prove, run
from .subject import Files, KnownFailure, Subject, UrlSubject, known_failure

if TYPE_CHECKING:
    from .suite import BackendConformance

__all__ = [
    "LAWS",
    "PROFILES",
    "BackendConformance",
    "Clock",
    "Files",
    "KnownFailure",
    "Law",
    "LawBroken",
    "NotChecked",
    "Place",
    "Profile",
    "Report",
    "Subject",
    "UrlSubject",
    "Verdict",
    "check",
    "holds",
    "known_failure",
    "load_subject",
    "prove",
    "raises",
    "run",
    "same",
]


def __getattr__(name: str) -> Any:
    if name == "BackendConformance":  # the one part that needs pytest
        from .suite import BackendConformance

        return BackendConformance
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
