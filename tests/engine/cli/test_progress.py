"""Long work of a storage is shown where a person looks, and nowhere else."""

from __future__ import annotations

import io
import sys
from types import SimpleNamespace

import pytest

from pyworkflow.cli.progress import shown_progress


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_sees_how_far_long_work_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    monkeypatch.setenv("TERM", "xterm")
    storage = SimpleNamespace(on_progress=None)
    with shown_progress(storage):
        storage.on_progress("reading the journal", 10, 100)
        storage.on_progress("reading the journal", 100, 100)
        storage.on_progress("packing", 1, 2)
    assert "reading the journal" in terminal.getvalue()
    assert storage.on_progress is None


def test_without_a_terminal_nobody_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    storage = SimpleNamespace(on_progress=None)
    with shown_progress(storage):
        assert storage.on_progress is None


def test_a_storage_that_says_nothing_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    storage = SimpleNamespace()
    with shown_progress(storage):
        assert not hasattr(storage, "on_progress")
