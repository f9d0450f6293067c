"""Storage in memory: the reference implementation of the storage contract."""

from .backend import InMemoryStorageBackend

__all__ = ["InMemoryStorageBackend"]
