"""The entry point: says what the backend is, without importing it."""

from pyworkflow_core.plugins import BackendInfo, hookimpl


@hookimpl
def pyworkflow_backend() -> BackendInfo:
    """Describe the toy backend."""
    return BackendInfo(
        open="toy_backend.backend:open_url",
        summary="a dictionary, for trying out plugins",
        example="toy://",
    )
