"""Calls of buckets: to the right server, many in one exchange, and again where that is safe."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from redis.exceptions import (
    BusyLoadingError,
    ClusterDownError,
    MasterDownError,
    NoScriptError,
    ReadOnlyError,
    RedisError,
    TryAgainError,
)

from pyworkflow_core.errors import StorageError, StorageFull, StorageUnavailable

from .connections import Command, Lost, Server, Unreachable
from .scripts import ALL
from .topology import Topology

Call = tuple[int, Command]
"""The slot that a command is for, and the command."""

_PAUSES = (0.0, 0.02, 0.1)
_SOURCES = {script.digest: script.source for script in ALL}
# MovedError and AskError change their classes between versions of redis-py: they are told by their words.
_NOT_NOW = (BusyLoadingError, ClusterDownError, MasterDownError, ReadOnlyError, TryAgainError, Unreachable)
_ELSEWHERE = ("MOVED ", "ASK ")


class Unsealed(Lost):
    """It was done, and not confirmed in time as it was asked for."""


class Seal:
    """A command that follows all others of an exchange, and says what their answers are worth.

    Args:
        command: the command.
        holds: whether its answer confirms the others.
        lack: what it means if it does not.
    """

    def __init__(self, command: Command, holds: Callable[[Any], bool], lack: str) -> None:
        self.command = command
        self.holds = holds
        self.lack = lack


async def ask(
    topology: Topology, calls: Sequence[Call], *, again: bool = True, seal: Seal | None = None
) -> list[Any]:
    """The answer to each call; an error is one.

    Whatever surely was not done is tried again a few times: the server has not got the script, a bucket
    is elsewhere by now, another server has become primary.

    Args:
        topology: which server has which slot.
        calls: what to ask.
        again: whether a call whose answer was lost may be made again.
        seal: sent behind the calls of every server.
    """
    answers: list[Any] = [None] * len(calls)
    remaining = list(range(len(calls)))
    lost: dict[int, Lost] = {}
    for pause in (*_PAUSES, None):
        groups: dict[Server, list[int]] = {}
        for index in remaining:
            try:
                groups.setdefault(topology.server_of(calls[index][0]), []).append(index)
            except Unreachable as error:
                answers[index] = error
        exchanges = [
            _exchange(server, [calls[i][1] for i in group], seal) for server, group in groups.items()
        ]
        got = [await exchanges[0]] if len(exchanges) == 1 else await asyncio.gather(*exchanges)
        for group, theirs in zip(groups.values(), got, strict=True):
            for index, answer in zip(group, theirs, strict=True):
                answers[index] = answer
        remaining = [i for i in remaining if _may_come(answers[i], again and i not in lost)]
        lost |= {index: answer for index, answer in enumerate(answers) if isinstance(answer, Lost)}
        if not remaining or pause is None:
            break
        if not all(isinstance(answers[i], NoScriptError) for i in remaining):
            await asyncio.sleep(pause)
            await _refresh(topology)
    for index, loss in lost.items():
        if isinstance(answers[index], Exception):
            answers[index] = loss  # a later try that was refused says nothing of the one before
    return answers


def _may_come(answer: Any, again: bool) -> bool:
    """Whether another try may get an answer."""
    if not isinstance(answer, Exception):
        return False
    if isinstance(answer, Lost):
        return again and not isinstance(answer, Unsealed)
    return isinstance(answer, (NoScriptError, *_NOT_NOW)) or is_elsewhere(answer)


def is_elsewhere(error: Exception) -> bool:
    """Whether the error says that another node has the slot."""
    return type(error).__name__ in {"MovedError", "AskError"} or str(error).startswith(_ELSEWHERE)


async def _refresh(topology: Topology) -> None:
    try:
        await topology.refresh()
    except Unreachable:
        return  # the next try says so


async def _exchange(server: Server, commands: list[Command], seal: Seal | None) -> list[Any]:
    sent = commands if seal is None else [*commands, seal.command]
    try:
        answers = await server.ask(*sent)
        lacking = {
            command[1]
            for command, answer in zip(commands, answers, strict=False)
            if isinstance(answer, NoScriptError)
        }
        if lacking:
            await server.ask(*(("SCRIPT", "LOAD", _SOURCES[digest]) for digest in lacking))
    except (Unreachable, Lost) as error:
        return [error] * len(commands)
    if seal is not None and not seal.holds(answers.pop()):
        lack = Unsealed(f"{server}: {seal.lack}")
        return [answer if isinstance(answer, Exception) else lack for answer in answers]
    return answers


def typed(error: Exception) -> StorageError:
    """The error that a caller gets: for what was not done, or need not be settled."""
    text = str(error)
    if "OOM command not allowed" in text:
        return StorageFull("the server's memory is full (maxmemory): nothing was written")
    if isinstance(error, StorageError):
        return error
    if isinstance(error, (Lost, Unreachable)):
        return StorageUnavailable(text)
    if isinstance(error, RedisError):
        return StorageUnavailable(f"the server refused: {text.removeprefix('UNWRITTEN ')}")
    raise error
