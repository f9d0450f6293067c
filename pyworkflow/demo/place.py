"""Where the demo's run is: in its own folder, or on a storage of the user's, apart from other runs."""

from __future__ import annotations

from pathlib import Path

from pyworkflow import FileStorageBackend
from pyworkflow_core.plugins import find_backend, open_storage, option_of, redact, with_option
from pyworkflow_core.storage import StorageBackend

QUEUE = "pyworkflow-demo"
"""The queue on a storage of the user's, which no worker of theirs serves by name."""
URL_VARIABLE = "PYWORKFLOW_DEMO_STORAGE"
_LONGEST = 30


def own_url(url: str) -> str:
    """The URL with a namespace of the demo's own, where its backend has namespaces.

    Raises:
        ConfigurationError: no usable backend answers to it.
    """
    if "namespace" not in find_backend(url).info.options:
        return url
    given = option_of(url, "namespace") or "pyworkflow"
    return with_option(url, "namespace", f"{given[: _LONGEST - len('_demo')]}_demo")


def storage_of(folder: Path, url: str | None) -> StorageBackend:
    """The demo's storage, not opened yet."""
    return FileStorageBackend(base_path=folder / "runs") if url is None else open_storage(url)


def name_of(folder: Path, url: str | None) -> str:
    """The URL to look at the run with, as far as it is no secret."""
    return f"file:{folder}/runs" if url is None else redact(url)
