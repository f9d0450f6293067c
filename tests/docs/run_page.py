"""Runs the code blocks of one page: `python run_page.py [--walk] PAGE.md`, in a working directory of its own.

- ```python blocks run in order and share a namespace; `await` is allowed at top level.
- ```console blocks run each line that begins with `$ pyworkflow`, `$ python FILE.py` or `$ sleep`,
  environment variables before it included; it must exit with 0.
- `<!-- no-run: reason -->` on the line above a block: Python is compiled only, a console not run.
- `<!-- file: orders.py -->` on the line above a block: it becomes that file instead of being run.
- `<!-- more: orders.py -->` on the line above a block: it goes on at the end of that file, two lines below.
- `<!-- change: orders.py -->` on the line above a block: a function of that file gets this text instead.
- `<!-- exit: 2 -->` on the line above a console block: its commands exit with that instead.

With `--walk` the page is followed to the letter: every line of a console block that begins with `$ ` is
run, and what is shown below it must be printed, in that order, where `…` stands for anything.

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
MARK = re.compile(r"\s*<!-- (?P<name>no-run|exit|file|more|change): (?P<value>.+?) -->\s*")
COMMAND = re.compile(r"\$ (?:[A-Z_]+=\S+ )*(?:pyworkflow|python \w+\.py\b|sleep \d)")
INTO_A_FILE = {"file", "more", "change"}
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


def write_block(block: Block) -> None:
    """Write a block that is a file, a further part of one, or another version of a function in one."""
    if "file" in block.marks:
        Path(block.marks["file"]).write_text(block.source, encoding="utf-8")
    elif "more" in block.marks:
        path = Path(block.marks["more"])
        path.write_text(f"{path.read_text(encoding='utf-8')}\n\n{block.source}", encoding="utf-8")
    else:
        _change_function(Path(block.marks["change"]), block.source)


def _change_function(path: Path, source: str) -> None:
    text = path.read_text(encoding="utf-8")
    (new,) = ast.parse(source).body
    assert isinstance(new, ast.FunctionDef)
    (old,) = [node for node in ast.parse(text).body if getattr(node, "name", None) == new.name]
    lines = text.splitlines(keepends=True)
    lines[old.lineno - 1 : old.end_lineno] = [source]
    path.write_text("".join(lines), encoding="utf-8")


def run_console(block: Block, name: str, ids: dict[str, str], *, walk: bool = False) -> None:
    """Run the block's commands, and complain about an unexpected exit.

    Args:
        block: the block.
        name: the page, for messages.
        ids: run ids as the page shows them, with the real ones; those of this block are added.
        walk: run every command, and compare what it prints.
    """
    expected = int(block.marks.get("exit", "0"))
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    lines = block.source.splitlines()
    for number, line in enumerate(lines):
        if not (line.startswith("$ ") if walk else COMMAND.match(line)):
            continue
        if walk and line.startswith("$ cd "):
            os.chdir(line[5:])
            continue
        command = RUN_ID.sub(lambda shown: ids.get(shown[0], shown[0]), line[2:])
        done = subprocess.run(  # the page is ours: its commands are meant to run
            command,
            shell=True,
            check=False,
            env=os.environ | {"PATH": path},
            timeout=900 if walk else 60,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        print(f"$ {command}\n{done.stdout}", end="", flush=True)
        # A shell says 137 for a process that signal 9 killed; without one in between it is -9.
        code = done.returncode if done.returncode >= 0 else 128 - done.returncode
        if code != expected:
            raise SystemExit(f"{name}:{block.line}: {line!r} exited with {code}, not {expected}")
        shown = list(itertools.takewhile(lambda text: not text.startswith("$ "), lines[number + 1 :]))
        if walk and (missing := _first_not_printed(shown, done.stdout)) is not None:
            raise SystemExit(f"{name}:{block.line}: {line!r} did not print {missing!r} there")
        ids.update(zip(_new_ids("\n".join(shown), ids), _new_ids(done.stdout, ids.values()), strict=False))


def _first_not_printed(shown: list[str], printed: str) -> str | None:
    """The first of the shown lines that was not printed behind the ones before it."""
    rest = iter(printed.splitlines())
    for line in shown:
        words = [re.escape(word).replace("…", ".*") for word in RUN_ID.sub("…", line).split()]
        if not any(re.fullmatch(r"\s*" + r"\s+".join(words) + r"\s*", there) for there in rest):
            return line
    return None


def _new_ids(text: str, known: Collection[str]) -> list[str]:
    return [run_id for run_id in dict.fromkeys(RUN_ID.findall(text)) if run_id not in known]


def run_page(path: Path, *, walk: bool = False) -> None:
    """Run every block of the page in order."""
    sys.path.insert(0, os.getcwd())  # as for a program, so that a block can import a file of its page
    module = types.ModuleType("__page__")
    sys.modules["__page__"] = module
    with asyncio.Runner() as runner:
        ids: dict[str, str] = {}
        for block in blocks_of(path.read_text(encoding="utf-8")):
            if INTO_A_FILE & block.marks.keys():
                write_block(block)
            if block.language == "python":
                code = compile_block(block, str(path))
                if not (INTO_A_FILE | {"no-run"}) & block.marks.keys():
                    result = eval(code, module.__dict__)
                    if inspect.iscoroutine(result):
                        runner.run(result)
            elif block.language == "console" and "no-run" not in block.marks:
                sys.stdout.flush()
                run_console(block, str(path), ids, walk=walk)


if __name__ == "__main__":
    run_page(Path(sys.argv[-1]).resolve(), walk="--walk" in sys.argv[1:-1])
