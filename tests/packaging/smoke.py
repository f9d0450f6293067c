"""A program that uses an installed pyworkflow-core: `python smoke.py wheel`, or `editable`.

`nox -s packaging` runs it far from the checkout. It opens every backend that needs no server,
and one that another distribution brings.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

import pyworkflow_core
from pyworkflow_core.events import Event, encode_body
from pyworkflow_core.payloads import EventType, WorkflowStarted
from pyworkflow_core.plugins import list_backends, open_storage
from pyworkflow_core.record import evolve
from pyworkflow_core.storage import Append, Committed, Conflict


async def append_and_read(url: str) -> None:
    """Write one event through the backend that `url` names, and read it back."""
    event = Event("run_smoke", 1, "e1", encode_body(WorkflowStarted(workflow="smoke"), 1_700_000_000_000_000))
    record = evolve(None, [event], incarnation="first")
    append = Append("run_smoke", "first", 0, (event,), record)
    async with open_storage(url) as storage:
        assert await storage.commit([append]) == [Committed("run_smoke", 1)]
        assert await storage.commit([append]) == [Committed("run_smoke", 1)]
        other = Append("run_smoke", "second", 0, (event,), evolve(None, [event], incarnation="second"))
        assert await storage.commit([other]) == [Conflict("run_smoke", 1)]
        (read,) = await storage.get_events("run_smoke")
        assert (read.sequence, read.type) == (1, EventType.WORKFLOW_STARTED)
        assert [run.run_id for run in await storage.list_runs()] == ["run_smoke"]


async def main(kind: str) -> None:
    """Use every backend that needs no server."""
    installed = Path(pyworkflow_core.__file__).is_relative_to(sys.prefix)
    assert installed is (kind == "wheel"), f"{kind}: imported from {pyworkflow_core.__file__}"
    listed = {backend.scheme: backend for backend in list_backends()}
    for scheme in ("file", "memory", "toy"):
        assert not listed[scheme].problem, listed[scheme]
    with tempfile.TemporaryDirectory() as folder:
        for url in (f"file://{Path(folder).resolve()}/runs", "memory://", "toy://"):
            await append_and_read(url)
            print(f"{url.partition(':')[0]}: appended, read back, listed")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
