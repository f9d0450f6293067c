"""How the conformance suite reaches the memory backend."""

from __future__ import annotations

from pyworkflow_core.testing import UrlSubject

from .backend import forget


class MemorySubject(UrlSubject):
    """Namespaces are names within this process.

    Args:
        template: ``memory://``, or one with a place for the namespace's name.
    """

    def __init__(self, template: str = "memory://") -> None:
        super().__init__(template if "{namespace}" in template else "memory://{namespace}")

    async def drop(self, namespace: str) -> None:
        """Forget the name, and with it everything in it."""
        forget(self.url(namespace))
