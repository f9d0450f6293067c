"""Workers: they claim due runs from a storage and drive them."""

from __future__ import annotations

from .stats import WorkerHealth, WorkerStats
from .worker import Worker

__all__ = ["Worker", "WorkerHealth", "WorkerStats"]
