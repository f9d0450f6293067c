"""`pyworkflow conformance`: the suite from the command line, with its report and its mistakes."""

from __future__ import annotations

import json
from typing import Any


def test_the_last_line_is_the_report_and_the_files_say_the_same(cli: Any) -> None:
    url = "memory://{namespace}"
    options = ["--profile", "quick", "--law", "1", "--law", "4", "--seed", "7"]
    done = cli("conformance", url, *options, "--json", "report.json", "--badge", "badge.json")
    line = done.stdout.splitlines()[-1]
    assert line.startswith("core 2/2 · ")
    assert line.endswith("known failures 0 · suite 1.0 · seed 7")
    written = json.loads((cli.folder / "report.json").read_text())
    assert (written["line"], written["target"]) == (line, url)
    assert json.loads((cli.folder / "badge.json").read_text())["message"] == "2/2 laws"


def test_the_report_goes_to_stdout_as_json_for_a_dash(cli: Any) -> None:
    done = cli("conformance", "memory://{namespace}", "--profile", "quick", "--law", "1", "--json", "-")
    assert json.loads(done.stdout)["score"] == "1.0"


def test_mistakes_are_told_in_one_line_with_what_there_is(cli: Any) -> None:
    for words, said in (
        (["memory://{namespace}", "--law", "99"], "there is no law 99; they are numbered 1 to 60"),
        (["memory://{namespace}", "--profile", "slow"], "there are quick, default, ci, nightly"),
        (["nosuch://{namespace}"], "no storage backend answers to 'nosuch'"),
    ):
        done = cli("conformance", *words, code=2)
        assert said in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1


def test_a_storage_out_of_reach_is_said_so(cli: Any) -> None:
    (cli.folder / "taken").write_text("a file where the folder should be")
    url = f"file://{cli.folder}/taken/{{namespace}}"
    done = cli("conformance", url, "--profile", "quick", "--law", "1", code=5)
    assert "the storage cannot be reached" in done.stdout
    assert "suite NONE" in done.stdout
