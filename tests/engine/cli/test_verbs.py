"""`pyworkflow runs cancel`, `retry`, `delete`, `prune` and `hooks list`, as an operator uses them."""

from __future__ import annotations

import subprocess
import sys
from typing import Any


def test_a_failed_run_is_retried_from_the_command_line(cli: Any) -> None:
    cli("run", "shop:fails", code=1)
    run_id = cli.json("runs", "list")[0]["run_id"]
    text = cli("runs", "retry", run_id, "--reason", "stock is back").stdout
    assert f"run {run_id} goes on from where it ended: step find_stock#1\n" in text
    assert cli.json("runs", "show", run_id)["status"] == "pending"
    assert cli.error("runs", "retry", run_id, code=1).startswith("retry refused: run")
    cli("resume", run_id, "--module", "shop", code=1)
    assert cli.json("runs", "retry", run_id) == {
        "run_id": run_id,
        "retried": ["step find_stock#1"],
        "forgotten": [],
    }
    assert "there is no run 'run_x'" in cli.error("runs", "retry", "run_x", code=4)


def test_a_run_is_deleted_when_it_has_ended_or_by_force(cli: Any, suspended: str) -> None:
    assert "use force" in cli.error("runs", "delete", suspended, code=1)
    assert cli("runs", "delete", suspended, "--force").stdout == f"run {suspended} is deleted\n"
    assert "there is no run" in cli.error("runs", "delete", suspended, code=4)
    family = cli.json("run", "shop:family", '["a", "b"]', "--wait")["run_id"]
    text = cli("runs", "delete", family, "--family").stdout
    assert text == f"run {family} is deleted, and 2 of its family\n"
    assert cli.json("runs", "list") == []


def test_many_runs_are_cancelled_by_options(cli: Any, suspended: str) -> None:
    queued = cli.json("run", "shop:order", "A", "--queue", "slow")["run_id"]
    assert "name a run, or say which" in cli.error("runs", "cancel", code=2)
    assert "not both" in cli.error("runs", "cancel", queued, "--all", code=2)
    assert "have ended" in cli.error("runs", "cancel", "--status", "failed", code=2)
    assert cli("runs", "cancel", "--all", "--dry-run").stdout == "2 runs would be asked to stop\n"
    assert cli.json("runs", "cancel", "--queue", "slow") == {"requested": 1, "dry_run": False}
    assert cli.json("runs", "show", queued)["status"] == "cancelled"
    assert cli("runs", "cancel", "--workflow", "approval", "--created-from", "1h").stdout.startswith("1 runs")
    assert cli.json("runs", "show", suspended)["waiting"] == []


def test_runs_are_listed_by_when_they_were_created_and_by_attribute(cli: Any, suspended: str) -> None:
    assert len(cli.json("runs", "list", "--created-from", "1h")) == 1
    assert cli.json("runs", "list", "--created-before", "1h") == []
    assert len(cli.json("runs", "list", "--created-from", "2026-01-31T18:00")) == 1
    assert cli.json("runs", "list", "--attribute", "team=red") == []
    assert "write how long ago" in cli.error("runs", "list", "--created-from", "soon", code=2)
    assert "write NAME=VALUE" in cli.error("runs", "list", "--attribute", "team", code=2)


def test_runs_that_ended_long_ago_are_pruned(cli: Any, suspended: str) -> None:
    cli("run", "shop:family", '["a", "b"]', "--wait")
    assert "--older-than 30d, or --by-retention" in cli.error("runs", "prune", code=2)
    assert "is not a duration" in cli.error("runs", "prune", "--older-than", "long", code=2)
    assert "no workflow says" in cli.error("runs", "prune", "--by-retention", "--module", "shop", code=2)
    assert cli.json("runs", "prune", "--older-than", "1h")["runs"] == 0
    counted = cli("runs", "prune", "--older-than", "0s", "--dry-run").stdout
    assert counted == "3 runs of 1 families would be deleted\n"
    found = cli.json("runs", "prune", "--older-than", "0s", "--status", "completed")
    assert found == {"families": 1, "runs": 3, "kept": 0, "dry_run": False}
    assert [run["run_id"] for run in cli.json("runs", "list")] == [suspended]


def test_a_workflow_says_how_long_its_runs_are_kept(cli: Any) -> None:
    (cli.folder / "kept.py").write_text(
        "from pyworkflow import workflow\n\n"
        "@workflow(retention='0s')\nasync def brief() -> int:\n    return 1\n",
        encoding="utf-8",
    )
    cli("run", "kept:brief")
    cli("run", "shop:order", "A")
    found = cli.json("runs", "prune", "--by-retention", "--module", "kept")
    assert found["runs"] == 1
    assert [run["workflow_name"] for run in cli.json("runs", "list")] == ["order"]


def test_open_hooks_are_listed_and_can_be_answered_as_shown(cli: Any, suspended: str) -> None:
    cli("run", "shop:approval", "q2", "--queue", "slow")
    assert cli("hooks", "list").stdout.splitlines()[1].startswith(f"{suspended}:approve#1  approval")
    (hook,) = cli.json("hooks", "list", suspended)
    cli("hooks", "answer", f"{hook['run_id']}:{hook['hook_id']}", "true")
    assert cli.json("hooks", "list") == []


def test_a_prune_that_is_stopped_says_how_to_go_on(cli: Any) -> None:
    cli("run", "shop:order", "A")
    cli("run", "shop:order", "B")
    code = (
        "import sys, pyworkflow.pruning as pruning\n"
        "whole = pruning.pruned\n"
        "async def one(*args, **options):\n"
        "    async for count in whole(*args, **options):\n"
        "        yield count\n"
        "        raise KeyboardInterrupt\n"
        "pruning.pruned = one\n"
        "from pyworkflow.cli import main\n"
        "sys.exit(main(['runs', 'prune', '--older-than', '0s']))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=cli.folder,
        env=cli.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 130, done.stderr
    assert "1 runs were deleted so far; the same command goes on with the rest" in done.stderr
    assert cli.json("runs", "prune", "--older-than", "0s")["runs"] == 1
