"""Figures of the benchmarks have one shape, and verdicts follow from the bars."""

from __future__ import annotations

import importlib.util
import json
import sys
import types
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def frame(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """The scripts' frame, which is no part of a package."""
    spec = importlib.util.spec_from_file_location("bench_frame", ROOT / "benchmarks/frame.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "bench_frame", module)  # where dataclasses look
    spec.loader.exec_module(module)
    return module


def test_the_ratio_is_that_of_each_round_and_decides_over_the_floor(frame: types.ModuleType) -> None:
    bar = frame.Bar(2, 2.0, over_floor=True)
    # The second round was a slow one for both; the ratio of the medians would be 3.
    figure = frame.show("a step", [3, 300, 6], "µs", bar=bar, floor=[2, 200, 2], durable="yes", store="x")
    assert (figure["median"], figure["spread"], figure["rounds"]) == (6.0, [3.0, 300.0], 3)
    assert (figure["ratio"], figure["ratio_spread"]) == (1.5, [1.5, 3.0])
    assert (figure["limit"], figure["verdict"]) == ("≤ 2 x floor", "met")
    assert figure["durable"] == "yes"


@pytest.mark.parametrize(
    ("values", "least", "verdict"),
    [
        ([29, 31, 33], False, "MISSED"),
        ([29, 28, 99], False, "met"),
        ([29], True, "MISSED"),
        ([30], True, "met"),
    ],
)
def test_a_bar_without_a_floor_is_compared_with_the_median(
    frame: types.ModuleType, values: list[float], least: bool, verdict: str
) -> None:
    assert frame.show("it", values, "µs", bar=frame.Bar(5, 30, least=least))["verdict"] == verdict


def test_a_floor_of_other_rounds_is_refused(frame: types.ModuleType) -> None:
    with pytest.raises(ValueError, match="zip"):
        frame.show("it", [1, 2, 3], "µs", floor=[1, 2])


def test_samples_become_medians_of_consecutive_parts(frame: types.ModuleType) -> None:
    assert frame.by_rounds([1, 1, 9, 2, 2, 2, 3, 3, 3, 4, 4, 4, 5, 5, 5, 6]) == [1, 2, 3, 4, 5]
    assert frame.by_rounds([7, 8]) == [7, 8]


def test_a_report_has_the_figures_with_the_machine_and_the_servers(
    frame: types.ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "new/report.json"
    monkeypatch.setattr(sys, "argv", ["step.py", "--json", str(path)])
    with frame.kept(frame.parser("What it does.")) as given:
        assert given.json == path
        frame.note_server("redis", "8.0")
        frame.show("a step", 1.23456, "µs")
        frame.say_missing("another", "no time")
    report = json.loads(path.read_text(encoding="utf-8"))
    assert report["script"] == "step"
    assert report["machine"]["servers"] == {"redis": "8.0"}
    assert {"date", "cpu", "cores", "os", "kernel", "python", "medium", "load_before"} <= set(
        report["machine"]
    )
    assert report["machine"]["drivers"]["msgspec"]
    assert [figure["what"] for figure in report["figures"]] == ["a step", "another"]
    assert report["figures"][0]["median"] == 1.235
    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert printed == report["figures"]
