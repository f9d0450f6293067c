"""The laws of a storage backend, and the checks that prove each of them.

One module for a topic of the laws. A check is an async function of a `Place`: it opens
handles, calls them, and compares with `same`, `holds` and `raises`. Checks are printed as
programs when they fail, so they use nothing but module-level names.
"""

from __future__ import annotations

import importlib
import pkgutil


def load_all() -> None:
    """Import every module of this package, so that its checks are registered."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
