"""Parents, children and chains on the command line."""

from __future__ import annotations

import json
from typing import Any


def test_a_parent_shows_its_children_and_a_child_its_parent(cli: Any) -> None:
    parent = cli.json("run", "shop:family", '["A", "B"]')
    assert parent["result"] == ["receipt for A: 5", "receipt for B: 5"]
    shown = cli.json("runs", "show", parent["run_id"])
    assert len(shown["children"]) == 2
    listed = cli.json("runs", "list", "--parent", parent["run_id"])
    assert {run["run_id"] for run in listed} == set(shown["children"])
    text = cli("runs", "show", parent["run_id"]).stdout
    assert all(child in text for child in shown["children"])
    child = shown["children"][0]
    assert f"parent     {parent['run_id']} (depth 1)" in cli("runs", "show", child).stdout


def test_a_parents_log_names_the_children_and_what_they_returned(cli: Any) -> None:
    run_id = cli.json("run", "shop:family", '["A"]')["run_id"]
    (child,) = cli.json("runs", "show", run_id)["children"]
    text = cli("events", run_id).stdout
    assert f'order#1("A") as {child}' in text
    assert 'order → "receipt for A: 5"' in text


def test_a_chain_is_reported_by_its_end_and_shown_from_each_of_its_runs(cli: Any) -> None:
    end = cli.json("run", "shop:countdown", "2")
    assert (end["status"], end["result"]) == ("completed", "lift-off")
    chain = cli.json("runs", "show", end["run_id"])["chain"]
    assert len(chain) == 3
    assert chain[-1] == end["run_id"]
    first = cli("runs", "show", chain[0]).stdout
    assert f"goes on    {chain[1]}" in first
    assert "chain of 3 runs; this is number 1" in first
    assert f"continues  {chain[1]}" in cli("runs", "show", chain[2]).stdout
    events = [json.loads(line) for line in cli("events", chain[0], "--json").stdout.splitlines()]
    assert [event["type"] for event in events][1:] == ["workflow_continued_as_new", "deliveries_made"]
    assert f"(1) as {chain[1]}" in cli("events", chain[0]).stdout
