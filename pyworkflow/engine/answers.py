"""What an answer to a hook must look like, and how it is written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from pyworkflow_core.errors import UnserializableValueError
from pyworkflow_core.payloads import HookCreated

from ..definitions import list_workflows
from ..primitives import get_typed_hook
from ..schemas import find_schema, schema_name, to_schema
from .engine import Engine


def encode_answer(engine: Engine, workflow: str, hook: HookCreated, payload: Any) -> bytes:
    """The answer as the log holds it.

    Args:
        engine: whose codec writes.
        workflow: name of the run's workflow.
        hook: the hook.
        payload: the answer.

    Raises:
        ValueError: it does not fit the hook's type.
        UnserializableValueError: it cannot be recorded.
    """
    schema = _schema(workflow, hook)
    value = payload if schema is None else to_schema(payload, schema)
    try:
        return engine.codec.encode(value, where="payload")
    except UnserializableValueError as unwritable:
        # A typed payload travels as plain data; the workflow's side makes the type of it again.
        try:
            plain = _plain(value)
        except (TypeError, ValueError, RecursionError):
            raise unwritable from None
        return engine.codec.encode(plain, where="payload")


def _schema(workflow: str, hook: HookCreated) -> Any:
    """The type of the hook's answers; None if it has none, or this process does not know it."""
    typed = get_typed_hook(hook.hook)
    if typed is not None and hook.schema in {"", schema_name(typed.schema)}:
        return typed.schema
    if not hook.schema:
        return None
    definition = list_workflows().get(workflow)
    names: Mapping[str, Any] = {} if definition is None else getattr(definition.func, "__globals__", {})
    return find_schema(hook.schema, names)


def _plain(value: Any) -> Any:
    dump = getattr(value, "model_dump", None)
    return dump(mode="json") if dump is not None else msgspec.to_builtins(value)
