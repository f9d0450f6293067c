"""The page of the backends tells apart what matters from what does not."""

from __future__ import annotations

from pathlib import Path

import backends_page
import pytest
from msgspec.structs import replace

from pyworkflow_core.storage import Capabilities
from pyworkflow_core.testing.report import LawResult, Report, Verdict


def report(*verdicts: Verdict, **fields: object) -> Report:
    results = tuple(LawResult(law=n, verdict=v, checks=1) for n, v in enumerate(verdicts, 1))
    made = Report(backend="B", versions={}, target="b:", profile="ci", seed=1, results=results)
    return replace(made, **fields)


def test_seeds_versions_and_times_make_no_difference() -> None:
    kept = report(Verdict.PASSED, Verdict.FAILED)
    fresh = replace(kept, seed=9, versions={"Python": "4"}, seconds=7.5, profile="nightly")
    assert backends_page.differences(fresh, kept) == []


def test_another_verdict_or_capability_makes_a_difference() -> None:
    kept = report(Verdict.PASSED, Verdict.PASSED)
    assert backends_page.differences(report(Verdict.PASSED, Verdict.FAILED), kept) == [
        "law 2: now failed, kept passed"
    ]
    assert backends_page.differences(report(Verdict.PASSED), kept) == ["law 2: now gone, kept passed"]
    declared = report(Verdict.PASSED, Verdict.PASSED, capabilities=Capabilities(feed=True))
    assert backends_page.differences(declared, kept) == ["the capabilities differ"]


def test_fresh_reports_are_compared_and_kept_on_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(backends_page, "KEPT", tmp_path / "kept")
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    (fresh / "b.json").write_bytes(report(Verdict.PASSED).to_json())
    assert backends_page.main([str(fresh)]) == 1
    assert "it has no report" in capsys.readouterr().out
    assert backends_page.main([str(fresh), "--keep"]) == 0
    assert backends_page.main([str(fresh)]) == 0
    assert "| `b` | 1/1 | - " in backends_page.backends_page("")


def test_what_is_broken_or_unchecked_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends_page, "KEPT", tmp_path)
    bad = report(Verdict.PASSED, Verdict.FAILED, Verdict.SKIPPED)
    (tmp_path / "b.json").write_bytes(bad.to_json())
    page = backends_page.backends_page("")
    assert "`b`: law 2, events come back exactly as they went in: broken." in page
    assert "`b`: law 3, sequences are dense from 1: not checked" in page
    assert "| `b` | 1/3 |" in page
