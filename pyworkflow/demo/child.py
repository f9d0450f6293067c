"""The process that does the work: `python -m pyworkflow.demo.child start|resume FOLDER RUN HOLD_AFTER`.

A storage other than the demo's own is named in the environment, where other users do not see its password.

It works as any program would. Only its lease is short, so that nobody waits for it after the kill.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

from pyworkflow import FileStorageBackend, resume, start
from pyworkflow.engine.engine import SECOND, Engine, Settings, use_engine
from pyworkflow.errors import WorkflowAlreadyRunningError
from pyworkflow_core.ids import IdSource
from pyworkflow_core.plugins import open_storage
from pyworkflow_core.storage import StorageBackend

from .workflow import Place, checksum_manifest, read_names

STORAGE = "PYWORKFLOW_DEMO_STORAGE"
_PATIENCE = 60.0


def storage_of(folder: Path, url: str | None) -> StorageBackend:
    """The demo's storage: the one that `url` names, or files of its own."""
    return FileStorageBackend(base_path=folder / "runs") if url is None else open_storage(url)


async def _main(task: str, folder: Path, run_id: str) -> None:
    class OneId(IdSource):
        """The parent has chosen the run's id, to look at its log from the first event on."""

        def run_id(self) -> str:
            return run_id

    async with storage_of(folder, os.environ.get(STORAGE)) as storage:
        use_engine(Engine(storage, ids=OneId(), settings=Settings(lease=SECOND)))
        if task == "start":
            await start(checksum_manifest, len(read_names(folder)), storage=storage, wait=True)
            return
        give_up = time.monotonic() + _PATIENCE
        while True:
            try:
                await resume(run_id, storage=storage)
                return
            except WorkflowAlreadyRunningError:  # the lease of the killed process has not ended yet
                if time.monotonic() > give_up:
                    raise
                await asyncio.sleep(0.05)


if __name__ == "__main__":
    Place.folder = Path(sys.argv[2])
    Place.hold_after = int(sys.argv[4]) if sys.argv[1] == "start" else None
    asyncio.run(_main(sys.argv[1], Place.folder, sys.argv[3]))
