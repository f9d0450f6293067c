"""Writes the reference pages that follow from the code: events, errors, the front door, the command line.

`python docs/generate.py` writes them; with `--check` it only says which are out of date.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
import types
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import typer
from backends_page import backends_page

from pyworkflow_core import carried, errors, payloads

REFERENCE = Path(__file__).parent / "reference"
NOTE = "<!-- Written by docs/generate.py from the docstrings; change them, not this page. -->\n"
TYPE_WORDS = {
    "str": "text",
    "int": "integer",
    "bool": "boolean",
    "Raw": "encoded value",
    "tuple[str, ...]": "list of text",
    "dict[str, str]": "object of text",
    "WorkflowStarted": "the fields of `workflow_started`",
    "Carried": "[carried](#what-is-carried-over)",
    "tuple[CarriedHook, ...]": "list of `CarriedHook`",
    "tuple[CarriedChild, ...]": "list of `CarriedChild`",
    "tuple[CarriedSignal, ...]": "list of `CarriedSignal`",
    "tuple[Slot, ...]": "list of [`Slot`](#slot)",
    "tuple[int, ...]": "list of integers",
    "tuple[tuple[int, int], ...]": "list of two integers each",
    "CarriedContext | None": "`CarriedContext`, or None",
    "tuple[ScheduledRun, ...]": "list of [runs](#scheduledrun)",
    "tuple[str | None, str] | None": "list of two texts, or None",
}
COMPLETION = {"install_completion", "show_completion"}
EXIT_CODES = {
    0: "done; for `run` and `resume`: the run completed, or was enqueued",
    1: "it did not succeed: the run failed, was cancelled or is held by another process; a law is broken",
    2: "the command or the configuration is wrong",
    3: "the run is suspended: it sleeps, or waits for an answer; for `conformance`: nothing is broken, but "
    "something declared could not be checked",
    4: "there is no such run, hook or schedule",
    5: "the storage cannot be used",
    130: "stopped by Ctrl-C; a worker stops in good order instead, with 0",
    141: "whoever read the output has gone",
}


def events_page() -> str:
    """The page of every built-in event type, with its fields."""
    parts = [
        NOTE,
        "# Events\n",
        "What a run's log is made of. `event.type` is one of these names, and `event.data` a mapping\n"
        "with these fields; a field that has its default may be absent. Types that this version does not\n"
        "know are kept, and applications add their own, with a dot in the name.\n",
        "Times and durations are integer microseconds; times count from 1970 in UTC. An *encoded value*\n"
        "is read back as the value that was recorded.\n",
    ]
    for cls in payloads.PAYLOAD_CLASSES:
        parts += [f"## `{cls.TYPE.value}`\n", _prose(cls), _field_table(cls)]
        if cls is payloads.ScheduleChanged:
            run = payloads.ScheduledRun
            parts += [f"### `{run.__name__}`\n", _prose(run), _field_table(run)]
    parts.append("## What is carried over\n\nParts of `workflow_started` in a run that continues another.\n")
    for part in (
        carried.Carried,
        carried.CarriedHook,
        carried.CarriedChild,
        carried.CarriedSignal,
        carried.CarriedContext,
    ):
        parts += [f"### `{part.__name__}`\n", _prose(part), _field_table(part)]
    parts += [
        "## Parts of a queue's events\n",
        "### `Slot`\n",
        _prose(payloads.Slot),
        _field_table(payloads.Slot),
    ]
    return "\n".join(parts)


def _field_table(cls: type[msgspec.Struct]) -> str:
    meanings = _attributes(cls)
    if issubclass(cls, payloads.Payload):
        meanings = _inherited_meanings(cls) | meanings
    rows = ["| field | type | default | meaning |", "|---|---|---|---|"]
    for field in msgspec.structs.fields(cls):
        cells = f"`{field.name}`", _type(cls, field.name), _default(field), meanings.get(field.name, "")
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) + "\n" if len(rows) > 2 else "No fields.\n"


def _inherited_meanings(cls: type[payloads.Payload]) -> dict[str, str]:
    """What the first class of the same thing (a step, a sleep, a hook) says of its fields."""
    family = cls.TYPE.value.partition("_")[0]
    first = next(c for c in payloads.PAYLOAD_CLASSES if c.TYPE.value.partition("_")[0] == family)
    shared = (family, "ordinal", "at", "error", "attempt")
    found = _attributes(payloads.StepStarted) | _attributes(payloads.StepFailed) | _attributes(first)
    return {name: text for name, text in found.items() if name in shared}


def _type(cls: type, name: str) -> str:
    annotation = str(inspect.get_annotations(cls)[name])
    if annotation in TYPE_WORDS:
        return TYPE_WORDS[annotation]
    return " or ".join(TYPE_WORDS.get(part, part) for part in annotation.split(" | "))


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "required"
    value = field.default_factory() if field.default is msgspec.NODEFAULT else field.default
    return "" if value is carried.NO_RAW else f"`{msgspec.json.encode(value).decode()}`"


def errors_page() -> str:
    """The page of the core's exception tree."""
    tree = inspect.getdoc(errors) or ""
    first, last = tree.partition("::\n")[0].strip(), tree.rpartition("\n\n")[2]
    parts = [
        NOTE,
        "# Errors\n",
        first + "\n",
        f"```text\n{_literal_block(tree)}\n```\n",
        _markdown(last) + "\n",
    ]
    for name, cls in vars(errors).items():
        if inspect.isclass(cls) and cls.__module__ == errors.__name__:
            bases = " and ".join(f"`{base.__name__}`" for base in cls.__bases__)
            parts += [f"## `{name}`\n", f"Derives from {bases}.\n", _prose(cls), *_attribute_list(cls)]
    return "\n".join(parts)


