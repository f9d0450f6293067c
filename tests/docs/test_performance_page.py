"""The figures on the pages are those of the kept reports, and say what they are worth."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import performance_page
import pytest


def report(*figures: dict[str, Any], load: float = 0.1, name: str = "step") -> dict[str, Any]:
    machine = {"date": "2026-01-01", "cpu": "C", "cores": 2, "memory_gib": 8.0, "os": "O", "kernel": "K"}
    machine |= {"python": "CPython 3.11", "medium": "ext4", "load_before": load}
    machine |= {"drivers": {"msgspec": "1"}, "servers": {"redis": "8"}}
    return {"script": name, "machine": machine, "seconds": 1, "figures": list(figures)}


def figure(**more: Any) -> dict[str, Any]:
    made = {"bar": None, "what": "it", "unit": "µs", "median": 2.0, "spread": [1.0, 3.0], "rounds": 3}
    return made | more


def test_the_pages_and_plots_are_those_of_the_kept_reports() -> None:
    assert performance_page.stale() == [], "run: python docs/performance_page.py"


def test_every_kept_figure_of_a_store_says_what_is_durable() -> None:
    silent = [
        (kept["script"], each["what"])
        for kept in performance_page.read(performance_page.KEPT)
        for each in kept["figures"]
        if each.get("unit") == "steps/s" and not each.get("durable")
    ]
    assert silent == []


def test_a_changed_report_makes_page_and_plots_stale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("PAGE", "BEYOND"):
        monkeypatch.setattr(
            performance_page, name, Path(shutil.copy(getattr(performance_page, name), tmp_path))
        )
    kept = tmp_path / "performance"
    shutil.copytree(performance_page.KEPT, kept)
    monkeypatch.setattr(performance_page, "KEPT", kept)
    assert performance_page.main(["--check"]) == 0
    (kept / "zzz.json").write_text(json.dumps(report(figure(bar=4, limit="≥ 1", verdict="met", store="x"))))
    assert performance_page.main(["--check"]) == 1
    assert {"performance.md", "beyond-one-database.md", "floors.svg"} <= set(performance_page.stale())
    assert "performance.md is out of date" in capsys.readouterr().out


def test_fresh_reports_are_printed_and_not_kept_unless_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(performance_page, "KEPT", tmp_path / "kept")
    found = figure(bar=5, limit="≤ 30 µs", verdict="MISSED", store="memory", durable="nothing")
    (tmp_path / "step.json").write_text(
        json.dumps(report(found, {"bar": None, "what": "P", "missing": "why"}))
    )
    assert performance_page.main([str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "| 5 | it | memory | 2 (1-3) µs | - | - | ≤ 30 µs | MISSED | nothing |" in printed
    assert "- Not measured: P: why." in printed
    assert not (tmp_path / "kept").exists()


def test_a_busy_machine_is_told_on_the_page() -> None:
    quiet, busy = report(figure()), report(figure(), load=1.7)
    assert "busy" not in performance_page.figures_part([quiet])
    assert "**Taken on a busy machine** (load up to 1.7" in performance_page.figures_part([quiet, busy])


def test_a_billion_events_follow_from_the_measured_rate_and_size() -> None:
    rate = figure(bar=4, what="append", unit="events/s", median=20_000.0, store="redis, always")
    size = figure(what="size", unit="bytes/event", median=300.0, store="redis, always")
    room = figure(what="room of a run with one event", unit="bytes", median=800.0, store="redis", size=10)
    table = performance_page.billion_table([report(rate, size, room)])
    # 34,722 a second at the peak, of which one takes half of its 20,000.
    assert "| redis, always | 20,000 | 4 | 300 bytes | 300 GB | 800 bytes |" in table
