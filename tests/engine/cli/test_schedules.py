"""`pyworkflow schedules`: from the creation of a schedule to its end, and what people mistype."""

from __future__ import annotations

from typing import Any


def test_a_schedule_is_created_shown_driven_and_deleted(cli: Any) -> None:
    words = ["schedules", "create", "shop:order", "A", "amount=7", "--interval", "1d", "--id", "daily"]
    assert cli(*words).stdout.startswith("created schedule daily of order; due next in ")
    (listed,) = cli.json("schedules", "list")
    assert (listed["schedule_id"], listed["status"], listed["spec"]["interval"]) == ("daily", "active", 86400)
    assert "daily" in cli("schedules", "list").stdout
    assert "every 1d" in cli("schedules", "list", "--workflow", "order").stdout
    assert cli("schedules", "list", "--status", "paused").stdout.startswith("no schedules in ")
    run_id = cli("schedules", "trigger", "daily").stdout.strip()
    assert cli.json("worker", "shop", "--once")["driven"] >= 2
    assert cli.json("runs", "show", run_id)["result"] == "receipt for A: 7"
    shown = cli("schedules", "show", "daily").stdout
    assert 'order("A", amount=7)' in shown
    assert "1: 1 completed" in shown
    assert run_id in shown
    assert [run["workflow_name"] for run in cli.json("runs", "list")] == ["order"]
    assert cli("schedules", "pause", "daily").stdout == "schedule daily is paused\n"
    assert cli.json("schedules", "resume", "daily")["status"] == "active"
    assert cli("schedules", "delete", "daily").stdout == "schedule daily is deleted\n"
    assert cli.json("schedules", "show", "daily")["status"] == "deleted"
    assert cli.json("schedules", "list") == []


def test_a_stretch_is_backfilled_by_the_schedules_own_clock(cli: Any) -> None:
    zone = ["--cron", "0 9 * * *", "--timezone", "Europe/Berlin"]
    made = cli.json("schedules", "create", "order", "A", "--id", "nine", "--overlap", "allow_all", *zone)
    assert (made["spec"]["cron"], made["overlap_policy"]) == ("0 9 * * *", "allow_all")
    found = cli("schedules", "backfill", "nine", "2026-03-27T09:00", "2026-03-30T09:00").stdout.split()
    assert len(found) == 4
    assert cli("schedules", "backfill", "nine", "2026-03-27", "2026-03-27").stdout == "nothing was due then\n"
    cli("worker", "shop", "--once")
    assert cli.json("schedules", "show", "nine")["successful_runs"] == 4


def test_mistakes_with_schedules_are_one_line_with_the_right_exit_code(cli: Any) -> None:
    def says(code: int, *words: str) -> str:
        error: str = cli("schedules", *words, code=code).stderr
        assert error.startswith("error: ")
        assert len(error.splitlines()) == 1
        return error

    assert "there is no schedule 'nightly'" in says(4, "show", "nightly")
    assert "there is no schedule 'nightly'" in says(4, "pause", "nightly")
    assert "exactly one of cron, interval and calendar" in says(2, "create", "order")
    assert "has not five fields" in says(2, "create", "order", "--cron", "* *")
    assert "there is no overlap policy 'drop'" in says(
        2, "create", "order", "--interval", "1h", "--overlap", "drop"
    )
    assert "it takes order" in says(2, "create", "shop:order", "1", "2", "3", "--interval", "1h")
    assert "--from is a time such as" in says(2, "create", "order", "--interval", "1h", "--from", "noon")
    assert "there is no status 'deleted' to list" in says(2, "list", "--status", "deleted")
    assert "cannot be given by keyword" in says(2, "create", "order", "queue=1", "--interval", "1h")
