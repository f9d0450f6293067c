"""Positions of the feed: where a follower stands, as text.

A feed begins with the runs as they were at one moment, by id, and goes on with the change stream from
that moment on. The text names the namespace, so that another one's position is not taken for ours::

    NAME.s.SECONDS.NUMBER.SEQUENCE.RUN   among the runs of that moment
    NAME.t.SECONDS.NUMBER.SEQUENCE       at the begin of the stream, from that moment on
    NAME.r.TOKEN.SEQUENCE                in the stream, behind the change of that token

Sequence says how much of the next append was handed out already.
"""

from __future__ import annotations

import base64
import re
from typing import Any

from bson.timestamp import Timestamp
from msgspec import Struct

from pyworkflow_core.errors import FeedPositionLost
from pyworkflow_core.storage import Position

_MOST = 2**32 - 1
_SHAPE = re.compile(
    r"s\.(?P<s>\d{1,10}\.\d{1,10})\.(?P<at>\d{1,19})\.(?P<run>[\w-]*)|t\.(?P<t>\d{1,10}\.\d{1,10})\.(?P<behind>\d{1,19})"
    r"|r\.(?P<token>[0-9A-F]+)\.(?P<after>\d{1,19})",
    re.ASCII,
)


class Scan(Struct, frozen=True):
    """Among the runs as they were at `moment`: behind this event of this run."""

    moment: Timestamp
    run_id: str
    sequence: int


class Stream(Struct, frozen=True):
    """In the change stream: behind `token` or at its begin, and behind this event of the next append."""

    moment: Timestamp | None
    token: str
    sequence: int

    def where(self) -> dict[str, Any]:
        """Where the driver's change stream is to begin."""
        if self.moment is not None:
            return {"start_at_operation_time": self.moment}
        return {"resume_after": {"_data": self.token}}


def write_position(name: str, place: Scan | Stream) -> Position:
    """A place as text."""
    if isinstance(place, Scan):
        run = base64.urlsafe_b64encode(place.run_id.encode()).decode().rstrip("=")
        return f"{name}.s.{place.moment.time}.{place.moment.inc}.{place.sequence}.{run}"
    if place.moment is not None:
        return f"{name}.t.{place.moment.time}.{place.moment.inc}.{place.sequence}"
    return f"{name}.r.{place.token}.{place.sequence}"


def read_position(name: str, position: Position) -> Scan | Stream:
    """The place that a text stands for.

    Raises:
        FeedPositionLost: it is no position of this namespace.
    """
    owner, _, rest = position.partition(".")
    found = _SHAPE.fullmatch(rest) if owner == name else None
    if found is not None:
        try:
            if found["s"] is not None:
                run = base64.urlsafe_b64decode(found["run"] + "=" * (-len(found["run"]) % 4)).decode()
                return Scan(_moment(found["s"]), run, int(found["at"]))
            if found["t"] is not None:
                return Stream(_moment(found["t"]), "", int(found["behind"]))
            return Stream(None, found["token"], int(found["after"]))
        except ValueError:
            pass
    raise FeedPositionLost(f"{position!r} is no feed position of this namespace; begin again with None")


def _moment(text: str) -> Timestamp:
    seconds, _, place = text.partition(".")
    return Timestamp(min(int(seconds), _MOST), min(int(place), _MOST))


def next_moment(moment: Timestamp) -> Timestamp:
    """The first moment after another one."""
    return Timestamp(moment.time, moment.inc + 1)
