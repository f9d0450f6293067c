"""A folder with a small application in it, and the command line as a person uses it: as a process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

APPLICATION = """
import time
from pathlib import Path

from pyworkflow import continue_as_new, hook, sleep, start_child_workflow, step, workflow


@step
async def charge(order: str, amount: int) -> str:
    return f"receipt for {order}: {amount}"


@step(max_retries=0)
def find_stock() -> None:
    raise ValueError("no stock")


@step
def wait_for_go() -> str:
    Path("began").touch()
    while not Path("go").exists():
        time.sleep(0.01)
    return "went"


@workflow
async def order(name: str, amount: int = 5) -> str:
    return await charge(name, amount)


@workflow
async def approval(queue: str = "nobody") -> str:
    return f"{queue}: {await hook('approve')}"


@workflow
async def nap(seconds: float) -> str:
    await sleep(seconds)
    return "rested"


@workflow
async def family(names: list) -> list:
    return [await start_child_workflow(order, name) for name in names]


@workflow
async def countdown(left: int) -> str:
    if left:
        continue_as_new(left - 1)
    return "lift-off"


@workflow
async def fails() -> None:
    await find_stock()


@workflow(durable=False)
async def passing(number: int) -> int:
    if number < 0:
        raise ValueError("no such number")
    return 2 * number


@workflow
async def patient() -> str:
    return await wait_for_go()


@workflow
async def echo(*args, **kwargs) -> list:
    return [list(args), kwargs]


@workflow
async def odd() -> object:
    return {"a set": {1}, "bytes": b"x", "text": "ü"}


def plain() -> None:
    pass
"""


# A shell starts what it runs in the background with Ctrl-C ignored, and tests may inherit that.
HEARS_CTRL_C = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from pyworkflow.cli import main
sys.exit(main())
"""


class Cli:
    """The command line in a folder of its own.

    Attributes:
        folder: its working directory.
        environment: what its processes get.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        unwanted = {"COLUMNS", "NO_COLOR", "TERM", "PYTHONPATH"}
        self.environment = {
            name: value
            for name, value in os.environ.items()
            if name not in unwanted and not name.startswith("PYWORKFLOW_")
        }

    def __call__(
        self, *words: str, code: int | None = 0, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run one command; it must exit with `code` unless that is None."""
        done = subprocess.run(
            self.command(*words),
            cwd=self.folder,
            env=self.environment | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert code in (None, done.returncode), f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def command(self, *words: str) -> list[str]:
        """The words of a process, which like an installed script does not search the working directory."""
        return [sys.executable, "-P", "-m", "pyworkflow", *words]

    def begin(self, *words: str) -> subprocess.Popen[str]:
        """Begin a command that goes on."""
        return subprocess.Popen(
            [sys.executable, "-P", "-c", HEARS_CTRL_C, *words],
            cwd=self.folder,
            env=self.environment | {"PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def json(self, *words: str, code: int | None = 0) -> Any:
        """What a command prints with --json, which must be one document and nothing else."""
        return json.loads(self(*words, "--json", code=code).stdout)

    def error(self, *words: str, code: int) -> str:
        """The one line that a failing command prints to stderr."""
        done = self(*words, code=code)
        lines = done.stderr.splitlines()
        assert len(lines) == 1, done.stderr
        assert lines[0].startswith("error: "), done.stderr
        return lines[0].removeprefix("error: ")


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """The command line in a folder with the module `shop`."""
    (tmp_path / "shop.py").write_text(APPLICATION, encoding="utf-8")
    return Cli(tmp_path)


@pytest.fixture
def suspended(cli: Cli) -> str:
    """The id of a run that waits for the hook `approve`."""
    run_id = cli.json("run", "shop:approval", "q1", code=3)["run_id"]
    assert isinstance(run_id, str)
    return run_id


@pytest.fixture
def begun() -> Iterator[Callable[[subprocess.Popen[str]], subprocess.Popen[str]]]:
    """Ends processes that a test began, if it did not."""
    processes: list[subprocess.Popen[str]] = []

    def remember(process: subprocess.Popen[str]) -> subprocess.Popen[str]:
        processes.append(process)
        return process

    yield remember
    for process in processes:
        process.kill()
        process.communicate()
