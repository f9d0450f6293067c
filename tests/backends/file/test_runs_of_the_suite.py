"""Runs of the suite on one folder: they do not meet, and leave nothing behind."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pyworkflow_core.testing import Report, run

LAWS = [1, 11, 20, 24, 30, 36, 40, 41, 57]


def test_two_runs_at_once_on_one_folder_do_not_meet_and_leave_nothing(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()

    def look(seed: int) -> Report:
        return run(f"file://{tmp_path}/mine/laws", profile="quick", seed=seed, laws=LAWS)

    with ThreadPoolExecutor(2) as threads:
        reports = list(threads.map(look, (1, 2)))
    assert [report.score for report in reports] == ["1.0", "1.0"]
    assert list((tmp_path / "mine").iterdir()) == []


def test_a_store_that_was_there_before_is_left_alone(tmp_path: Path) -> None:
    kept = tmp_path / "laws_kept"
    kept.mkdir()
    (kept / "note").write_text("not the suite's")
    assert run(f"file://{tmp_path}", profile="quick", laws=[1, 30, 56]).score == "1.0"
    assert [path.name for path in tmp_path.iterdir()] == ["laws_kept"]
    assert (kept / "note").read_text() == "not the suite's"
