"""Storage in MongoDB: one document a run, whose head decides, and chunks of its older events."""

from .backend import MongoStorageBackend

__all__ = ["MongoStorageBackend"]
