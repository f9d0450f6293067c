"""`pyworkflow run` and `resume`: arguments in, status, result and exit code out."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest


def test_a_completed_run_prints_its_result_and_exits_with_0(cli: Any) -> None:
    done = cli("run", "shop:order", "A-17", "100")
    assert "status  completed\n" in done.stdout
    assert 'result  "receipt for A-17: 100"\n' in done.stdout
    assert done.stderr == ""


def test_a_suspended_run_exits_with_3_and_says_what_to_look_at(cli: Any) -> None:
    done = cli("run", "shop:approval", code=3)
    assert "status  suspended\n" in done.stdout
    assert "pyworkflow runs show run_" in done.stdout


def test_a_failed_run_exits_with_1_and_says_what_was_raised(cli: Any) -> None:
    done = cli("run", "shop:fails", code=1)
    assert "status  failed\n" in done.stdout
    assert done.stderr.endswith("failed: ValueError: no stock\n")
    assert done.stderr.count("\n") == 1


def test_debug_shows_the_traceback_of_the_workflow(cli: Any) -> None:
    done = cli("run", "shop:fails", "--debug", code=1)
    assert "Traceback" in done.stderr
    assert "shop.py" in done.stderr
    assert "Traceback" in cli("run", "shop:fails", code=1, PYWORKFLOW_DEBUG="1").stderr


@pytest.mark.parametrize(
    ("words", "arguments"),
    [
        (
            ["1", "x", "[1, 2]", '{"a": null}', "NaN", "1.5", '"7"'],
            [[1, "x", [1, 2], {"a": None}, "NaN", 1.5, "7"], {}],
        ),
        (["a=1", "b=x y", "c=", "1d=2", '"e=1"'], [["1d=2", "e=1"], {"a": 1, "b": "x y", "c": ""}]),
        (["--", "-5", "--wait"], [[-5, "--wait"], {}]),
    ],
)
def test_arguments_are_json_where_they_are_json_and_text_otherwise(
    cli: Any, words: list[str], arguments: list[Any]
) -> None:
    run = cli("run", "shop:echo", "--json", *words)
    assert cli.json("runs", "list")[0]["result"] == arguments, run.stdout


def test_a_workflow_may_have_a_parameter_with_the_name_of_an_option(cli: Any) -> None:
    cli("run", "shop:approval", "queue=mine", code=3)
    (run,) = cli.json("runs", "list")
    assert run["queue"] == "default"


def test_the_same_idempotency_key_starts_one_run(cli: Any) -> None:
    first = cli.json("run", "shop:order", "A", "--idempotency-key", "k")
    assert cli.json("run", "shop:order", "A", "--idempotency-key", "k") == first
    assert "belongs to run" in cli.error("run", "shop:order", "B", "--idempotency-key", "k", code=1)


def test_with_a_queue_the_run_is_only_enqueued(cli: Any) -> None:
    run = cli.json("run", "shop:order", "A", "--queue", "slow", "--priority", "0")
    assert (run["status"], run["queue"], run["priority"]) == ("pending", "slow", 0)
    assert cli("worker", "shop", "--once", "--queue", "slow").stdout == ""
    assert cli.json("runs", "show", run["run_id"])["status"] == "completed"


def test_wait_stays_until_a_sleep_is_over(cli: Any) -> None:
    assert cli.json("run", "shop:nap", "0.1", "--wait")["result"] == "rested"


def test_a_file_works_as_a_module_does(cli: Any) -> None:
    package = cli.folder / "app" / "inner"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "other.py").write_text("from .flows import order\n")
    (cli.folder / "shop.py").rename(package / "flows.py")
    cli("run", "app/inner/flows.py:order", "A")
    cli("run", "./app/inner/other.py:order", "A")


def test_the_configured_module_needs_no_naming(cli: Any) -> None:
    assert cli("run", "order", "A", PYWORKFLOW_MODULE="shop").returncode == 0


def test_hooks_that_wait_are_listed_until_they_are_answered(cli: Any, suspended: str) -> None:
    assert f"{suspended}:approve#1" in cli("hooks", "list").stdout
    (hook,) = cli.json("hooks", "list", suspended)
    assert (hook["run_id"], hook["hook_id"], hook["status"]) == (suspended, "approve#1", "open")
    cli("hooks", "answer", hook["token"], "yes")
    assert cli.json("hooks", "list") == []
    assert "no hook waits" in cli("hooks", "list", "--workflow", "approval").stdout
    assert "there is no run" in cli.error("hooks", "list", "run_zzz", code=4)


def test_a_run_that_waits_is_answered_and_resumed(cli: Any, suspended: str) -> None:
    assert cli.json("hooks", "answer", f"{suspended}:approve#1", '{"ok": true}')["status"] == "resumed"
    run = cli.json("resume", suspended, "--module", "shop")
    assert (run["status"], run["result"]) == ("completed", "q1: {'ok': True}")
    assert cli.json("resume", suspended) == run


def test_resume_says_which_workflow_it_lacks_and_how_to_name_its_module(cli: Any, suspended: str) -> None:
    cli("resume", suspended, code=3)  # it is not due, so that nothing of it has to run
    cli("hooks", "answer", f"{suspended}:approve", "yes")
    text = cli.error("resume", suspended, code=2)
    assert "'approval'" in text
    assert "--module" in text
    assert cli("resume", suspended, PYWORKFLOW_MODULE="shop").stderr == ""


def test_what_json_lacks_is_printed_as_text(cli: Any) -> None:
    run = cli.json("run", "shop:odd")
    assert run["result"] == {"a set": "{1}", "bytes": "b'x'", "text": "ü"}
    assert "ü" in cli("runs", "show", run["run_id"]).stdout


def test_ctrl_c_suspends_the_run_and_says_how_to_go_on(cli: Any, begun: Any) -> None:
    process = begun(cli.begin("run", "shop:patient"))
    wait_for(cli.folder / "began", process)
    process.send_signal(signal.SIGINT)
    (cli.folder / "go").touch()  # a thread cannot be cut off: let it end
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    (run,) = cli.json("runs", "list")
    assert err == f"run {run['run_id']} can go on: pyworkflow resume {run['run_id']} --module shop.py\n"
    assert out == ""
    assert run["status"] == "suspended"
    assert cli.json("resume", run["run_id"], "--module", "shop")["result"] == "went"


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    """Until the application has made a file; not longer than its process lives."""
    ends = time.monotonic() + 60
    while not os.path.exists(path):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < ends
        time.sleep(0.01)


def test_a_run_can_be_put_off_and_counted_under_a_key(cli: Any) -> None:
    shown = cli.json("run", "shop:order", "A", "--queue", "q", "--delay", "1h", "--concurrency-key", "k")
    assert shown["status"] == "pending"
    assert cli("run", "shop:order", "A", "--delay", "soon", code=2).stderr.startswith("error: delay 'soon'")
    assert "needs queue=" in cli("run", "shop:order", "A", "--concurrency-key", "k", code=2).stderr


def test_a_workflow_without_a_log_says_its_result_and_leaves_nothing_behind(cli: Any) -> None:
    done = cli("run", "shop:passing", "7")
    assert "status  completed\nresult  14\n" in done.stdout
    assert ", without a log\n" in done.stdout
    found = cli.json("run", "shop:passing", "8")
    assert (found["result"], found["durable"]) == (16, False)
    failed = cli("run", "shop:passing", "--", "-1", code=1)
    assert failed.stderr.endswith("the run failed: ValueError: no such number\n")
    assert cli.json("runs", "list") == []
    assert "queue needs a log" in cli("run", "shop:passing", "7", "--queue", "q", code=None).stderr
