"""Random programs against a model: what a backend answers must be what the model answers."""

from __future__ import annotations

from .running import run_programs

__all__ = ["run_programs"]
