"""The demo on folders of every kind: what it claims, it proves; and what it writes, sha256sum reads."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pyworkflow.demo.files import find_files, from_text, manifest_line, to_text
from pyworkflow.demo.report import Outcome


def demo(folder: Path, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run the demo in a folder."""
    done = subprocess.run(
        [sys.executable, "-m", "pyworkflow", "demo", *words],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="surrogateescape",
        timeout=110,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done


def checked(folder: Path) -> list[str]:
    """What sha256sum says of the manifest, read where the demo was run."""
    if shutil.which("sha256sum") is None:
        pytest.skip("there is no sha256sum here")
    done = subprocess.run(
        ["sha256sum", "-c", "pyworkflow-demo/manifest.sha256"], cwd=folder, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == b""
    return os.fsdecode(done.stdout).splitlines()


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder of 120 small files in 3 folders."""
    folder = tmp_path / "files"
    for number in range(120):
        path = folder / str(number % 3) / f"file {number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(number))
    return folder


def test_no_completed_step_runs_twice_when_the_process_is_killed(tmp_path: Path, files: Path) -> None:
    document = json.loads(demo(tmp_path, "files", "--json").stdout)
    counts, claims = document["counts"], document["claims"]
    assert (document["status"], set(claims.values())) == ("completed", {True})
    assert counts["files"] == 120
    assert 60 <= counts["completed_before_kill"] < 120
    assert counts["executed_twice_although_completed"] == 0
    assert (
        counts["executed_before_kill"] + counts["executed_after_kill"]
        == 120 + counts["executed_twice_under_way"]
    )
    assert len(checked(tmp_path)) == 120


def test_the_story_is_told_with_the_counts_and_the_command_to_check(tmp_path: Path, files: Path) -> None:
    text = demo(tmp_path, "files").stdout
    assert "120 files below files" in text
    assert "killed with SIGKILL" in text
    assert "run_recovered" in text
    assert "executed twice although completed          0" in text
    assert "-c pyworkflow-demo/manifest.sha256" in text
    assert "NO " not in text
    assert "\x1b" not in text


def test_odd_names_and_things_that_are_no_files_are_dealt_with(tmp_path: Path) -> None:
    folder = tmp_path / "a folder ü"
    (folder / "in ner").mkdir(parents=True)
    names = [
        b"empty",
        b"in ner/two  spaces ",
        "\N{SNOWMAN}".encode(),
        b"new\nline",
        b"back\\slash",
        b"bytes:\xff",
    ]
    for name in names:
        with open(os.path.join(os.fsencode(folder), name), "wb") as file:
            file.write(b"" if name == b"empty" else name)
    (folder / "broken").symlink_to("nowhere")
    (folder / "link").symlink_to("empty")
    (folder / "folder").symlink_to("in ner")
    os.mkfifo(folder / "pipe")
    document = json.loads(demo(tmp_path, "a folder ü", "--json").stdout)
    assert document["counts"]["files"] == len(names) + 1
    assert document["skipped"] == {"broken link": 1, "special file": 1, "link to a folder": 1}
    assert len(checked(tmp_path)) == len(names) + 1


@pytest.mark.parametrize("count", [0, 1, 2])
def test_hardly_a_file_is_enough(tmp_path: Path, count: int) -> None:
    (tmp_path / "few").mkdir()
    for number in range(count):
        (tmp_path / "few" / str(number)).write_text("x")
    document = json.loads(demo(tmp_path, "few", "--json").stdout)
    assert document["counts"]["files"] == count
    assert set(document["claims"].values()) == {True}
    lines = (tmp_path / "pyworkflow-demo/manifest.sha256").read_text().splitlines()
    assert [line.split()[0] for line in lines] == [hashlib.sha256(b"x").hexdigest()] * count


def test_the_folder_of_an_earlier_demo_is_used_again_and_left_out(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("1")
    demo(tmp_path, ".")
    document = json.loads(demo(tmp_path, ".", "--json").stdout)
    assert document["counts"]["files"] == 1


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis").write_text("x")
    done = demo(tmp_path, "mine", "--output", "mine", code=2)
    assert "not empty" in done.stderr
    assert (tmp_path / "mine/thesis").read_text() == "x"


@pytest.mark.parametrize("name", [b"/plain", b"/\xff\xfe", "/ü%41".encode(), b"/bytes:x"])
def test_every_name_survives_the_way_through_text(name: bytes) -> None:
    assert from_text(to_text(name)) == name
    to_text(name).encode("utf-8")


def test_a_manifest_line_is_escaped_as_sha256sum_does_it() -> None:
    assert manifest_line("00", b"/a b") == b"00  /a b\n"
    assert manifest_line("00", b"/a\nb\\c\rd") == b"\\00  /a\\nb\\\\c\\rd\n"


def test_an_unreadable_folder_is_counted_and_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(os, "access", lambda *args: False)
    found = find_files(tmp_path, leave_out=tmp_path / "out", library=False)
    assert (found.names, found.skipped) == ([], {"unreadable file": 1})


def outcome(**changed: Any) -> Outcome:
    """An outcome in which one file's step was executed once, before the kill, and not completed."""
    empty: dict[str, Any] = {"before": [], "after": [], "marks_before": [], "marks_after": []}
    numbers: dict[str, Any] = {
        "run_id": "r",
        "files": 0,
        "status": "completed",
        "seconds": (0.0, 0.0),
        "skipped": {},
    }
    return Outcome(**{**empty, **numbers, **changed})


def test_a_claim_that_does_not_hold_is_noticed() -> None:
    assert outcome().good
    assert not outcome(status="failed").good
    assert not outcome(files=1).good
    assert not outcome(marks_before=[1], marks_after=[1]).good
    assert not outcome(marks_after=[1, 1]).good
