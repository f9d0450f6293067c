"""The suite has teeth: it catches every faulty store, and passes the correct ones."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil

import pytest

from pyworkflow_core.storage import StorageBackend
from pyworkflow_core.testing import LAWS, LawBroken, Subject, Verdict, faulty, run
from pyworkflow_core.testing.__main__ import main
from pyworkflow_core.testing.faulty.nothing import DoNothing
from pyworkflow_core.testing.hosts.ram import RamStore
from pyworkflow_core.testing.hosts.subjects import LinesSubject, RamSubject, TcpSubject
from pyworkflow_core.testing.laws.registry import Check, all_checks
from pyworkflow_core.testing.matrix import FAULTS, Fault
from pyworkflow_core.testing.profiles import PROFILES
from pyworkflow_core.testing.runner import applies, make_check
from pyworkflow_core.testing.teeth import NothingSubject, hear

MODULES = [
    importlib.import_module(f"{faulty.__name__}.{m.name}") for m in pkgutil.iter_modules(faulty.__path__)
]
STORES = [
    value
    for module in MODULES
    for value in vars(module).values()
    if inspect.isclass(value) and issubclass(value, StorageBackend) and value.__module__ == module.__name__
]
OPENLY = [store for store in STORES if not store.__name__.startswith("_")]
IN_MEMORY = [fault for fault in FAULTS if issubclass(fault.store, RamStore)]
NO_FAULTS = {"LockedStore", "DoNothing"}


def test_every_law_has_a_fault_and_every_faulty_store_a_law() -> None:
    assert {fault.law for fault in FAULTS} == set(LAWS)
    names = [fault.store.__name__ for fault in FAULTS]
    assert len(set(names)) == len(names)
    assert set(names) == {store.__name__ for store in OPENLY} - NO_FAULTS
    assert [fault.store.__name__ for fault in FAULTS if not fault.says] == []


def test_the_number_of_faults_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--count"]) == 0
    assert capsys.readouterr().out.startswith(
        f"{len(FAULTS)} faulty stores, at least one for each of 60 of 60"
    )
    assert len(FAULTS) >= 60


@pytest.mark.parametrize("store", OPENLY, ids=lambda store: store.__name__)
def test_a_faulty_store_says_in_one_line_what_is_wrong_with_it(store: type[StorageBackend]) -> None:
    assert len((store.__doc__ or "").strip().splitlines()) == 1


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__.rpartition(".")[2])
def test_faulty_stores_know_neither_laws_nor_the_suite(module: object) -> None:
    source = inspect.getsource(module)  # type: ignore[arg-type]
    imports = [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.ImportFrom) and n.level == 2]
    assert [n.module for n in imports if not (n.module or "").startswith("hosts")] == []
    assert [line for line in source.lower().splitlines() if " law" in line.replace("laws.noted", "")] == []


@pytest.mark.teeth
@pytest.mark.timeout(600)
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.law:02}-{fault.store.__name__}")
def test_the_fault_is_caught_by_its_law_for_its_own_reason(fault: Fault) -> None:
    said = []
    for text in hear(fault):
        said.append(text)
        if fault.says in text:
            return
    pytest.fail(f"law {fault.law} does not catch {fault.store.__name__} for its reason; it says {said}")


@pytest.mark.nightly
@pytest.mark.timeout(600)
@pytest.mark.parametrize("fault", IN_MEMORY, ids=lambda fault: fault.store.__name__)
def test_no_law_but_those_that_are_named_catches_the_fault(fault: Fault) -> None:
    others = [law for law in LAWS if law != fault.law and any(hear(fault, law=law))]
    assert set(others) <= set(fault.also)


@pytest.mark.teeth
@pytest.mark.timeout(600)
@pytest.mark.parametrize("subject", [RamSubject, LinesSubject, TcpSubject])
def test_a_correct_store_obeys_every_law_it_declares(subject: type[Subject]) -> None:
    report = run(subject(), profile="quick", seed=0)
    wrong = {r.law: r for r in report.results if r.verdict not in {Verdict.PASSED, Verdict.UNDECLARED}}
    assert wrong == {}


@pytest.mark.teeth
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "check",
    [check for check in all_checks() if applies(check, DoNothing.capabilities)],
    ids=lambda check: f"{check.law:02}-{check.name}",
)
def test_a_store_that_does_nothing_passes_no_check(check: Check) -> None:
    subject = NothingSubject()
    try:
        with pytest.raises(LawBroken):
            make_check(check, subject, PROFILES["quick"], 0)
    finally:
        subject.remove_folder()
