"""Writes the reference pages that follow from the code: events, errors, the front door.

`python docs/generate.py` writes them; with `--check` it only says which are out of date.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from pyworkflow_core import errors, payloads

REFERENCE = Path(__file__).parent / "reference"
NOTE = "<!-- Written by docs/generate.py from the docstrings; change them, not this page. -->\n"
TYPE_WORDS = {
    "str": "text",
    "int": "integer",
    "bool": "boolean",
    "Raw": "encoded value",
    "tuple[str, ...]": "list of text",
    "dict[str, str]": "object of text",
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
    return "\n".join(parts)


def _field_table(cls: type[payloads.Payload]) -> str:
    meanings = _inherited_meanings(cls) | _attributes(cls)
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
    return " or ".join(TYPE_WORDS.get(part, part) for part in annotation.split(" | "))


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "required"
    value = field.default_factory() if field.default is msgspec.NODEFAULT else field.default
    return "" if value is payloads.NO_RAW else f"`{msgspec.json.encode(value).decode()}`"


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


PAGES = {"events.md": events_page, "errors.md": errors_page, "api.md": api_page}


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
