"""The memory backend."""

from pyworkflow_memory import InMemoryStorageBackend as InMemoryStorageBackend
