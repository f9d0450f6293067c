"""Versions of a workflow: several definitions of one name, and which of them a run belongs to."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TypeVar

from pyworkflow_core.errors import ConfigurationError

from .errors import WorkflowNotRegisteredError

T = TypeVar("T")

_NUMBER = re.compile(r"(\d+)")


def version_text(version: object, what: str) -> str | None:
    """A version as it is recorded: text, or None for a definition without one.

    Raises:
        ConfigurationError: it is neither text nor a whole number.
    """
    if version is None:
        return None
    if isinstance(version, int) and not isinstance(version, bool):
        return str(version)
    if isinstance(version, str) and version:
        return version
    raise ConfigurationError(f"{what}: version is a text such as '2', or a whole number, not {version!r}")


def newest(versions: Iterable[str | None]) -> str | None:
    """The newest version: numbers in them count by their value, and one without a version is oldest."""
    return max(versions, key=_order)


def _order(version: str | None) -> list[tuple[int, str]]:
    if version is None:
        return []
    parts = _NUMBER.split(version)
    return [(int(part), "") if odd % 2 else (0, part) for odd, part in enumerate(parts)]


def missing_version(
    name: str, version: str | None, there: Mapping[str | None, T]
) -> WorkflowNotRegisteredError:
    """The error for a run whose version of the workflow this process does not have."""
    wanted = "without a version" if version is None else f"of version {version!r}"
    have = ", ".join("one without a version" if v is None else repr(v) for v in sorted(there, key=_order))
    return WorkflowNotRegisteredError(
        f"workflow {name!r} {wanted} is not defined in this process, which has {have}. A run keeps the "
        "version that it started on: keep that definition beside the new one until no run needs it."
    )
