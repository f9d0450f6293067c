"""Finding the module that defines an application's workflows, and a workflow in it."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import os
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ..errors import DiscoveryError
from .failures import UsageError

if TYPE_CHECKING:
    from ..definitions import WorkflowDefinition


def load_module(name: str) -> ModuleType:
    """Import ``package.module`` or ``path/to/file.py``; the working directory is searched too.

    Raises:
        DiscoveryError: there is no such module, or it cannot be imported.
    """
    if name.endswith(".py") or os.sep in name:
        folder, name = _of_file(Path(name))
    else:
        folder = os.getcwd()
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        known = importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        known = False
    if not known and not _broken_parent(name):
        raise DiscoveryError(
            f"there is no module {name!r}; looked in {os.getcwd()} and in this Python's packages"
        )
    try:
        return importlib.import_module(name)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        place = _place(error)
        text = f"{type(error).__name__}: {error}".rstrip(": ")
        raise DiscoveryError(f"module {name!r} cannot be imported: {text}{place}") from error


def load_configured(name: str | None) -> ModuleType | None:
    """The module given, or else the configured one, or None if there is none."""
    from ..config import get_config

    chosen = name or get_config().module
    return None if chosen is None else load_module(chosen)


def find_workflow(target: str) -> WorkflowDefinition[Any, Any]:
    """The workflow that ``MODULE:WORKFLOW`` names; ``WORKFLOW`` alone is looked for in the configured module.

    Raises:
        UsageError: the module has no such workflow.
    """
    from ..config import get_config

    module_name, colon, name = target.rpartition(":")
    if not colon:
        configured = get_config().module
        if configured is None or target.endswith(".py"):
            raise UsageError(_incomplete(target))
        module_name = configured
    module = load_module(module_name)
    return _workflow_in(module, module_name, name)


def workflows_of(module: ModuleType) -> dict[str, WorkflowDefinition[Any, Any]]:
    """The workflows that the module defines or imports, by their name in it."""
    from ..definitions import WorkflowDefinition

    return {name: value for name, value in vars(module).items() if isinstance(value, WorkflowDefinition)}


def _workflow_in(module: ModuleType, module_name: str, name: str) -> WorkflowDefinition[Any, Any]:
    from ..definitions import list_workflows

    found = workflows_of(module)
    registered = list_workflows()
    if name in found:
        return found[name]
    if name in registered:
        return registered[name]
    if name and callable(getattr(module, name, None)):
        raise UsageError(f"{name!r} in {module_name} is not a workflow: decorate it with @workflow")
    names = sorted({*found, *registered})
    if not names:
        raise UsageError(f"{module_name} defines no workflow; decorate an async function with @workflow")
    close = difflib.get_close_matches(name, names, 1)
    hint = f"did you mean {close[0]!r}?" if close else f"it has {', '.join(names[:10])}"
    raise UsageError(f"{module_name} has no workflow {name!r}; {hint}")


def _incomplete(target: str) -> str:
    try:
        names = sorted(workflows_of(load_module(target)))
    except DiscoveryError:
        return f"{target!r} does not say where the workflow is: write MODULE:WORKFLOW or FILE.py:WORKFLOW"
    choice = f"{target}:{names[0]}" if names else "MODULE:WORKFLOW"
    more = f"; it has {', '.join(names[:10])}" if len(names) > 1 else ""
    return f"{target!r} does not say which workflow: write {choice}{more}"


def _of_file(path: Path) -> tuple[str, str]:
    """The folder to search and the dotted name of a file, which may be part of a package."""
    if not path.is_file():
        raise DiscoveryError(f"there is no file {str(path)!r}")
    path = path.resolve()
    if not path.stem.isidentifier():
        raise DiscoveryError(
            f"{path.name!r} cannot be imported: {path.stem!r} is no name for a module; rename it"
        )
    parts = [path.stem]
    folder = path.parent
    while (folder / "__init__.py").is_file():
        parts.insert(0, folder.name)
        folder = folder.parent
    name = ".".join(parts)
    other = getattr(sys.modules.get(name), "__file__", None)
    if parts[0] in sys.stdlib_module_names or (other and Path(other).resolve() != path):
        raise DiscoveryError(f"{path.name!r} has the name of another module, {parts[0]!r}; rename it")
    return str(folder), name


def _broken_parent(name: str) -> bool:
    """Whether a package that holds the module is there and cannot be imported: then it says why."""
    parent = name.partition(".")[0]
    try:
        return parent != name and importlib.util.find_spec(parent) is not None and parent not in sys.modules
    except (ImportError, ValueError):
        return False


def _place(error: BaseException) -> str:
    """Where the application's own code failed."""
    if isinstance(error, SyntaxError):
        return ""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "importlib" not in f.filename]
    own = [f for f in frames if f.filename != __file__]
    return f" ({own[-1].filename}:{own[-1].lineno})" if own else ""
