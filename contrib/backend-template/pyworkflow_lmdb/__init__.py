"""Storage in an LMDB environment: a folder that several processes of one machine share."""

from .backend import LmdbStorageBackend

__all__ = ["LmdbStorageBackend"]
