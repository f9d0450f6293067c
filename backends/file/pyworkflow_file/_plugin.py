"""The plugin: says what the file backend is without importing it."""

from __future__ import annotations

from pyworkflow_core.plugins import BackendInfo, hookimpl


@hookimpl
def pyworkflow_backend() -> BackendInfo:
    """Describe the file backend."""
    return BackendInfo(
        open="pyworkflow_file.backend:open_url",
        summary="a folder on a local disk: a journal of JSON lines, synced before it answers",
        example="file:///var/lib/myapp/workflows",
        conformance="pyworkflow_file.conformance:FileSubject",
        options=("migrate",),
    )
