"""Runs of the suite on one folder: they do not meet, and leave nothing behind."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pyworkflow_core.testing import Report, run
from pyworkflow_file.conformance import FileSubject

LAWS = [1, 20, 40, 41, 57]


def test_two_runs_at_once_on_one_folder_do_not_meet_and_leave_nothing(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()

    def look(subject: FileSubject, seed: int) -> Report:
        return run(subject, profile="quick", seed=seed, laws=LAWS)

    # Both look before either makes the folder: one that came later would leave it to the first.
    subjects = [FileSubject(f"file://{tmp_path}/mine/laws") for _ in range(2)]
    with ThreadPoolExecutor(2) as threads:
        reports = list(threads.map(look, subjects, (1, 2)))
    assert [report.score for report in reports] == ["1.0", "1.0"]
    assert list((tmp_path / "mine").iterdir()) == []


def test_a_store_that_was_there_before_is_left_alone(tmp_path: Path) -> None:
    kept = tmp_path / "laws_kept"
    kept.mkdir()
    (kept / "note").write_text("not the suite's")
    assert run(f"file://{tmp_path}", profile="quick", laws=[1, 30, 56]).score == "1.0"
    assert [path.name for path in tmp_path.iterdir()] == ["laws_kept"]
    assert (kept / "note").read_text() == "not the suite's"
