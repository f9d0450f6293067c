"""Runs the code blocks of one page: `python run_page.py PAGE.md`, in a working directory of its own.

- ```python blocks run in order and share a namespace; `await` is allowed at top level.
- ```console blocks run each line that begins with `$ pyworkflow`, `$ python FILE.py` or `$ sleep`,
  environment variables before it included; it must exit with 0.
- `<!-- no-run: reason -->` on the line above a block: Python is compiled only, a console not run.
- `<!-- file: orders.py -->` on the line above a block: it becomes that file instead of being run.
- `<!-- exit: 2 -->` on the line above a console block: its commands exit with that instead.

A run's id that a console block shows stands for the id that its command really printed: later
commands that name it get the real one.

A page has a process to itself, so that what it configures and registers ends with it.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import itertools
import os
import re
import subprocess
import sys
import types
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

FENCE = re.compile(r"(?P<indent> *)(?P<ticks>`{3,})(?P<language>\w*)\s*")
MARK = re.compile(r"\s*<!-- (?P<name>no-run|exit|file): (?P<value>.+?) -->\s*")
COMMAND = re.compile(r"\$ (?:[A-Z_]+=\S+ )*(?:pyworkflow|python \w+\.py\b|sleep \d)")
RUN_ID = re.compile(r"\brun_[0-9a-z]{20,26}\b")


@dataclass(frozen=True)
class Block:
    """One fenced block: what it is, where its first line stands, and what is said above it."""

    language: str
    line: int
    source: str
    marks: dict[str, str]


def blocks_of(text: str) -> list[Block]:
    """Every fenced block of a page.

    Raises:
        ValueError: a block is not closed, or a mark stands above no block.
    """
    lines = text.splitlines()
    found = []
    marks: dict[str, str] = {}
    number = 0
    while number < len(lines):
        line = lines[number]
        number += 1
        if mark := MARK.fullmatch(line):
            marks[mark["name"]] = mark["value"]
            continue
        fence = FENCE.fullmatch(line)
        if fence is None:
            if marks:
                raise ValueError(f"line {number}: a mark stands directly above the block that it is for")
            continue
        first = number
        while number < len(lines) and lines[number].strip() != fence["ticks"]:
            number += 1
        if number == len(lines):
            raise ValueError(f"line {first}: the block is not closed")
        body = [text.removeprefix(fence["indent"]) for text in lines[first:number]]
        found.append(Block(fence["language"], first + 1, "\n".join(body) + "\n", marks))
        marks = {}
        number += 1
    return found


def compile_block(block: Block, name: str) -> types.CodeType:
    """Compile so that a traceback names the page and its line."""
    source = "\n" * (block.line - 1) + block.source
    code: types.CodeType = compile(
        source, name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True
    )
    return code


def run_console(block: Block, name: str, ids: dict[str, str]) -> None:
    """Run the block's own commands, and complain about an unexpected exit.

    Args:
        block: the block.
        name: the page, for messages.
        ids: run ids as the page shows them, with the real ones; those of this block are added.
    """
    expected = int(block.marks.get("exit", "0"))
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    lines = block.source.splitlines()
    for number, line in enumerate(lines):
        if not COMMAND.match(line):
            continue
        command = RUN_ID.sub(lambda shown: ids.get(shown[0], shown[0]), line[2:])
        done = subprocess.run(  # the page is ours: its commands are meant to run
            command,
            shell=True,
            check=False,
            env=os.environ | {"PATH": path},
            timeout=60,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        print(f"$ {command}\n{done.stdout}", end="", flush=True)
        # A shell says 137 for a process that signal 9 killed; without one in between it is -9.
        code = done.returncode if done.returncode >= 0 else 128 - done.returncode
        if code != expected:
            raise SystemExit(f"{name}:{block.line}: {line!r} exited with {code}, not {expected}")
        shown = itertools.takewhile(lambda text: not text.startswith("$ "), lines[number + 1 :])
        ids.update(zip(_new_ids("\n".join(shown), ids), _new_ids(done.stdout, ids.values()), strict=False))


def _new_ids(text: str, known: Collection[str]) -> list[str]:
    return [run_id for run_id in dict.fromkeys(RUN_ID.findall(text)) if run_id not in known]


def run_page(path: Path) -> None:
    """Run every block of the page in order."""
    sys.path.insert(0, os.getcwd())  # as for a program, so that a block can import a file of its page
    module = types.ModuleType("__page__")
    sys.modules["__page__"] = module
    with asyncio.Runner() as runner:
        ids: dict[str, str] = {}
        for block in blocks_of(path.read_text(encoding="utf-8")):
            if "file" in block.marks:
                Path(block.marks["file"]).write_text(block.source, encoding="utf-8")
            if block.language == "python":
                code = compile_block(block, str(path))
                if not {"no-run", "file"} & block.marks.keys():
                    result = eval(code, module.__dict__)
                    if inspect.iscoroutine(result):
                        runner.run(result)
            elif block.language == "console" and "no-run" not in block.marks:
                sys.stdout.flush()
                run_console(block, str(path), ids)


if __name__ == "__main__":
    run_page(Path(sys.argv[1]))
