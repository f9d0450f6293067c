"""`pyworkflow events`: a log once, and a log that grows."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from typing import Any


def test_events_are_printed_with_what_happened(cli: Any, suspended: str) -> None:
    lines = cli("events", suspended).stdout.splitlines()
    assert [line.split()[2] for line in lines[1:]] == [
        "workflow_started",
        "hook_created",
        "workflow_suspended",
    ]
    assert lines[1].endswith('approval("q1")')


def test_after_leaves_out_the_beginning(cli: Any, suspended: str) -> None:
    assert [
        event["sequence"] for event in events(cli("events", suspended, "--after", "1", "--json").stdout)
    ] == [2, 3]
    assert cli("events", suspended, "--after", "9", "--json").stdout == ""


def test_json_is_one_object_a_line_with_all_there_is(cli: Any) -> None:
    run_id = cli.json("run", "shop:order", "A")["run_id"]
    first, *_, last = events(cli("events", run_id, "--json").stdout)
    assert (first["run_id"], first["type"], first["data"]["args"]) == (
        run_id,
        "workflow_started",
        [["A"], {}],
    )
    assert (last["sequence"], last["data"]["result"]) == (4, "receipt for A: 5")


def test_lines_fit_a_narrow_terminal(cli: Any) -> None:
    run_id = cli.json("run", "shop:echo", "ü" * 300)["run_id"]
    for columns in (60, 80):
        lines = cli("events", run_id, COLUMNS=str(columns)).stdout.splitlines()
        assert max(map(len, lines)) == columns
        assert lines[1].endswith("…")


def test_follow_shows_what_comes_and_ends_with_the_run(cli: Any, suspended: str, begun: Any) -> None:
    process = begun(cli.begin("events", suspended, "--follow", "--json"))
    seen = [json.loads(process.stdout.readline())["type"] for _ in range(3)]
    assert seen[-1] == "workflow_suspended"
    cli("hooks", "answer", f"{suspended}:approve", "yes")
    assert json.loads(process.stdout.readline())["type"] == "hook_received"
    cli("resume", suspended, "--module", "shop")
    rest, err = process.communicate(timeout=60)
    assert events(rest)[-1]["type"] == "workflow_completed"
    assert (process.returncode, err) == (0, "")


def test_ctrl_c_ends_following_cleanly(cli: Any, suspended: str, begun: Any) -> None:
    process = begun(cli.begin("events", suspended, "--follow"))
    while "workflow_suspended" not in process.stdout.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "")


def test_a_reader_that_has_gone_is_no_error(cli: Any, suspended: str) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    process = subprocess.Popen(
        cli.command("events", suspended),
        cwd=cli.folder,
        env=cli.environment,
        stdout=theirs,
        stderr=subprocess.PIPE,
    )
    os.close(theirs)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (141, b"")


def events(text: str) -> list[dict[str, Any]]:
    """The events of JSON lines."""
    return [json.loads(line) for line in text.splitlines()]
