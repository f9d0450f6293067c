"""What a namespace is: settled by whoever comes first, and kept for good."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from typing import Any

from msgspec import Struct

from pyworkflow_core.errors import ConfigurationError, UnsupportedSchema

from . import scripts
from .connections import Command
from .keys import meta_key, slot_of
from .options import Options

VERSION = 1
"""The version of how runs lie in Redis."""

_BUCKETS_OF_PRIMARY = 16
_FIELDS = ("version", "buckets", "feed", "tag")

Ask = Callable[[list[tuple[int, Command]]], Awaitable[list[Any]]]
"""Sends each command to the server of its slot."""


class Layout(Struct, frozen=True):
    """How a namespace was made.

    Attributes:
        buckets: into how many parts it is divided.
        feed: whether it has a feed.
        tag: what the feed's positions begin with; empty if the namespace is not made yet.
    """

    buckets: int
    feed: bool
    tag: str = ""

    def describe(self, namespace: str) -> str:
        """The layout for people."""
        made = f"version {VERSION}, made" if self.tag else "not made yet; it would be made"
        parts = "one bucket" if self.buckets == 1 else f"{self.buckets} buckets"
        return f"namespace {namespace!r}: {made} of {parts}, {'with' if self.feed else 'without'} a feed"


def plan(options: Options, kind: str, primaries: int) -> Layout:
    """How the namespace is made if nobody has."""
    buckets = options.buckets or (_BUCKETS_OF_PRIMARY * primaries if kind == "cluster" else 1)
    return Layout(buckets, bool(options.feed))


async def settle(ask: Ask, options: Options, new: Layout) -> Layout:
    """Find out how the namespace was made, or make it so.

    Raises:
        UnsupportedSchema: newer code made it; or it is not made, and ``migrate=never``.
        ConfigurationError: it was made otherwise than the options say.
    """
    key = meta_key(options.namespace)
    if options.migrate == "never":
        call: Command = ("HMGET", key, *_FIELDS)
    else:
        values = (VERSION, new.buckets, int(new.feed), secrets.token_hex(4))
        call = scripts.SETTLE_NAMESPACE.call(key, *values)
    ((version, buckets, feed, tag),) = await ask([(slot_of(key), call)])
    name = f"namespace {options.namespace!r}"
    if version is None:
        raise UnsupportedSchema(
            f"{name} is not made yet, and migrate=never forbids to make it; 'pyworkflow storage init' does",
            found=0,
            needed=VERSION,
        )
    if int(version) > VERSION:
        raise UnsupportedSchema(
            f"{name} has version {int(version)}; this backend knows {VERSION}. Upgrade pyworkflow-core here.",
            found=int(version),
            needed=VERSION,
        )
    made = Layout(int(buckets), feed == b"1", tag.decode())
    if options.feed is not None and options.feed != made.feed:
        raise ConfigurationError(
            f"{name} was made with{'' if made.feed else 'out'} a feed, and keeps that for good: "
            "use another namespace, or leave the option out"
        )
    if options.buckets is not None and options.buckets != made.buckets:
        raise ConfigurationError(
            f"{name} was made of {made.buckets} buckets, and keeps them for good: "
            "use another namespace, or leave the option out"
        )
    return made
