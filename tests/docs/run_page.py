"""Runs the code blocks of one page: `python run_page.py PAGE.md`, in a working directory of its own.

- ```python blocks run in order and share a namespace; `await` is allowed at top level.
- ```console blocks run each line that begins with `$ pyworkflow`; it must exit with 0.
- `<!-- no-run: reason -->` on the line above a block: Python is compiled only, a console not run.
- `<!-- exit: 2 -->` on the line above a console block: its commands exit with that instead.

A page has a process to itself, so that what it configures and registers ends with it.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import os
import re
import subprocess
import sys
import types
from dataclasses import dataclass
from pathlib import Path

FENCE = re.compile(r"(?P<indent> *)(?P<ticks>`{3,})(?P<language>\w*)\s*")
MARK = re.compile(r"\s*<!-- (?P<name>no-run|exit): (?P<value>.+?) -->\s*")


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


def run_console(block: Block, name: str) -> None:
    """Run the block's own commands, and complain about an unexpected exit."""
    expected = int(block.marks.get("exit", "0"))
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    for line in block.source.splitlines():
        if not line.startswith("$ pyworkflow"):
            continue
        done = subprocess.run(  # the page is ours: its commands are meant to run
            line[2:],
            shell=True,
            check=False,
            env=os.environ | {"PATH": path},
            timeout=60,
            stdin=subprocess.DEVNULL,
        )
        if done.returncode != expected:
            raise SystemExit(f"{name}:{block.line}: {line!r} exited with {done.returncode}, not {expected}")


def run_page(path: Path) -> None:
    """Run every block of the page in order."""
    module = types.ModuleType("__page__")
    sys.modules["__page__"] = module
    with asyncio.Runner() as runner:
        for block in blocks_of(path.read_text(encoding="utf-8")):
            if block.language == "python":
                code = compile_block(block, str(path))
                if "no-run" not in block.marks:
                    result = eval(code, module.__dict__)
                    if inspect.iscoroutine(result):
                        runner.run(result)
            elif block.language == "console" and "no-run" not in block.marks:
                sys.stdout.flush()
                run_console(block, str(path))


if __name__ == "__main__":
    run_page(Path(sys.argv[1]))
