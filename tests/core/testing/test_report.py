"""A report says no more than was seen."""

from __future__ import annotations

import json

import pytest
from msgspec.structs import replace

from pyworkflow_core.testing.laws.table import LAWS
from pyworkflow_core.testing.report import Broken, LawResult, Report, Verdict, merge_into, read_report

CORE = [law.number for law in LAWS.values() if law.part == "core"]


def report(verdicts: dict[int, Verdict], **fields: object) -> Report:
    results = tuple(
        LawResult(law=law, verdict=v, checks=0 if v in (Verdict.SKIPPED, Verdict.UNDECLARED) else 1)
        for law, v in sorted(verdicts.items())
    )
    made = Report(backend="B", versions={}, target="b:", profile="ci", seed=5, results=results)
    return replace(made, **fields)


def all_of(verdict: Verdict, **others: Verdict) -> dict[int, Verdict]:
    found = {law: verdict if law in CORE else Verdict.UNDECLARED for law in LAWS}
    return found | {int(law.removeprefix("law")): v for law, v in others.items()}


def test_the_core_has_46_laws_and_the_line_names_every_part() -> None:
    assert len(CORE) == 46
    assert report(all_of(Verdict.PASSED)).line == (
        "core 46/46 · feed - · push - · durable - · file - · server - · transactions - · "
        "known failures 0 · suite 1.0 · seed 5"
    )


@pytest.mark.parametrize(
    ("found", "score", "status"),
    [
        (all_of(Verdict.PASSED), "1.0", 0),
        (all_of(Verdict.PASSED, law12=Verdict.FAILED), "0.97", 1),
        (all_of(Verdict.PASSED, law34=Verdict.FAILED), "0.97", 1),
        (all_of(Verdict.PASSED, law55=Verdict.SKIPPED), "0.97", 3),
        (all_of(Verdict.PASSED, law55=Verdict.SKIPPED, law1=Verdict.FAILED), "0.95", 1),
        (all_of(Verdict.SKIPPED), "NONE", 1),
        (all_of(Verdict.UNDECLARED), "NONE", 1),
        ({}, "NONE", 1),
    ],
)
def test_only_a_run_in_which_all_that_is_declared_passed_scores_one(
    found: dict[int, Verdict], score: str, status: int
) -> None:
    made = report(found)
    assert (made.score, made.exit_status) == (score, status)


def test_a_storage_that_cannot_be_reached_has_a_status_of_its_own() -> None:
    assert report(all_of(Verdict.SKIPPED), problem="no server").exit_status == 5


def test_a_known_failure_still_counts_as_failing_and_a_stale_one_too() -> None:
    made = report(all_of(Verdict.PASSED, law9=Verdict.FAILED))
    known = tuple(replace(r, known="slow (bug 1)") if r.law == 9 else r for r in made.results)
    assert "core 45/46" in replace(made, results=known).line
    assert "known failures 1" in replace(made, results=known).line
    assert replace(made, results=known).exit_status == 1
    assert report(all_of(Verdict.PASSED), stale=(9,)).exit_status == 1


def test_json_and_badge_say_what_the_line_says() -> None:
    made = report(all_of(Verdict.PASSED, law9=Verdict.FAILED))
    written = json.loads(made.to_json())
    assert (written["score"], written["line"]) == (made.score, made.line)
    assert read_report(made.to_json()) == made
    badge = json.loads(made.to_badge())
    assert badge == {"schemaVersion": 1, "label": "conformance", "message": "45/46 laws", "color": "red"}
    assert json.loads(report({}).to_badge())["message"] == "NONE"


def test_what_random_programs_find_breaks_the_law_that_checks_passed() -> None:
    passed = LawResult(law=4, verdict=Verdict.PASSED, checks=2)
    assert merge_into(passed, []) is passed
    broken = merge_into(passed, [Broken("random programs", "it was accepted", "…")])
    assert (broken.verdict, broken.broken[0].said) == (Verdict.FAILED, "it was accepted")
