"""Shorter, simpler and tidier versions of a program; nothing here runs one."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from enum import Enum
from typing import Any

import msgspec
from msgspec import Struct

from .steps import Call, Expr, Make, Ref, Reopen, Step, names_in

_DRAWN = re.compile(r"[acprt]\d+")
_NUMBERS = (0, 1, 10, 20)
"""Numbers that are easier to read than others."""


def live(steps: Sequence[Step]) -> tuple[Step, ...]:
    """The steps without the appends that nothing uses."""
    kept: list[Step] = []
    used: set[str] = set()
    for step in reversed(steps):
        if not isinstance(step, Make) or step.name in used:
            kept.append(step)
            used.update(names_in(step))
    return tuple(reversed(kept))


def is_complete(steps: Sequence[Step]) -> bool:
    """Whether every name that a step refers to was made by a step before it."""
    made: set[str] = set()
    for step in steps:
        if any(name not in made for name in names_in(step)):
            return False
        if not isinstance(step, Reopen):
            made.add(step.name)
    return True


def without_what_is_blamed(
    steps: tuple[Step, ...], law: int, blamed: int | None
) -> Iterator[tuple[Step, ...]]:
    """Programs that should break no law, if a failure is rightly attributed.

    Args:
        steps: those of the program that fails.
        law: the law that it is said to break.
        blamed: the step that is said to break it, if it is not the last.
    """
    if blamed is not None:
        yield (*steps[:blamed], *steps[blamed + 1 :])
    if law == 11:
        yield tuple(_of_last_run(steps))
    if law == 56:
        deletions = [i for i, step in enumerate(steps) if isinstance(step, Call) and step.method == "delete"]
        yield steps[deletions[-1] + 1 :] if deletions else ()
    if law == 37:
        yield tuple(step for step in steps if not isinstance(step, Reopen))
    if law == 58:
        yield tuple(s for s in steps if s is steps[-1] or not isinstance(s, Call) or s.method not in _LEASES)
    if law == 7:
        yield tuple(part for step in steps for part in _split(step))
    if law == 19:
        yield _with_one_handle(steps)
    if law == 26:
        yield tuple(_without(step, "queues") for step in steps)


def _of_last_run(steps: Sequence[Step]) -> Iterator[Step]:
    """The steps that are about no other run than the last one is."""
    run_of: dict[str, str] = {}
    for step in steps:
        if isinstance(step, Make):
            base = next(names_in(step.value), "")
            run_of[step.name] = step.value.args[0] if step.value.function == "created" else run_of[base]
    about = [_runs_of(step, run_of) for step in steps]
    for step, runs in zip(steps, about, strict=True):
        if not runs or runs & about[-1]:
            yield step


def _runs_of(step: Step, run_of: dict[str, str]) -> set[str]:
    if isinstance(step, Call) and step.method == "commit":
        return {run_of[append.name] for append in step.args[0]}
    return {step.args[0]} if isinstance(step, Call) and step.method in _BY_ID else set()


def _split(step: Step) -> Iterator[Step]:
    if isinstance(step, Call) and step.method == "commit":
        for append in step.args[0]:
            yield msgspec.structs.replace(step, args=([append],))
    else:
        yield step


def _with_one_handle(steps: Sequence[Step]) -> tuple[Step, ...]:
    return tuple(s if isinstance(s, Make) else msgspec.structs.replace(s, handle="h1") for s in steps)


def _without(step: Step, option: str) -> Step:
    if isinstance(step, Call) and option in step.options:
        options = {key: value for key, value in step.options.items() if key != option}
        return msgspec.structs.replace(step, options=options)
    return step


def simpler_programs(steps: tuple[Step, ...]) -> Iterator[tuple[Step, ...]]:
    """Programs that are a little simpler than `steps`, the greatest steps first."""
    yield _with_one_handle(steps)
    yield _renamed(steps, {"h3": "h2"})
    ids = list(dict.fromkeys(_run_ids(steps)))
    plain = dict(zip(ids, "abcdefgh", strict=False))
    if plain != {name: name for name in ids}:
        yield tuple(_map_ids(step, plain) for step in steps)
    for step in steps:
        if isinstance(step, Make) and step.value.args and isinstance(step.value.args[0], Ref):
            yield _without_append(steps, step)
    for index, step in enumerate(steps):
        for simpler in _simpler_step(step):
            yield (*steps[:index], simpler, *steps[index + 1 :])


def _without_append(steps: Sequence[Step], gone: Make) -> tuple[Step, ...]:
    """The steps without one append: what came behind it comes behind the one before."""
    kept: list[Step] = []
    for step in steps:
        if isinstance(step, Call) and step.method == "commit":
            appends = [append for append in step.args[0] if append.name != gone.name]
            if appends:
                kept.append(msgspec.structs.replace(step, args=(appends,)))
        elif isinstance(step, Make):
            value = _replaced(step.value, Ref(gone.name, None, "record"), gone.value.args[0])
            kept.append(msgspec.structs.replace(step, value=value))
        else:
            kept.append(step)
    return tuple(kept)


def _replaced(value: Expr, old: Ref, new: Any) -> Expr:
    args = tuple(
        new if part == old else _replaced(part, old, new) if isinstance(part, Expr) else part
        for part in value.args
    )
    return msgspec.structs.replace(value, args=args)


def _renamed(steps: Sequence[Step], handles: dict[str, str]) -> tuple[Step, ...]:
    return tuple(
        s if isinstance(s, Make) else msgspec.structs.replace(s, handle=handles.get(s.handle, s.handle))
        for s in steps
    )


def _simpler_step(step: Step) -> Iterator[Step]:
    if isinstance(step, Make):
        for value in _simpler_value(step.value):
            yield msgspec.structs.replace(step, value=value)
    elif isinstance(step, Call):
        if step.method == "commit":
            appends = step.args[0]
            for index in range(len(appends) if len(appends) > 1 else 0):
                yield msgspec.structs.replace(step, args=([*appends[:index], *appends[index + 1 :]],))
            return
        if step.handle != "h1":
            yield msgspec.structs.replace(step, handle="h1")
        for options in _simpler_options(step.options, keep=("owner", "now", "lease", "expected", "after")):
            yield msgspec.structs.replace(step, options=options)
        for index, part in enumerate(step.args):
            for simpler in _simpler_value(part):
                yield msgspec.structs.replace(
                    step, args=(*step.args[:index], simpler, *step.args[index + 1 :])
                )


def _simpler_value(value: Any) -> Iterator[Any]:
    if isinstance(value, Expr):
        if value.function == "after" and len(value.args) > 1:
            yield msgspec.structs.replace(value, args=value.args[:-1])
        if value.function in ("suspended", "resumed", "completed"):
            yield Expr("after", value.args[:1], {k: v for k, v in value.options.items() if k == "prefix"})
        for options in _simpler_options(value.options):
            yield msgspec.structs.replace(value, options=options)
        for index, part in enumerate(value.args):
            for simpler in _simpler_value(part):
                if simpler or value.function != "ahead":
                    args = (*value.args[:index], simpler, *value.args[index + 1 :])
                    yield msgspec.structs.replace(value, args=args)
    elif type(value) is int:
        yield from (n for n in _NUMBERS if n < value)


def _simpler_options(options: dict[str, Any], keep: tuple[str, ...] = ()) -> Iterator[dict[str, Any]]:
    for key, value in options.items():
        if key not in keep:
            yield {k: v for k, v in options.items() if k != key}
        for simpler in _simpler_value(value):
            if simpler or key not in ("lease", "limit"):
                yield {**options, key: simpler}


def tidy(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """The steps with names that count from 1: of appends, claims and pages, of rivals' events, of tokens."""
    counts: Counter[str] = Counter()
    names: dict[str, str] = {}
    for name in _drawn(steps):
        if name not in names:
            counts[name[0]] += 1
            names[name] = f"{name[0]}{counts[name[0]]}"
    return tuple(_rename(step, names) for step in steps)


