"""The plugin: says what the MongoDB backend is without importing it, or a driver."""

from __future__ import annotations

from pyworkflow_core.plugins import BackendInfo, hookimpl


@hookimpl
def pyworkflow_backend() -> BackendInfo:
    """Describe the MongoDB backend."""
    return BackendInfo(
        open="pyworkflow_mongodb.backend:open_url",
        summary="collections of a MongoDB database, shared by workers on many machines",
        example="mongodb://user:password@host/database",
        extra="mongodb",
        drivers=("pymongo",),
        conformance="pyworkflow_mongodb.conformance:MongoSubject",
        options=("migrate", "namespace"),
    )
