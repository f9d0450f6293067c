"""Storage in Redis or Valkey: one server, sentinels, or a cluster."""

from .backend import RedisStorageBackend

__all__ = ["RedisStorageBackend"]
