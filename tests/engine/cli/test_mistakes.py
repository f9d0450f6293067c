"""The first mistakes that a person makes: one line each, that says what would be right."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest


@pytest.mark.parametrize(
    ("words", "code", "parts"),
    [
        (["run", "shop:ordr"], 2, ["'ordr'", "did you mean 'order'?"]),
        (["run", "shop:zzz"], 2, ["has no workflow 'zzz'", "approval", "order"]),
        (["run", "shop:plain"], 2, ["'plain'", "decorate it with @workflow"]),
        (["run", "shop"], 2, ["does not say which workflow", "shop:approval"]),
        (["run", "order"], 2, ["MODULE:WORKFLOW"]),
        (["run", "shp:order"], 2, ["no module 'shp'", "looked in"]),
        (["run", "nothing/flows.py:order"], 2, ["no file 'nothing/flows.py'"]),
        (
            ["run", "shop:order"],
            2,
            ["missing a required argument: 'name'", "order(name: str, amount: int = 5)"],
        ),
        (["run", "shop:order", "A", "colour=red"], 2, ["unexpected keyword argument 'colour'"]),
        (["run", "shop:order", "A", "-5"], 2, ["comes after '--'"]),
        (["run", "shop:order", "A", "--wiat"], 2, ["no such option: --wiat"]),
        (["run", "shop:order", "A", "--priority", "high"], 2, ["'--priority'", "integer"]),
        (["run"], 2, ["MODULE:WORKFLOW", "pyworkflow run --help"]),
        (["rnu"], 2, ["no such command 'rnu'"]),
        (["runs", "show", "run_zzz"], 4, ["there is no run 'run_zzz' in file:.pyworkflow"]),
        (["events", "run_zzz"], 4, ["there is no run 'run_zzz'"]),
        (["runs", "cancel", "run_zzz"], 4, ["there is no run 'run_zzz'"]),
        (["resume", "run_zzz"], 4, ["there is no run 'run_zzz'"]),
        (["hooks", "answer", "run_zzz:ok#1", "1"], 4, ["no hook answers"]),
        (["hooks", "answer", "run_zzz", "1"], 2, ["not a hook token"]),
        (["runs", "list", "--status", "compleed"], 2, ["did you mean 'completed'?"]),
        (["runs", "list", "--status", "zzz"], 2, ["no status 'zzz'", "pending, running"]),
        (["runs", "list", "--storage", "fil:x"], 2, ["'fil'", "Did you mean 'file'?"]),
        (["--storage", "runs", "runs", "list"], 2, ["it has no scheme"]),
        (["runs", "list", "--storage", "file:shop.py/runs"], 5, ["shop.py"]),
        (["worker"], 2, ["pyworkflow worker MODULE"]),
        (["worker", "json"], 2, ["json defines no workflow"]),
        (["worker", "shop", "--poll-interval", "often"], 2, ["--poll-interval 'often'"]),
        (["worker", "shop", "--concurrency", "0"], 2, ["--concurrency"]),
        (["demo", "nothing"], 2, ["'nothing' is not a folder"]),
        (["demo", "--output", "."], 2, ["not empty", "--output"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_answered_in_one_line(cli: Any, words: list[str], code: int, parts: list[str]) -> None:
    text = cli.error(*words, code=code)
    assert [part for part in parts if part not in text] == [], text


def test_a_module_that_fails_says_where_it_did(cli: Any) -> None:
    (cli.folder / "wrong.py").write_text("x = 1\n\nimport nowhere_at_all\n")
    text = cli.error("run", "wrong:order", code=2)
    assert "ModuleNotFoundError: No module named 'nowhere_at_all'" in text
    assert text.endswith("wrong.py:3)")
    (cli.folder / "syntax.py").write_text("def\n")
    assert "SyntaxError" in cli.error("run", "syntax:order", code=2)
    (cli.folder / "leaves.py").write_text("raise SystemExit(0)\n")
    assert "SystemExit: 0" in cli.error("run", "leaves:order", code=2)


def test_a_file_with_the_name_of_another_module_is_refused(cli: Any) -> None:
    (cli.folder / "json.py").write_text("")
    assert "rename it" in cli.error("run", "./json.py:order", code=2)
    (cli.folder / "my-flows.py").write_text("")
    assert "rename it" in cli.error("run", "my-flows.py:order", code=2)


@pytest.mark.skipif(sys.platform != "linux", reason="needs a folder in which even root cannot write")
def test_a_folder_that_cannot_be_written_is_no_storage(cli: Any) -> None:
    assert "/proc/1/runs" in cli.error("runs", "list", "--storage", "file:///proc/1/runs", code=5)


def test_a_read_only_folder_is_no_place_for_the_demo(cli: Any) -> None:
    assert "cannot be written" in cli.error("demo", "--output", "shop.py/demo", code=2)


def test_an_answer_comes_only_once(cli: Any, suspended: str) -> None:
    cli("hooks", "answer", f"{suspended}:approve", "yes")
    assert "answered before" in cli.error("hooks", "answer", f"{suspended}:approve", "yes", code=1)


def test_a_damaged_log_is_a_matter_of_the_storage(cli: Any) -> None:
    run_id = cli.json("run", "shop:order", "A")["run_id"]
    for segment in Path(cli.folder / ".pyworkflow").rglob("*.jsonl"):
        segment.write_bytes(segment.read_bytes().replace(b"receipt", b"deceipt"))
    done = cli("events", run_id, code=None)
    assert done.returncode in {0, 5}, done.stderr
    assert "Traceback" not in done.stderr


def test_the_password_of_a_storage_url_is_never_printed(cli: Any) -> None:
    url = "file://me:hunter2@host/runs?token=hunter2"
    done = cli("runs", "list", "--storage", url, code=None)
    assert done.returncode != 0
    assert "hunter2" not in done.stdout + done.stderr
    done = cli("runs", "list", code=None, PYWORKFLOW_STORAGE=url)
    assert "hunter2" not in done.stdout + done.stderr
