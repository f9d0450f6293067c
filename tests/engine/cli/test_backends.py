"""`pyworkflow backends --check`: what a storage's settings mean."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def test_a_check_says_what_a_storage_makes_of_runs(cli: Any) -> None:
    said = cli("backends", "--check", "memory://").stdout
    assert "not durable: a crash loses runs" in said
    document = cli.json("backends", "--check", "memory://")
    assert document["capabilities"]["durable"] is False
    assert "not durable: a crash loses runs" in document["description"]


def test_a_check_makes_nothing(cli: Any, tmp_path: Path) -> None:
    done = cli("backends", "--check", f"sqlite:///{tmp_path}/runs.db", code=5)
    assert "there is nothing in" in done.stderr
    assert not (tmp_path / "runs.db").exists()


def test_a_check_of_what_cannot_be_reached_says_so(cli: Any) -> None:
    done = cli("backends", "--check", "redis://user:hidden@127.0.0.1:1", code=5)
    assert "cannot connect to 127.0.0.1:1" in done.stderr
    assert "hidden" not in done.stdout + done.stderr
