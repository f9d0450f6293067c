"""The place of a check's other process."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any, TextIO

from .child import LINE, find, make_subject
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


async def _main() -> None:
    reader = asyncio.StreamReader(limit=LINE)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    spec = json.loads(await reader.readline())
    sys.path[:] = spec["path"]
    told, sys.stdout = sys.stdout, sys.stderr  # what a backend prints must not look like an answer
    module, name = spec["function"]
    function = find(module, None, name)
    subject = make_subject(spec["subject"])
    async with ChildPlace(subject, spec["namespace"], spec["now"], spec["seed"], reader, told) as place:
        await function(place, **spec["arguments"])


if __name__ == "__main__":
    asyncio.run(_main())
