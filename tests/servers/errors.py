"""What can go wrong with a server of the tests."""

from __future__ import annotations


class Unavailable(Exception):
    """A server cannot be had on this machine. The message says why, and what would bring it."""


class NotKillable(Exception):
    """This server may not be killed, because others use it."""
