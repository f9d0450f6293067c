"""How the conformance suite makes, finds and removes namespaces in Redis."""

from __future__ import annotations

from pyworkflow_core.testing import UrlSubject
from pyworkflow_core.testing.subject import PLACEHOLDER

from .backend import RedisStorageBackend


class RedisSubject(UrlSubject):
    """Namespaces are prefixes of keys. Without other options they have a feed."""

    default_port = 6379

    def __init__(self, template: str) -> None:
        if PLACEHOLDER not in template:
            template += f"{'&' if '?' in template else '?'}namespace={PLACEHOLDER}"
        if "feed=" not in template:
            template += "&feed=1"
        super().__init__(template)

    async def drop(self, namespace: str) -> None:
        """Remove the namespace's keys."""
        async with RedisStorageBackend(self.url(namespace)) as store:
            await store.drop()
