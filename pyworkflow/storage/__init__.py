"""The storage backends that come with the wheel, one module each."""

from pyworkflow_core.plugins import list_backends, open_storage
from pyworkflow_core.storage import StorageBackend

__all__ = ["FileStorageBackend", "InMemoryStorageBackend", "StorageBackend", "list_backends", "open_storage"]


def __getattr__(name: str) -> object:
    # Imported when somebody asks, so that listing backends never loads one.
    if name == "FileStorageBackend":
        from .file import FileStorageBackend

        return FileStorageBackend
    if name == "InMemoryStorageBackend":
        from .memory import InMemoryStorageBackend

        return InMemoryStorageBackend
    raise AttributeError(f"module 'pyworkflow.storage' has no attribute {name!r}")
