"""When what a run has done is written to its log: the words for it, and what they mean to an append."""

from __future__ import annotations

from typing import Any, Literal, get_args

from pyworkflow_core.errors import ConfigurationError

Durability = Literal["sync", "pipelined", "exit"]
"""``"sync"``: before anything follows. ``"pipelined"``: meanwhile. ``"exit"``: when the run leaves memory."""

EXIT, PIPELINED, SYNC = range(3)

WEIGHTS: dict[Durability, int] = {"exit": EXIT, "pipelined": PIPELINED, "sync": SYNC}
"""How much each of them hurries."""


def durability_of(value: Any, what: str) -> Durability:
    """The value, if it is one of the words.

    Raises:
        ConfigurationError: it is not.
    """
    if value not in get_args(Durability):
        words = ", ".join(repr(word) for word in get_args(Durability))
        raise ConfigurationError(f"{what}: durability is one of {words}, not {value!r}")
    word: Durability = value
    return word
