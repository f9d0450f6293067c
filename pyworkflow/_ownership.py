"""Refuses to run where another distribution has put files into the import package `pyworkflow`.

Two distributions in one import package overwrite each other's modules, and what then breaks
depends on which was installed last. The names `pyworkflow` and `pyworkflow-engine` on the
public index belong to other projects with the same import package.
"""

from __future__ import annotations

import functools
import importlib.metadata
import re

from pyworkflow_core.errors import ConfigurationError

DISTRIBUTION = "pyworkflow-core"
PACKAGE = "pyworkflow"


@functools.cache
def check_sole_owner() -> None:
    """Refuse to go on if another installed distribution owns the import package too.

    Reads the file list of every installed distribution, which takes tens of milliseconds: it is
    called when the first storage is opened, not at import, and looks once a process.

    Raises:
        ConfigurationError: names both distributions and the pip command that repairs it.
    """
    owners = importlib.metadata.packages_distributions().get(PACKAGE, [])
    others = sorted({name for name in owners if _normalised(name) != DISTRIBUTION})
    if not others:
        return
    listed = " and ".join(others)
    raise ConfigurationError(
        f"the import package {PACKAGE!r} belongs to {DISTRIBUTION} and also to {listed}; each has "
        f"overwritten files of the other. Repair it with: pip uninstall -y {' '.join(others)} && "
        f"pip install --force-reinstall --no-deps {DISTRIBUTION}"
    )


def _normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
