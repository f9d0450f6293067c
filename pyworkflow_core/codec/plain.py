"""Recognising values that JSON says exactly, which is what most values are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .terms import HIGH, LOW, MARK

if TYPE_CHECKING:
    from collections.abc import Iterable


def all_plain(values: Iterable[Any], room: int = 0) -> bool:
    """Whether JSON says every one of `values` exactly: text, numbers, booleans, None.

    Lists and dictionaries of such values count too, if they nest at most `room` levels deep.
    """
    for value in values:
        kind = type(value)
        if kind is str:
            continue
        if kind is int:
            if LOW <= value <= HIGH:
                continue
        elif kind is float:
            if value - value == 0.0:  # neither nan nor infinite
                continue
        elif kind is bool or value is None:
            continue
        elif room:
            if kind is dict:
                if plain_mapping(value, room - 1):
                    continue
            elif kind is list and all_plain(value, room - 1):
                continue
        return False
    return True


def plain_mapping(value: dict[Any, Any], room: int = 0) -> bool:
    """Whether JSON says `value` exactly, and nobody could take it for a tag."""
    for key in value:
        if type(key) is not str or key == MARK:
            return False
    return all_plain(value.values(), room)
