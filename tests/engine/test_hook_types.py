"""What answers must look like: checked before they are recorded, by whoever knows the type."""

from __future__ import annotations

import asyncio
import json
import pathlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pyworkflow import (
    InMemoryStorageBackend,
    get_workflow_run,
    hook,
    open_storage,
    resume,
    resume_hook,
    start,
    step,
    workflow,
)
from pyworkflow.engine.clock import VirtualClock
from pyworkflow.schemas import find_schema, remember_schema, schema_name

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE))
import inline_types  # noqa: E402
from inline_types import TYPES, asking  # noqa: E402
from simulated_runs import log_of, make_engine, recorded, replay  # noqa: E402

sys.path.pop(0)

NAMES = {"dataclass": "Plain", "msgspec": "Packed", "pydantic": "Model"}

ANSWER = """
import asyncio, json, sys
from pyworkflow import open_storage, resume_hook
if sys.argv[4] == "imported":
    sys.path.insert(0, sys.argv[5])
    import inline_types

async def main():
    async with open_storage(sys.argv[1]) as storage:
        try:
            await resume_hook(sys.argv[2], json.loads(sys.argv[3]), storage=storage)
        except ValueError as error:
            return "refused: " + str(error)
    return "recorded"

print(asyncio.run(main()))
"""


def answer_elsewhere(url: str, token: str, payload: Any, imported: bool) -> str:
    """Answer a hook in another process, which has imported the workflow's module or not."""
    words = [url, token, json.dumps(payload), "imported" if imported else "not imported", str(HERE)]
    done = subprocess.run([sys.executable, "-c", ANSWER, *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.parametrize("kind", TYPES)
def test_an_inline_type_is_checked_by_the_process_that_asked(kind: str) -> None:
    async def main() -> None:
        storage = InMemoryStorageBackend()
        make_engine(storage, VirtualClock())
        run_id = await start(asking, kind, storage=storage)
        for wrong in ({"amount": "many"}, {}, 5):
            with pytest.raises(ValueError, match=r"amount|Expected|valid"):
                await resume_hook(kind, wrong, storage=storage)
        await resume_hook(kind, {"amount": 5}, storage=storage)
        assert await resume(run_id, storage=storage) == [NAMES[kind], 5]
        history = await log_of(storage, run_id)
        assert replay(history) == recorded(history)

    asyncio.run(main())


@pytest.mark.parametrize("kind", TYPES)
def test_a_process_that_has_imported_the_workflow_refuses_what_does_not_fit(
    kind: str, tmp_path: Path
) -> None:
    url = f"file:{tmp_path}/runs"

    async def begin() -> str:
        async with open_storage(url) as storage:
            return await start(asking, kind, storage=storage)

    async def end(run_id: str) -> Any:
        async with open_storage(url) as storage:
            return await resume(run_id, storage=storage)

    run_id = asyncio.run(begin())
    assert answer_elsewhere(url, kind, {"amount": "many"}, True).startswith("refused: ")
    assert asyncio.run(end(run_id)) is None
    assert answer_elsewhere(url, kind, {"amount": 7}, True) == "recorded"
    assert asyncio.run(end(run_id)) == [NAMES[kind], 7]


def test_what_a_process_without_the_type_recorded_fails_in_the_workflow_and_says_why(tmp_path: Path) -> None:
    url = f"file:{tmp_path}/runs"

    async def begin() -> str:
        async with open_storage(url) as storage:
            return await start(asking, "dataclass", storage=storage)

    async def end(run_id: str) -> Any:
        async with open_storage(url) as storage:
            with pytest.raises(ValueError, match="amount") as caught:
                await resume(run_id, storage=storage)
            run = await get_workflow_run(run_id, storage)
            assert run is not None
            assert run.status == "failed"
            return caught.value.__notes__

    run_id = asyncio.run(begin())
    assert answer_elsewhere(url, "dataclass", {"amount": "many"}, False) == "recorded"
    assert "import the module of the workflow" in asyncio.run(end(run_id))[0]


def test_a_type_is_found_by_name_only_where_code_has_it() -> None:
    names = vars(inline_types)
    name = schema_name(inline_types.Packed)
    assert find_schema(name, names) is inline_types.Packed
    assert find_schema(name, {"module": inline_types}) is inline_types.Packed
    assert find_schema("builtins.int", {}) is int
    for other in ("os.system", "builtins.eval", "subprocess.Popen", "", "Packed", "other.Packed"):
        assert find_schema(other, names) is None
    assert find_schema("subprocess.Popen", {"subprocess": subprocess}) is None  # no type for data
    local = type("Local", (), {"__module__": "somewhere"})
    assert find_schema("somewhere.Local", {}) is None
    assert remember_schema(local) == "somewhere.Local"
    assert find_schema("somewhere.Local", {}) is local


def test_an_answer_may_come_before_the_workflow_waits() -> None:
    @step(name="types.slow")
    async def slow() -> str:
        return "slow"

    @workflow(name="types.early")
    async def early() -> Any:
        waiting = asyncio.ensure_future(hook("question", on_created=tokens.append))
        await asyncio.sleep(60)
        return [await slow(), await waiting]

    tokens: list[str] = []

    async def main() -> None:
        storage, clock = InMemoryStorageBackend(), VirtualClock()
        make_engine(storage, clock)
        run_id = await start(early, storage=storage)
        await resume_hook(tokens[0], "early", storage=storage)
        assert await resume(run_id, storage=storage) is None
        clock.advance(60_000_000)
        assert await resume(run_id, storage=storage) == ["slow", "early"]
        history = await log_of(storage, run_id)
        assert replay(history) == recorded(history)

    asyncio.run(main())


def test_on_received_sees_the_answer_and_may_put_something_in_its_place() -> None:
    got: list[Any] = []

    @workflow(name="types.received")
    async def received() -> Any:
        changed = await hook("a", payload_schema=int, on_received=lambda n: n * 2)
        same = await hook("b", on_received=got.append)
        return [changed, same]

    async def main() -> None:
        storage = InMemoryStorageBackend()
        make_engine(storage, VirtualClock())
        run_id = await start(received, storage=storage)
        await resume_hook(f"{run_id}:a", 21, storage=storage)
        await resume(run_id, storage=storage)
        await resume_hook(f"{run_id}:b", "as it is", storage=storage)
        assert await resume(run_id, storage=storage) == [42, "as it is"]
        assert set(got) == {"as it is"}
        history = await log_of(storage, run_id)
        assert replay(history) == recorded(history)

    asyncio.run(main())


def test_on_created_is_called_when_the_hook_is_in_the_log_and_has_its_token() -> None:
    found: list[Any] = []

    async def main() -> None:
        storage = InMemoryStorageBackend()
        make_engine(storage, VirtualClock())

        async def look(token: str) -> None:
            (record,) = [r for r in await storage.list_runs() if r.workflow]
            types = [event.type for event in await storage.read(record.run_id)]
            found.append((token, types, (await resume_hook(token, 1, storage=storage)).run_id))

        @workflow(name="types.created")
        async def created() -> Any:
            return await hook("plain", on_created=look), await hook("own", token="mine", on_created=look)

        run_id = await start(created, storage=storage)
        for _ in range(2):
            result = await resume(run_id, storage=storage)
        assert result == (1, 1)
        assert [token for token, _, _ in found] == [found[0][0], "mine"]
        assert found[0][1] == ["workflow_started", "hook_created"]
        assert found[1][1].count("hook_created") == 2

    asyncio.run(main())
