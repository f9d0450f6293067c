"""The plugin: says what the backend is without importing LMDB."""

from __future__ import annotations

from pyworkflow_core.plugins import BackendInfo, hookimpl


@hookimpl
def pyworkflow_backend() -> BackendInfo:
    """Describe the LMDB backend."""
    return BackendInfo(
        open="pyworkflow_lmdb.backend:open_url",
        summary="an LMDB environment: a folder that processes of one machine share",
        example="lmdb:///var/lib/myapp/runs",
        drivers=("lmdb",),
        conformance="pyworkflow_lmdb.conformance:LmdbSubject",
    )
