"""The plugins: say what the Redis backend is for each scheme, without importing it or a driver."""

from __future__ import annotations

from pyworkflow_core.plugins import BackendInfo, hookimpl


class _Redis:
    def __init__(self, summary: str, example: str) -> None:
        self._info = BackendInfo(
            open="pyworkflow_redis.backend:open_url",
            summary=summary,
            example=example,
            extra="redis",
            drivers=("redis", "hiredis"),
            conformance="pyworkflow_redis.conformance:RedisSubject",
            options=("migrate", "namespace"),
        )

    @hookimpl
    def pyworkflow_backend(self) -> BackendInfo:
        """Describe the backend."""
        return self._info


redis = _Redis("a Redis or Valkey server, shared by workers on many machines", "redis://host:6379/0")
rediss = _Redis("the same over TLS", "rediss://user:password@host:6379/0")
sentinel = _Redis(
    "a Redis primary that sentinels name, and replace when it fails",
    "redis+sentinel://host1:26379,host2:26379/primary/0",
)
cluster = _Redis("a Redis Cluster", "redis+cluster://host1:6379,host2:6379")
