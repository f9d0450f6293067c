"""The place of a check's other process."""

from __future__ import annotations

import asyncio
import json
from typing import Any, TextIO

from .clock import Clock
from .place import Place
from .profiles import PROFILES
from .subject import Subject


class ChildPlace(Place):
    """A place on the namespace of the parent process, with a line to it."""

    def __init__(
        self,
        subject: Subject,
        namespace: str,
        now: int,
        seed: int,
        reader: asyncio.StreamReader,
        told: TextIO,
    ) -> None:
        super().__init__(subject, PROFILES["quick"], seed, namespace)
        self.clock = Clock(now)
        self._reader = reader
        self._told = told

    def tell(self, value: Any) -> None:
        """Tell the parent something that JSON has. It can be read even if this process is killed."""
        self._told.write(json.dumps(value) + "\n")
        self._told.flush()

    async def hear(self) -> Any:
        """The next thing that the parent says; waits for it. None if the parent is gone."""
        line = await self._reader.readline()
        return json.loads(line) if line else None