def _drawn(value: Any) -> Iterator[str]:
    """The names that an author drew, in the order of their use."""
    if isinstance(value, str) and _DRAWN.fullmatch(value):
        yield value
    elif isinstance(value, Struct):
        yield from _drawn([getattr(value, name) for name in value.__struct_fields__])
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _drawn(part)
    elif isinstance(value, dict):
        yield from _drawn(list(value.values()))


def _rename(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, str) and not isinstance(value, Enum):
        return names.get(value, value)
    if isinstance(value, Struct):
        fields = {name: _rename(getattr(value, name), names) for name in value.__struct_fields__}
        return type(value)(**fields)
    if isinstance(value, list | tuple):
        return type(value)(_rename(part, names) for part in value)
    if isinstance(value, dict):
        return {key: _rename(part, names) for key, part in value.items()}
    return value


def _run_ids(steps: Sequence[Step]) -> Iterator[str]:
    for step in steps:
        value = step.value if isinstance(step, Make) else step
        if isinstance(value, Reopen):
            continue
        named = value.function == "created" if isinstance(value, Expr) else value.method in _BY_ID
        if named and isinstance(value.args[0], str):
            yield value.args[0]


_LEASES = ("claim", "extend", "release")
_BY_ID = ("read", "get", "delete")


def _map_ids(value: Any, ids: dict[str, str]) -> Any:
    """The value with other run ids; the ids of the programs are nothing else than run ids."""
    if isinstance(value, Ref):
        return msgspec.structs.replace(value, item=ids.get(value.item or "", value.item))
    if isinstance(value, Expr | Call):
        args = tuple(_map_ids(part, ids) for part in value.args)
        options = {k: _map_ids(v, ids) if k in ("run_id", "lease") else v for k, v in value.options.items()}
        return msgspec.structs.replace(value, args=args, options=options)
    if isinstance(value, Make):
        return msgspec.structs.replace(value, value=_map_ids(value.value, ids))
    if isinstance(value, str):
        return ids.get(value, value)
    if isinstance(value, list | tuple):
        return type(value)(_map_ids(part, ids) for part in value)
    return value
