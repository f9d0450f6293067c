"""What a storage makes of runs, in words: from what it declares, and from what it finds itself set to.

A backend whose medium has settings that matter may have a method `describe`; nothing else of
the contract depends on it.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from .storage import Capabilities, StorageBackend


@runtime_checkable
class Describes(Protocol):
    """A backend that can say what its medium's present settings mean."""

    async def describe(self) -> list[str]:
        """What the medium's settings mean for runs, a sentence each, the most important first."""


async def describe(store: StorageBackend) -> list[str]:
    """What `store` declares and what its medium is set to, a sentence each.

    Raises:
        StorageUnavailable: the medium cannot be reached.
        ConfigurationError: it is set in a way that the backend refuses.
    """
    await store.open()
    said = await store.describe() if isinstance(store, Describes) else []
    return [*_declared(store.capabilities), *said]


def _declared(capabilities: Capabilities) -> list[str]:
    lines = [
        "What is acknowledged survives a crash."
        if capabilities.durable
        else "What is acknowledged may be lost in a crash.",
        "Processes and machines may share it."
        if capabilities.multi_process
        else "It is for one process at a time.",
    ]
    if capabilities.failover_loss:
        lines.append(f"A failover can lose this: {capabilities.failover_loss}.")
    if capabilities.due_order != "global":
        lines.append("Priorities order claims within each of its parts.")
    if capabilities.clock == "server":
        lines.append("The server's clock decides what is due.")
    return lines
