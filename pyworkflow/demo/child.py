"""The process that does the work: `python -m pyworkflow.demo.child start|resume FOLDER RUN HOLD_AFTER`.

It works as any program would. Only its lease is short, so that nobody waits for it after the kill.
The storage's URL is in the environment, since everybody may read a command line.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

from pyworkflow import resume, start
from pyworkflow.engine.control import wait_until_ended
from pyworkflow.engine.engine import SECOND, Engine, Settings, use_engine
from pyworkflow.errors import WorkflowAlreadyRunningError
from pyworkflow_core.ids import IdSource

from .place import QUEUE, URL_VARIABLE, storage_of
from .workflow import Place, checksum_manifest, read_names

_PATIENCE = 60.0


async def _main(task: str, folder: Path, run_id: str) -> None:
    class OneId(IdSource):
        """The parent has chosen the run's id, to look at its log from the first event on."""

        def run_id(self) -> str:
            return run_id

    url = os.environ.get(URL_VARIABLE)
    async with storage_of(folder, url) as storage:
        engine = Engine(storage, ids=OneId(), settings=Settings(lease=SECOND))
        use_engine(engine)
        if task == "start":
            files = len(read_names(folder))
            if url is None:
                await start(checksum_manifest, files, storage=storage, wait=True)
            else:
                await start(checksum_manifest, files, storage=storage, queue=QUEUE)
                await wait_until_ended(engine, run_id, here=True)
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
