"""What tests do in another process: ``python child.py what folder …``."""

from __future__ import annotations

import asyncio
import resource
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from pyworkflow_core.errors import StorageFull
from pyworkflow_core.storage import Committed, Conflict
from pyworkflow_core.testing.appends import after, created, noted
from pyworkflow_file import FileStorageBackend


async def until_full(path: str) -> None:
    """Write up to the largest file that the process may have, and on when it may have a larger one."""
    async with FileStorageBackend(path) as store:
        append = created("a")
        await store.commit([append])
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, hard))
        done = 1
        try:
            for _ in range(100):
                append = after(append.record, noted('"' + "x" * 9000 + '"'))
                await store.commit([append])
                done += 1
        except StorageFull:
            pass
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert (await store.get("a")).head == done
        assert await store.commit([append]) == [Committed("a", done + 1)]
        print(done + 1)


async def forever(path: str, name: str) -> None:
    """Append to two runs and say so, until killed."""
    async with FileStorageBackend(path, segment_bytes=2000, catch_up_lines=7) as store:
        appends = []
        for run_id in (f"{name}-1", f"{name}-2"):
            append = created(run_id)
            await store.commit([append])
            appends.append(append)
        while True:
            appends = [after(append.record, noted(), noted()) for append in appends]
            answers = await store.commit(appends)
            print(*(answer.head for answer in answers), flush=True)


async def racing(path: str, name: str, times: str) -> None:
    """Append to one run as often as asked, learning the head from every lost race."""
    async with FileStorageBackend(path, segment_bytes=5000, catch_up_lines=20) as store:
        record = await store.get("a")
        for n in range(int(times)):
            while True:
                append = after(record, noted(f'{{"by":"{name}","n":{n}}}'), prefix=f"{name}-{n}-")
                (answer,) = await store.commit([append])
                if isinstance(answer, Committed):
                    record = append.record
                    print(append.events[0].event_id)
                    break
                assert isinstance(answer, Conflict)
                assert answer.head > record.head
                record = await store.get("a")
                assert record.head >= answer.head


if __name__ == "__main__":
    asyncio.run(globals()[sys.argv[1]](*sys.argv[2:]))
