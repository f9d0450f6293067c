"""Subtle mistakes in the file backend are caught by the default profile of the conformance suite."""

from __future__ import annotations

import pytest
from planted_stores import (
    DueTimeLeftBehindSubject,
    HeadBeforeTheLockSubject,
    LostNeighbourSubject,
    PlantedSubject,
)

from pyworkflow_core.testing import run


@pytest.mark.teeth
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("subject", "laws"),
    [
        (HeadBeforeTheLockSubject, {15}),
        (LostNeighbourSubject, {7}),
        (DueTimeLeftBehindSubject, {22, 27}),
    ],
)
def test_a_subtle_mistake_is_caught(subject: type[PlantedSubject], laws: set[int]) -> None:
    report = run(subject(), profile="default", seed=11, laws=laws)
    assert {result.law for result in report.failed} == laws, report.line
