"""Random histories, told to the file backend through several handles and to the memory backend."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from pyworkflow_core.storage import Committed, LeaseChange
from pyworkflow_core.testing.appends import after, created, noted, suspended
from pyworkflow_memory import InMemoryStorageBackend


def random_append(rng: random.Random, records: dict[str, Any], run_id: str, step: int) -> Any:
    record = records.get(run_id)
    if record is None or rng.random() < 0.1:
        lease = LeaseChange(f"t{step}", "me", rng.randrange(40)) if rng.random() < 0.3 else None
        queue, priority = rng.choice("pq"), rng.randrange(3)
        append = created(run_id, incarnation=f"i{step}", at=rng.randrange(20), queue=queue, priority=priority)
        return type(append)(run_id, append.incarnation, 0, append.events, append.record, lease)
    if rng.random() < 0.4:
        return suspended(record, rng.choice([None, rng.randrange(40)]), prefix=f"s{step}-")
    return after(record, *[noted(f'"{step}"')] * rng.randrange(1, 4), prefix=f"e{step}-")


@pytest.mark.parametrize("seed", range(12))
def test_the_file_backend_answers_as_the_memory_backend_does(folder: Any, seed: int) -> None:
    rng = random.Random(seed)
    options = {"segment_bytes": rng.choice([300, 900, 10**6]), "catch_up_lines": rng.choice([1, 5, 2000]),
               "heads": rng.choice([1, 100]), "compact_at": rng.choice([0, 0.01, 0.5])}  # fmt: skip

    async def main() -> None:
        model = InMemoryStorageBackend()
        handles = [folder.open(**options) for _ in range(3)]
        records: dict[str, Any] = {}
        past: list[Any] = []
        claims: list[tuple[Any, Any]] = []
        for step in range(150):
            n = rng.randrange(3)
            store = handles[n]
            kind = rng.random()
            if kind < 0.5:
                names = rng.sample("abcdef", rng.randrange(1, 4))
                appends = [random_append(rng, records, name, step) for name in names]
                if past and rng.random() < 0.2:
                    again = rng.choice(past)
                    appends = [a for a in appends if a.run_id != again.run_id] + [again]
                expected = await model.commit(appends)
                assert await store.commit(appends) == expected
                for append, answer in zip(appends, expected, strict=True):
                    if isinstance(answer, Committed):
                        records[append.run_id] = await model.get(append.run_id)
                        past.append(append)
            elif kind < 0.6 and records:
                name = rng.choice(list(records))
                head = records.pop(name).head
                await model.delete(name, expected=head)
                await store.delete(name, expected=head)
            elif kind < 0.75:
                asked = {
                    "owner": "o",
                    "now": step // 4,
                    "lease": rng.randrange(1, 20),
                    "limit": rng.randrange(4),
                }
                queues = rng.choice([["p"], ["q"]])
                mine = await model.claim(**asked, queues=queues)
                theirs = await store.claim(**asked, queues=queues)
                assert [(c.run_id, c.until, c.record) for c in mine] == [
                    (c.run_id, c.until, c.record) for c in theirs
                ]
                claims += zip(mine, theirs, strict=True)
            elif kind < 0.85 and claims:
                one, other = rng.choice(claims)
                if rng.random() < 0.5:
                    assert await model.release(one) == await store.release(other)
                else:
                    assert await model.extend(one, step) == await store.extend(other, step)
            elif kind < 0.9:
                await store.close()
                if rng.random() < 0.3:
                    folder.forget("lock")
                handles[n] = folder.open(**options)
            else:
                for name in "abcdef":
                    start = rng.randrange(4)
                    assert await store.get(name) == await model.get(name)
                    assert await store.read(name, after=start) == await model.read(name, after=start)
                assert await store.find() == await model.find()
        events = sorted((await model.feed()).events, key=lambda e: (e.run_id, e.sequence))
        for store in handles:
            found = sorted((await store.feed(limit=10**6)).events, key=lambda e: (e.run_id, e.sequence))
            assert found == events[: len(found)] == events
            await store.close()
        folder.forget()
        async with folder.open(**options) as store:
            assert await store.find() == await model.find()
            for name in "abcdef":
                assert await store.read(name) == await model.read(name)

    asyncio.run(main())
