"""Settings: which of several sources holds, and when they are read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pyworkflow import configure, reset_config
from pyworkflow.config import CONFIG_FILE, get_config
from pyworkflow_core.errors import ConfigurationError


@pytest.fixture(autouse=True)
def _nothing_is_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    reset_config()
    yield
    reset_config()


def test_a_call_goes_before_the_environment_and_the_environment_before_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / CONFIG_FILE).write_text("default_retries: 7\nmax_nesting_depth: 7\nhistory_limit: 7\n")
    monkeypatch.setenv("PYWORKFLOW_MAX_NESTING_DEPTH", "8")
    monkeypatch.setenv("PYWORKFLOW_HISTORY_LIMIT", "8")
    configure(history_limit=9)
    found = get_config()
    assert (found.default_retries, found.max_nesting_depth, found.history_limit) == (7, 8, 9)


def test_file_and_environment_are_read_once_until_a_reset(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert (get_config().default_retries, get_config().history_limit) == (3, 50_000)
    (tmp_path / CONFIG_FILE).write_text("default_retries: 7\n")
    monkeypatch.setenv("PYWORKFLOW_HISTORY_LIMIT", "8")
    assert (get_config().default_retries, get_config().history_limit) == (3, 50_000)
    reset_config()
    assert (get_config().default_retries, get_config().history_limit) == (7, 8)


def test_a_call_changes_what_was_asked_for_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYWORKFLOW_DEFAULT_RETRIES", "5")
    assert get_config().default_retries == 5
    configure(default_retries=6)
    assert get_config().default_retries == 6
    configure(max_nesting_depth=1)
    assert (get_config().default_retries, get_config().max_nesting_depth) == (6, 1)


def test_a_mistake_in_the_environment_is_said_until_it_is_mended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYWORKFLOW_DEFAULT_RETRIES", "many")
    for _ in range(2):
        with pytest.raises(ConfigurationError, match="PYWORKFLOW_DEFAULT_RETRIES must be a whole number"):
            get_config()
    monkeypatch.setenv("PYWORKFLOW_DEFAULT_RETRIES", "4")
    assert get_config().default_retries == 4
