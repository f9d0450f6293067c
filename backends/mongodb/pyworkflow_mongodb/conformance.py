"""How the conformance suite makes, finds and removes namespaces of MongoDB."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from bson import json_util

from pyworkflow_core.errors import UnsupportedSchema
from pyworkflow_core.plugins import open_storage
from pyworkflow_core.storage import StorageBackend
from pyworkflow_core.testing import Clock, UrlSubject

from .backend import MongoStorageBackend
from .driver import close_client, database_of, make_client
from .options import parse_url

PLACEHOLDER = "{namespace}"
GOLDEN = Path(__file__).with_name("golden")


class MongoSubject(UrlSubject):
    """Namespaces are prefixes of collections.

    Args:
        template: ``mongodb://host/database``, with other options where wanted.
    """

    default_port = 27017

    def __init__(self, template: str) -> None:
        if PLACEHOLDER not in template:
            base, _, options = template.partition("?")
            more = f"{options}&" if options else ""
            template = f"{base}?{more}namespace={PLACEHOLDER}"
        super().__init__(template)

    async def drop(self, namespace: str) -> None:
        """Remove the namespace's collections."""
        with contextlib.suppress(UnsupportedSchema):  # nobody has opened it
            async with MongoStorageBackend(self.url(namespace), migrate="never") as store:
                await store.drop()

    @asynccontextmanager
    async def open_at(
        self, namespace: str, clock: Clock, host: str, port: int
    ) -> AsyncIterator[StorageBackend]:
        """A handle that reaches one server through a proxy, and gives up soon."""
        base, _, options = self.url(namespace).partition("?")
        _, _, rest = base.partition("://")
        servers, _, database = rest.partition("/")
        user, at, _ = servers.rpartition("@")
        kept = [o for o in options.split("&") if o.partition("=")[0].lower() not in _OF_THE_WAY]
        query = "&".join([*kept, "directConnection=true", *_QUICK])
        async with open_storage(f"mongodb://{user}{at}{host}:{port}/{database}?{query}") as store:
            yield store

    @asynccontextmanager
    async def open_golden(self, namespace: str, clock: Clock) -> AsyncIterator[StorageBackend]:
        """Collections as format 1 left them; only the indexes are made anew."""
        place = parse_url(self.url(namespace), {})
        client = make_client(place)
        try:
            database = database_of(client, place.database or "pyworkflow", replicated=False)
            for line in (GOLDEN / "format-1.jsonl").read_text(encoding="utf-8").splitlines():
                name, document = json_util.loads(line)
                await database[f"{namespace}.{name}"].insert_one(document)
        finally:
            await close_client(client)
        async with self.open(namespace, clock) as store:
            yield store


_OF_THE_WAY = {"directconnection", "replicaset", "serverselectiontimeoutms", "servermonitoringmode"}
# A monitor that the server keeps waiting would be cut in the place of what is to be cut.
_QUICK = ("serverSelectionTimeoutMS=700", "serverMonitoringMode=poll", "heartbeatFrequencyMS=60000")
