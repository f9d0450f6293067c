"""Storage in Redis or Valkey: one server, sentinels, or a cluster.

The backend is imported when somebody asks for it, since it needs its driver, which the plugin
beside it does without.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .backend import RedisStorageBackend as RedisStorageBackend

__all__ = ["RedisStorageBackend"]


def __getattr__(name: str) -> object:
    if name == "RedisStorageBackend":
        from .backend import RedisStorageBackend

        return RedisStorageBackend
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
