"""Histories recorded on other Pythons and by earlier code replay to the same end, or say why not."""

from __future__ import annotations

import pathlib
import re
import sys
from typing import Any

import msgspec
import pytest

from pyworkflow_core.errors import NonDeterminismError

HERE = pathlib.Path(__file__).parent
GOLDEN = HERE.parents[1] / "golden"
sys.path[:0] = [str(HERE), str(GOLDEN)]
from golden_programs import PROGRAMS  # noqa: E402
from recording import Recording, replay  # noqa: E402

del sys.path[:2]

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
FILES = sorted(GOLDEN.glob("histories-*.jsonl"))


def read(path: pathlib.Path) -> list[tuple[str, Recording]]:
    found = []
    for line in path.read_bytes().splitlines():
        data: dict[str, Any] = msgspec.json.decode(line)
        found.append((data["program"], Recording(data["bodies"], data["effects"], data["outcome"])))
    return found


def plain(recording: Recording, *, same_python: bool) -> Any:
    text = msgspec.json.encode([recording.effects, recording.outcome]).decode()
    if same_python:
        return text
    # In 3.11 wait_for awaits in a task of its own, which a request reaches as a plain cancellation.
    return re.sub(r"Cancel(?:lation|led)Error(?:\('[^']*'\))?", "CancelledError", text)


def test_there_are_golden_histories_of_every_supported_python() -> None:
    assert [path.stem.removeprefix("histories-") for path in FILES] == ["3.11", "3.12", "3.13"]
    assert all({name for name, _ in read(path)} == set(PROGRAMS) for path in FILES)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_golden_history_ends_as_it_was_recorded_or_names_the_other_python(path: pathlib.Path) -> None:
    recorded_on = path.stem.removeprefix("histories-")
    differing = 0
    for name, recording in read(path):
        for one_by_one in (False, True):
            try:
                replayed = replay(PROGRAMS[name], recording, one_by_one=one_by_one)
            except NonDeterminismError as error:
                assert recorded_on != PYTHON, f"{name}: {error}"  # noqa: PT017
                assert f"recorded on Python {recorded_on} and this is {PYTHON}" in str(error)  # noqa: PT017
                differing += 1
            else:
                same = recorded_on == PYTHON
                assert plain(replayed, same_python=same) == plain(recording, same_python=same), name
    assert differing <= 0.2 * 2 * len(read(path)), "so many differences are not those of wait_for"
