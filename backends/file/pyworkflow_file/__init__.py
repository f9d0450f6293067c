"""Storage in a folder: one journal for all runs, and an index that can be made again from it."""

from .backend import FileStorageBackend

__all__ = ["FileStorageBackend"]