def _literal_block(text: str) -> str:
    block = text.partition("::\n")[2]
    lines = [line for line in block.splitlines() if not line or line.startswith("    ")]
    return "\n".join(line[4:].replace("``", "") for line in lines).strip("\n")


def _attribute_list(cls: type) -> Iterator[str]:
    attributes = _attributes(cls)
    if attributes:
        yield "\n".join(f"- `{name}`: {text}" for name, text in attributes.items()) + "\n"


def api_page() -> str:
    """The page of everything that `import pyworkflow` offers."""
    front = importlib.import_module("pyworkflow")
    parts = [NOTE, "# The front door\n", "Every name that `pyworkflow` exports.\n"]
    for name in sorted(getattr(front, "__all__", ()), key=str.lower):
        parts += [f"## `{name}`\n", *_described(name, getattr(front, name))]
    return "\n".join(parts)


def cli_page() -> str:
    """The page of every command with its arguments and options."""
    root: Any = typer.main.get_command(importlib.import_module("pyworkflow.cli.app").app)
    parts = [
        NOTE,
        "# The command line\n",
        "`pyworkflow COMMAND`, or `python -m pyworkflow COMMAND`. Results go to stdout; progress, logs and\n"
        "errors to stderr. An error is one line that begins with `error:`.\n",
        "## Exit codes\n",
        "| code | meaning |\n|---|---|",
        *(f"| {code} | {meaning} |" for code, meaning in EXIT_CODES.items()),
        "\n## Options of every command\n",
        "They may stand before the command too. A command to which one means nothing lacks it.\n",
        _options(p for p in root.params if p.name not in COMPLETION),
        "`--install-completion` sets up completion of commands, run ids, statuses and backends for your\n"
        "shell; `--show-completion` prints what it would set up. `--help` explains every command.\n",
        "From the environment come `PYWORKFLOW_STORAGE`, `PYWORKFLOW_MODULE`, `PYWORKFLOW_DEBUG=1` for\n"
        "`--debug`, `NO_COLOR`, and `COLUMNS` for the width of tables. An option given wins.\n",
    ]
    for words, command in _commands(root, "pyworkflow"):
        own = [p for p in command.params if p.name not in {"storage", "as_json", "debug"}]
        usage = " ".join([words, *(a.metavar for a in own if a.param_type_name == "argument"), "[OPTIONS]"])
        text = _markdown(inspect.cleandoc(command.help or ""))
        parts += [f"## `{words}`\n", f"```text\n{usage}\n```\n", text + "\n"]
        parts += [_options(own)] if own else []
    return "\n".join(parts)


def _commands(group: Any, words: str) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, f"{words} {name}")
        else:
            yield f"{words} {name}", command


