"""A subject in another process of a run: made anew there, with the folder that it has here."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest

from pyworkflow_core.testing import Subject
from pyworkflow_core.testing.child import describe_subject, make_subject


class AsksForItsFolderAtOnce(Subject):
    """Works out a path while it is made, as a store of files may."""

    def __init__(self, template: str = "") -> None:
        self.template = template
        self.place = self.folder / "place"


def opens_handles(namespace: str, clock: Any) -> Any:
    """What an author may give in place of a class."""
    raise NotImplementedError


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_subject_that_asks_for_its_folder_at_once_is_given_that_of_the_run(temporary: Path) -> None:
    here = AsksForItsFolderAtOnce()
    there = make_subject(describe_subject(here))
    assert isinstance(there, AsksForItsFolderAtOnce)
    assert there is not here
    assert there.folder == here.folder
    assert there.place == here.place
    assert list(temporary.iterdir()) == [here.folder]
    here.remove_folder()
    assert list(temporary.iterdir()) == []


def test_a_function_that_opens_handles_has_the_folder_of_the_run(temporary: Path) -> None:
    from pyworkflow_core.testing.subject import subject_of

    here = subject_of(opens_handles)
    assert make_subject(describe_subject(here)).folder == here.folder
    assert list(temporary.iterdir()) == [here.folder]
    here.remove_folder()
