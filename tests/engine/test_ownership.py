"""Two distributions in one import package are refused, by name."""

from __future__ import annotations

import importlib.metadata

import pytest

from pyworkflow import _ownership
from pyworkflow_core.errors import ConfigurationError


@pytest.fixture
def owners(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """What is installed, by import package; a test changes it."""
    installed: dict[str, list[str]] = {}
    monkeypatch.setattr(importlib.metadata, "packages_distributions", lambda: installed)
    _ownership.check_sole_owner.cache_clear()
    return installed


@pytest.mark.parametrize("names", [[], ["pyworkflow-core"], ["pyworkflow_core", "pyworkflow-core"]])
def test_the_project_alone_in_its_package_is_accepted(owners: dict[str, list[str]], names: list[str]) -> None:
    owners["pyworkflow"] = names
    _ownership.check_sole_owner()


@pytest.mark.parametrize("names", [["pyworkflow-core", "pyworkflow-engine"], ["pyworkflow-engine"]])
def test_another_owner_is_refused_with_both_names_and_the_repair(
    owners: dict[str, list[str]], names: list[str]
) -> None:
    owners["pyworkflow"] = names
    with pytest.raises(ConfigurationError) as caught:
        _ownership.check_sole_owner()
    text = str(caught.value)
    assert "pyworkflow-core and also to pyworkflow-engine" in text
    assert "pip uninstall -y pyworkflow-engine && pip install --force-reinstall" in text


def test_other_packages_of_other_owners_do_not_matter(owners: dict[str, list[str]]) -> None:
    owners["pyworkflow_dashboard"] = ["stranger"]
    _ownership.check_sole_owner()


def test_a_good_answer_is_looked_up_once(
    owners: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    _ownership.check_sole_owner()
    monkeypatch.delattr(importlib.metadata, "packages_distributions")
    _ownership.check_sole_owner()
