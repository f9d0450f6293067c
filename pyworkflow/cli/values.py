"""Values between the command line and Python: arguments in, results out."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from typing import Any, NoReturn

from msgspec import Raw

_KEYWORD = re.compile(r"([^\W\d]\w*)=(.*)", re.DOTALL)


def parse_value(text: str) -> Any:
    """The value of JSON text; any other text is itself."""
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except ValueError:
        return text


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


def parse_arguments(words: Iterable[str]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positional and keyword arguments; a word ``name=value`` is one by keyword."""
    positional: list[Any] = []
    keywords: dict[str, Any] = {}
    for word in words:
        keyword = _KEYWORD.fullmatch(word)
        if keyword is None:
            positional.append(parse_value(word))
        else:
            keywords[keyword[1]] = parse_value(keyword[2])
    return tuple(positional), keywords


def print_json(value: Any, *, line: bool = False) -> None:
    """Print one JSON document; on one line if `line`."""
    readable = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    print(json.dumps(to_plain(value), ensure_ascii=not readable, indent=None if line else 2), flush=line)


def to_plain(value: Any) -> Any:
    """The value as JSON has it; what JSON lacks becomes text."""
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, float):
        return value if value - value == 0 else repr(value)
    if isinstance(value, Mapping):
        return {k if isinstance(k, str) else repr(k): to_plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]
    return to_text(value)


def to_text(value: Any) -> str:
    """The value as text for people: JSON where it is JSON, otherwise much like its `repr`."""
    from pyworkflow_core.codec import Opaque

    from ..runs import error_text

    if isinstance(value, BaseException):
        return error_text(value)
    if isinstance(value, Opaque):
        return f"{value.type.rpartition('.')[2]}({to_text(value.value)})"
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if isinstance(value, Raw):
        return bytes(value).decode(errors="replace")
    if value is None or isinstance(value, (bool, int, float, str, Mapping, list, tuple)):
        try:
            return json.dumps(value, ensure_ascii=False, allow_nan=False)
        except (TypeError, ValueError):
            return repr(value)
    return repr(value)


def arguments_text(arguments: Any) -> str:
    """Recorded arguments, ``[positional, keywords]``, as they would stand in a call."""
    if not isinstance(arguments, (list, tuple)) or len(arguments) != 2:
        return "…"  # a digest: they were long
    positional, keywords = arguments
    words = [to_text(value) for value in positional]
    words += [f"{name}={to_text(value)}" for name, value in dict(keywords).items()]
    return ", ".join(words)
