"""The fixture that forbids traces sees them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).with_name("conftest.py")
TRACES = {
    "threading.Thread(target=time.sleep, args=[2], name='late').start()": "threads left running: late",
    "os.chdir(tmp_path)": "the working directory was changed",
    "os.environ['LEFT_BEHIND'] = '1'": "environment variables changed: LEFT_BEHIND",
    "del os.environ['PATH']": "environment variables changed: PATH",
}
NO_TRACES = [
    "threading.Thread(target=time.sleep, args=[2], daemon=True).start()",
    "threading.Thread(target=time.sleep, args=[0.01]).start()",
    "monkeypatch.chdir(tmp_path); monkeypatch.setenv('ONLY_HERE', '1')",
]


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What pytest says of a test with each of these bodies: its complaint, or nothing."""
    folder = tmp_path_factory.mktemp("traces")
    bodies = [*NO_TRACES, *TRACES]
    source = CONFTEST.read_text(encoding="utf-8")
    assert "THREAD_GRACE = 5.0" in source
    (folder / "conftest.py").write_text(source.replace("THREAD_GRACE = 5.0", "THREAD_GRACE = 0.2"))
    tests = [f"def test_body_{n}(monkeypatch, tmp_path):\n    {body}\n" for n, body in enumerate(bodies)]
    (folder / "test_traces.py").write_text("import os, threading, time\n\n" + "\n".join(tests))
    (folder / "pytest.ini").touch()
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", "-rE"]
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    env["PYTHONPATH"] = str(CONFTEST.parent)  # where the copied conftest finds what it imports
    done = subprocess.run(
        command,
        cwd=folder,
        env=env | {"COLUMNS": "300"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert f"{len(bodies)} passed, {len(TRACES)} errors" in done.stdout, done.stdout + done.stderr
    complaints = dict(re.findall(r"^ERROR \S+::test_body_(\d+) - (.*)$", done.stdout, re.M))
    return {body: complaints.get(str(n), "") for n, body in enumerate(bodies)}


@pytest.mark.parametrize("body", TRACES)
def test_a_trace_that_is_left_fails_the_test(said: dict[str, str], body: str) -> None:
    assert TRACES[body] in said[body]


@pytest.mark.parametrize("body", NO_TRACES)
def test_what_is_undone_in_time_is_no_trace(said: dict[str, str], body: str) -> None:
    assert said[body] == ""
