"""What a storage makes of runs, in words."""

from __future__ import annotations

import asyncio

from pyworkflow_core.describing import describe
from pyworkflow_core.storage import Capabilities
from pyworkflow_memory import InMemoryStorageBackend


class Talkative(InMemoryStorageBackend):
    """A backend that declares much, and looks at its medium."""

    capabilities = Capabilities(
        durable=True, multi_process=True, clock="server", due_order="shard", failover_loss="the last second"
    )

    async def describe(self) -> list[str]:
        return ["The medium is fine."]


def test_a_backend_without_a_description_is_told_by_what_it_declares() -> None:
    said = asyncio.run(describe(InMemoryStorageBackend()))
    assert said == ["What is acknowledged may be lost in a crash.", "It is for one process at a time."]


def test_a_backends_own_words_follow_what_it_declares() -> None:
    said = asyncio.run(describe(Talkative()))
    assert said[0] == "What is acknowledged survives a crash."
    assert "A failover can lose this: the last second." in said
    assert said[-1] == "The medium is fine."
    assert len(said) == 6
