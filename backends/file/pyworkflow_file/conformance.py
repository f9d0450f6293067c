"""How the conformance suite reaches the file backend."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from pyworkflow_core.storage import StorageBackend
from pyworkflow_core.testing import Clock, Files, UrlSubject

from .options import parse_url

GOLDEN = Path(__file__).with_name("golden")
DERIVED = ("lock", "index.sqlite*")


class FileSubject(UrlSubject):
    """Namespaces are folders.

    What was there when the subject was made stays, even if it is empty: the folder in which
    another run of the suite was at work at that moment is left to that run.

    Args:
        template: ``file:///folder?options``. Each namespace is a folder in it, or lies where
            the URL says ``{namespace}``.
    """

    def __init__(self, template: str) -> None:
        if "{namespace}" not in template:
            path, mark, options = template.partition("?")
            template = f"{path.rstrip('/')}/{{namespace}}{mark}{options}"
        super().__init__(template)
        self._found = _first_that_exists(self._path("x"))

    async def drop(self, namespace: str) -> None:
        """Remove the folder, and those above it that were made for it and are empty."""
        path = self._path(namespace)
        shutil.rmtree(path, ignore_errors=True)
        with contextlib.suppress(OSError):
            while (path := path.parent) != self._found and path.is_relative_to(self._found):
                path.rmdir()

    def files(self, namespace: str) -> Files:
        """The journal, and what is derived from it."""
        return Files(self._path(namespace), "journal-*.jsonl", DERIVED)

    @asynccontextmanager
    async def open_golden(self, namespace: str, clock: Clock) -> AsyncIterator[StorageBackend]:
        """A handle on a copy of the store that the first version wrote."""
        shutil.copytree(GOLDEN / "format-1", self._path(namespace))
        async with self.open(namespace, clock) as store:
            yield store

    def _path(self, namespace: str) -> Path:
        return Path(os.path.abspath(parse_url(self.url(namespace))[0]))


def _first_that_exists(path: Path) -> Path:
    return path if path.exists() else _first_that_exists(path.parent)
