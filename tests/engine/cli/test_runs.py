"""`pyworkflow runs`, `backends` and the tables: what they show, and that it fits."""

from __future__ import annotations

import os
import pty
import re
import subprocess
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pyworkflow.cli.render import Column, ago, duration, one_line, table_lines


def test_runs_are_listed_newest_first_and_filtered(cli: Any, suspended: str) -> None:
    ended = cli.json("run", "shop:order", "A")["run_id"]
    queued = cli.json("run", "shop:order", "B", "--queue", "slow")["run_id"]

    def ids(*words: str) -> list[str]:
        return [run["run_id"] for run in cli.json("runs", "list", *words)]

    assert ids() == [queued, ended, suspended]
    assert ids("--status", "completed") == [ended]
    assert ids("--status", "completed,suspended") == [ended, suspended]
    assert ids("--status", "completed", "--status", "pending") == [queued, ended]
    assert ids("--workflow", "order", "--limit", "1") == [queued]
    assert ids("--queue", "slow") == [queued]
    assert ids("--queue", "nobody") == []


def test_an_empty_storage_says_where_it_looked(cli: Any) -> None:
    assert cli("runs", "list").stdout == f"no runs in file:.pyworkflow (in {cli.folder})\n"
    assert cli("runs", "list", "--status", "failed").stdout.startswith("no runs like that")
    assert cli.json("runs", "list") == []


@pytest.mark.parametrize("columns", ["30", "60", "80", "200"])
def test_a_table_fits_the_terminal_and_never_cuts_an_id(cli: Any, suspended: str, columns: str) -> None:
    lines = cli("runs", "list", COLUMNS=columns).stdout.splitlines()
    assert all(len(line) <= max(int(columns), len(suspended) + len("  suspended")) for line in lines), lines
    assert lines[1].startswith(f"{suspended}  ")


def test_without_a_terminal_nothing_is_cut_and_nothing_coloured(cli: Any) -> None:
    run_id = cli.json("run", "shop:echo", "x" * 300)["run_id"]
    text = cli("events", run_id).stdout
    assert "x" * 300 in text
    assert "\x1b" not in text


@pytest.mark.parametrize(
    ("environment", "coloured"), [({}, True), ({"NO_COLOR": ""}, False), ({"TERM": "dumb"}, False)]
)
def test_a_terminal_has_colours_unless_it_refuses_them(
    cli: Any, suspended: str, environment: dict[str, str], coloured: bool
) -> None:
    text = on_a_terminal(cli, "runs", "list", **environment)
    assert suspended in text
    assert ("\x1b[" in text) is coloured


def test_one_run_is_shown_with_what_it_waits_for(cli: Any, suspended: str) -> None:
    text = cli("runs", "show", suspended).stdout
    assert 'workflow   approval("q1")\n' in text
    assert "waits for  hook approve#1\n" in text
    assert f"pyworkflow hooks answer '{suspended}:approve#1' JSON" in text
    shown = cli.json("runs", "show", suspended)
    assert (shown["open_hooks"], shown["waiting"]) == (["approve#1"], ["hook approve#1"])


def test_a_failed_run_is_shown_with_its_error(cli: Any) -> None:
    cli("run", "shop:fails", code=1)
    (run,) = cli.json("runs", "list")
    assert run["error"] == "ValueError: no stock"
    assert "error      ValueError: no stock\n" in cli("runs", "show", run["run_id"]).stdout


def test_a_run_is_cancelled_with_a_reason(cli: Any, suspended: str) -> None:
    assert "was asked to stop" in cli("runs", "cancel", suspended, "--reason", "too late").stdout
    assert cli("resume", suspended, "--module", "shop", code=1).stderr.endswith("was cancelled\n")
    assert "had ended already: cancelled" in cli("runs", "cancel", suspended).stdout
    assert cli.json("runs", "cancel", suspended) == {
        "run_id": suspended,
        "requested": False,
        "status": "cancelled",
    }
    assert "too late" in cli("events", suspended).stdout


def test_a_run_that_never_began_is_cancelled_at_once(cli: Any) -> None:
    run_id = cli.json("run", "shop:order", "A", "--queue", "slow")["run_id"]
    assert cli("runs", "cancel", run_id).stdout == f"run {run_id} is cancelled\n"


def test_backends_are_listed_with_what_keeps_one_from_working(cli: Any) -> None:
    listed = {backend["scheme"]: backend for backend in cli.json("backends")}
    assert {"file", "memory"} <= set(listed)
    assert "yes" in cli("backends").stdout
    metadata = cli.folder / "broken-0.1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 0.1\n")
    (metadata / "entry_points.txt").write_text("[pyworkflow.backends]\nbroken = nowhere_at_all\n")
    cli.environment["PYTHONPATH"] = str(cli.folder)
    listed = {b["scheme"]: b for b in cli.json("backends")}
    assert "nowhere_at_all" in listed["broken"]["problem"]
    assert "broken: storage backend 'broken' of broken 0.1 cannot be imported" in cli("backends").stdout


def test_global_options_stand_before_or_after_the_command(cli: Any) -> None:
    cli("--storage", "file:one", "run", "shop:order", "A")
    assert len(cli.json("runs", "list", "--storage", "file:one")) == 1
    assert cli("--json", "runs", "list").stdout == "[]\n"
    assert len(cli.json("--storage", "file:zero", "runs", "list", "--storage", "file:one")) == 1
    assert cli("runs", "list", "--json", PYWORKFLOW_STORAGE="file:one").stdout != "[]\n"


def test_columns_are_cut_before_they_are_dropped() -> None:
    columns = [Column("ID"), Column("NAME", drop=1, least=4), Column("AGE", drop=2, right=True)]
    rows = [("x1", "a long name", "5s"), ("x2", "b", "10s")]
    assert table_lines(columns, rows, None)[1] == "x1  a long name   5s"
    assert table_lines(columns, rows, 14) == ["ID  NAME   AGE", "x1  a lo…   5s", "x2  b      10s"]
    assert table_lines(columns, rows, 12) == ["ID  NAME", "x1  a long…", "x2  b"]
    assert table_lines(columns, rows, 2) == ["ID", "x1", "x2"]


def test_times_are_short_and_rounded_down() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert [ago(now - timedelta(seconds=s), now) for s in (0, 59, 61, 7200, -90)] == [
        "now",
        "59s ago",
        "1m ago",
        "2h ago",
        "in 1m",
    ]
    assert [duration(s) for s in (0.35, 2.14, 252, 3600, 200_000)] == [
        "350ms",
        "2.1s",
        "4m 12s",
        "1h",
        "2d 7h",
    ]


def test_control_characters_do_not_reach_the_terminal() -> None:
    assert one_line("a\nb\x1b[2Jc") == "a b\\x1b[2Jc"


def on_a_terminal(cli: Any, *words: str, **environment: str) -> str:
    """What a command prints on a terminal."""
    ours, theirs = pty.openpty()
    env = cli.environment | {"TERM": "xterm", "COLUMNS": "80"} | environment
    process = subprocess.Popen(cli.command(*words), cwd=cli.folder, env=env, stdout=theirs)
    os.close(theirs)
    text = b""
    while chunk := _read(ours):
        text += chunk
    os.close(ours)
    assert process.wait(60) == 0
    return re.sub("\r\n", "\n", text.decode())


def _read(file: int) -> bytes:
    try:
        return os.read(file, 4096)
    except OSError:  # the other end is closed
        return b""