def _options(parameters: Iterable[Any]) -> str:
    rows = ["| argument or option | meaning |", "|---|---|"]
    for parameter in parameters:
        if parameter.param_type_name == "argument":
            name = parameter.metavar
        else:
            name = ", ".join(sorted(parameter.opts, key=len)) + (f" {m}" if (m := parameter.metavar) else "")
        default = parameter.default
        shown = isinstance(default, (str, int)) and not isinstance(default, bool)
        text = parameter.help + (f" Default: `{default}`." if shown else "")
        rows.append(f"| `{name}` | {_markdown(text)} |")
    return "\n".join(rows) + "\n"


def _described(name: str, value: Any) -> Iterator[str]:
    described = inspect.isclass(value) or inspect.isroutine(value) or isinstance(value, types.ModuleType)
    if inspect.isroutine(value):
        yield f"```text\n{_signature(name, value)}\n```\n"
    if described:
        yield _reformat(inspect.getdoc(value) or "")
    else:
        yield f"A constant: `{value!r}`.\n"


def _signature(name: str, value: Any) -> str:
    try:
        text = str(inspect.signature(value))
    except ValueError:
        text = "(…)"
    # A default that has no literal form shows an address, which differs from run to run.
    text = re.sub(r"<([\w.]+) [^<>]* at 0x[0-9a-f]+>", r"<\1>", text).replace("'", "")
    return f"{'async ' if inspect.iscoroutinefunction(value) else ''}{name}{text}"


def _reformat(docstring: str) -> str:
    """A Google-style docstring as Markdown: sections in bold, their entries as lists, code fenced."""
    out: list[str] = []
    in_section = in_code = False
    for line in [*docstring.splitlines(), ""]:
        indented = line.startswith("    ")
        if in_code and line.strip() and not indented:
            out.append("```\n")
            in_code = False
        if line in ("Args:", "Returns:", "Raises:", "Attributes:", "Yields:"):
            in_section = True
            out.append(f"**{line[:-1]}**\n")
        elif in_section and indented:
            entry = re.fullmatch(r"    (\*{0,2}[\w.]+): (.*)", line)
            out.append(f"- `{entry[1]}`: {_markdown(entry[2])}" if entry else _markdown(line.strip()))
        elif line.endswith("::"):
            out += [_markdown(line[:-1]), "", "```text"]
            in_code = True
        elif in_code:
            out.append(line[4:])
        else:
            in_section = in_section and not line
            out.append(_markdown(line))
    if in_code:
        out.append("```")
    return "\n".join(out).strip() + "\n"


def _prose(cls: type) -> str:
    text = (inspect.getdoc(cls) or "").partition("Attributes:")[0].strip()
    return _markdown(text) + "\n"


def _attributes(cls: type) -> dict[str, str]:
    """What the docstring's `Attributes` section says of each name, on one line."""
    found: dict[str, str] = {}
    name = ""
    for line in (inspect.getdoc(cls) or "").partition("Attributes:")[2].splitlines():
        entry = re.fullmatch(r"    (\w+): (.*)", line)
        if entry:
            name = entry[1]
            found[name] = _markdown(entry[2])
        elif name and line.strip():
            found[name] += " " + _markdown(line.strip())
    return found


def _markdown(text: str) -> str:
    return text.replace("``", "`").replace("|", "\\|")


def _backends_page() -> str:
    return backends_page(NOTE.replace("the docstrings; change them", "kept reports of the suite; renew them"))


PAGES = {
    "events.md": events_page,
    "errors.md": errors_page,
    "api.md": api_page,
    "cli.md": cli_page,
    "backends.md": _backends_page,
}


def stale_pages() -> list[str]:
    """Names of the generated pages whose file does not say what the code says now."""
    return [name for name, page in PAGES.items() if not _is_current(REFERENCE / name, page())]


def _is_current(path: Path, text: str) -> bool:
    return path.exists() and path.read_text(encoding="utf-8") == text


def main(arguments: list[str]) -> int:
    """Write the pages, or with ``--check`` only name those that are out of date."""
    stale = stale_pages()
    if "--check" in arguments:
        print("\n".join(f"docs/reference/{name} is out of date" for name in stale) or "all pages are current")
        return 1 if stale else 0
    for name in stale:
        (REFERENCE / name).write_text(PAGES[name](), encoding="utf-8")
        print(f"wrote docs/reference/{name}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
