"""The fixture that forbids traces sees them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).with_name("conftest.py")


def outcome(folder: Path, body: str) -> str:
    """What pytest says of a test with this body."""
    source = CONFTEST.read_text(encoding="utf-8")
    (folder / "conftest.py").write_text(source.replace("THREAD_GRACE = 5.0", "THREAD_GRACE = 0.1"))
    test = "import os, threading, time\n\ndef test_with_a_body(monkeypatch, tmp_path):\n" + f"    {body}\n"
    (folder / "test_one.py").write_text(test)
    (folder / "pytest.ini").touch()
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:randomly",
        str(folder),
    ]
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=60
    )
    return done.stdout


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("threading.Thread(target=time.sleep, args=[2], name='late').start()", "threads left running: late"),
        ("os.chdir(tmp_path)", "the working directory was changed"),
        ("os.environ['LEFT_BEHIND'] = '1'", "environment variables changed: LEFT_BEHIND"),
        ("del os.environ['PATH']", "environment variables changed: PATH"),
    ],
)
def test_a_trace_that_is_left_fails_the_test(tmp_path: Path, body: str, complaint: str) -> None:
    text = outcome(tmp_path, body)
    assert complaint in text
    assert "1 error" in text


@pytest.mark.parametrize(
    "body",
    [
        "threading.Thread(target=time.sleep, args=[2], daemon=True).start()",
        "threading.Thread(target=time.sleep, args=[0.01]).start()",
        "monkeypatch.chdir(tmp_path); monkeypatch.setenv('ONLY_HERE', '1')",
    ],
)
def test_what_is_undone_in_time_is_no_trace(tmp_path: Path, body: str) -> None:
    assert "1 passed" in outcome(tmp_path, body)


def test_the_fixture_is_tested_as_it_is() -> None:
    assert "THREAD_GRACE = 5.0" in CONFTEST.read_text(encoding="utf-8")
