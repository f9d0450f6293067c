"""The text of a step is an expression that makes the same values again."""

from __future__ import annotations

import pytest

from pyworkflow_core.errors import EventIdReused
from pyworkflow_core.record import RunStatus
from pyworkflow_core.storage import Committed, Conflict, RunQuery
from pyworkflow_core.testing.appends import created
from pyworkflow_core.testing.machine.steps import (
    FUNCTIONS,
    Call,
    Expr,
    Make,
    Ref,
    Unplayable,
    names_in,
    resolve,
)
from pyworkflow_core.testing.machine.writing import show, show_call, show_make

NAMES = {"a1": created("a"), "c1": {"a": created("a")}}
WORDS = {
    **FUNCTIONS,
    "Committed": Committed,
    "Conflict": Conflict,
    "EventIdReused": EventIdReused,
    "RunStatus": RunStatus,
}


@pytest.mark.parametrize(
    "value",
    [
        [Committed("a", 1), Conflict("e\u0301", 0)],
        [("a", EventIdReused)],
        {"a'\"\\": (1,)},
        "\x00\n",
        RunStatus.PENDING,
        None,
    ],
)
def test_a_value_is_shown_as_what_makes_it(value: object) -> None:
    assert eval(show(value), dict(WORDS)) == value


@pytest.mark.parametrize(
    "value",
    [
        Ref("a1", None, "record"),
        Ref("c1", "a", "record"),
        Expr("after", (Ref("a1", None, "record"), Expr("noted", ('{"n": 1}',), {"at": 3})), {"prefix": "r"}),
        Expr("created", ("a",), {"lease": Expr("LeaseChange", ("t", "w", None))}),
        [Ref("a1")],
    ],
)
def test_an_expression_is_shown_as_what_it_resolves_to(value: object) -> None:
    assert eval(show(value), {**WORDS, **NAMES}) == resolve(value, NAMES)


def test_a_query_is_resolved_and_shown_with_its_statuses() -> None:
    query = Expr("RunQuery", (), {"status": frozenset({RunStatus.PENDING})})
    assert resolve(query, {}) == RunQuery(status=frozenset({RunStatus.PENDING}))
    assert show(query) == "RunQuery(status=frozenset([RunStatus.PENDING]))"


def test_steps_are_shown_as_lines_of_a_program() -> None:
    made = Make("a2", Expr("after", (Ref("a1", None, "record"),)))
    assert show_make(made) == "a2 = after(a1.record)"
    assert list(names_in(made)) == ["a1"]
    assert show_call(Call("h1", "commit", ([Ref("a1")],))) == "await h1.commit([a1])"
    assert show_call(Call("h1", "listed", (), {"limit": 2})) == "await listed(h1, limit=2)"


def test_a_name_that_nothing_made_makes_a_program_unplayable() -> None:
    for missing in (Ref("a9"), Ref("c1", "b"), Ref("a1", None, "token")):
        with pytest.raises(Unplayable):
            resolve(missing, NAMES)
