"""The file backend."""

from pyworkflow_file import FileStorageBackend as FileStorageBackend
