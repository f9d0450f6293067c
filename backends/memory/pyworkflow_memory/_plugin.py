"""The plugin: says what the memory backend is without importing it."""

from __future__ import annotations

from pyworkflow_core.plugins import BackendInfo, hookimpl


@hookimpl
def pyworkflow_backend() -> BackendInfo:
    """Describe the memory backend."""
    return BackendInfo(
        open="pyworkflow_memory.backend:open_url",
        summary="in this process's memory, gone when it ends; for tests and for trying things",
        example="memory://",
        conformance="pyworkflow_memory.conformance:MemorySubject",
    )
