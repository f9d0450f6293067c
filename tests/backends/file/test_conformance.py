"""The file backend obeys the laws."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

import pytest

from pyworkflow_core.storage import StorageBackend
from pyworkflow_core.testing import BackendConformance, Clock, Files
from pyworkflow_file.conformance import FileSubject


class TestFile(BackendConformance):
    """Every law, on stores with the options that most have."""

    options = ""

    @property
    def _file(self) -> FileSubject:
        return FileSubject(f"file://{self.folder}{self.options}")

    def open(self, namespace: str, clock: Clock) -> AbstractAsyncContextManager[StorageBackend]:
        return self._file.open(namespace, clock)

    def url(self, namespace: str) -> str:
        return self._file.url(namespace)

    def files(self, namespace: str) -> Files:
        return self._file.files(namespace)

    async def drop(self, namespace: str) -> None:
        await self._file.drop(namespace)

    def open_golden(self, namespace: str, clock: Clock) -> AbstractAsyncContextManager[StorageBackend]:
        return self._file.open_golden(namespace, clock)


@pytest.mark.forms
class TestFileOfSmallParts(TestFile):
    """Every law, with every corner in every test: tiny segments, an index always caught up, no cache."""

    options = "?segment_bytes=600&catch_up_lines=2&heads=1"
