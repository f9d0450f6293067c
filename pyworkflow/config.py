"""Configuration: call argument, then `configure`, environment, file, default - the first that is set."""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from pathlib import Path
from typing import Any

from msgspec import Struct

from pyworkflow_core.errors import ConfigurationError, MissingDriverError
from pyworkflow_core.plugins import open_storage
from pyworkflow_core.storage import StorageBackend

from ._ownership import check_sole_owner
from .errors import DiscoveryError

CONFIG_FILE = "pyworkflow.config.yaml"
DEFAULT_STORAGE = "file:.pyworkflow"


class Config(Struct, frozen=True, kw_only=True):
    """The settings in force.

    Attributes:
        storage: a backend, or the URL of one.
        default_durable: whether workflows have a log unless they say otherwise.
        default_retries: retries of steps that do not say how many.
        module: the module that defines the application's workflows.
        max_nesting_depth: how deep children may have children.
        history_warning: events of one run from which on a warning is logged; 0 for never.
        history_limit: events that end a run with `HistoryLimitError`; 0 for no limit.
    """

    storage: StorageBackend | str = DEFAULT_STORAGE
    default_durable: bool = True
    default_retries: int = 3
    module: str | None = None
    max_nesting_depth: int = 3
    history_warning: int = 10_000
    history_limit: int = 50_000


_ENVIRONMENT = {
    "PYWORKFLOW_STORAGE": "storage",
    "PYWORKFLOW_DEFAULT_DURABLE": "default_durable",
    "PYWORKFLOW_DEFAULT_RETRIES": "default_retries",
    "PYWORKFLOW_MODULE": "module",
    "PYWORKFLOW_MAX_NESTING_DEPTH": "max_nesting_depth",
    "PYWORKFLOW_HISTORY_WARNING": "history_warning",
    "PYWORKFLOW_HISTORY_LIMIT": "history_limit",
}
_COUNTS = {"default_retries", "max_nesting_depth", "history_warning", "history_limit"}
_NAMES = Config.__struct_fields__
_set: dict[str, Any] = {}
_from_file: dict[str, Any] | None = None
_in_force: Config | None = None
_backends: dict[str, StorageBackend] = {}
queue_limits: dict[str, Any] = {}  # what `configure_queue` said, by queue


def configure(*, module: str | None = None, discover: bool = True, **settings: Any) -> None:
    """Set defaults for the whole process; a later call changes only what it names.

    Args:
        module: the module that defines the application's workflows.
        discover: import that module now.
        **settings: `storage` (a backend object or a URL), `default_durable`, `default_retries`,
            `max_nesting_depth` of children, `history_warning` and `history_limit` in events.

    Raises:
        ConfigurationError: an unknown setting, or a value of the wrong kind.
        DiscoveryError: the module cannot be imported.
    """
    global _in_force  # noqa: PLW0603
    if module is not None:
        settings["module"] = module
    _set.update(_checked(settings, "configure()"))
    _in_force = None
    if module is not None and discover:
        discover_workflows(module)


def configure_from_yaml(path: str | Path, discover: bool = True) -> None:
    """Set defaults from a YAML file; needs the extra ``yaml``.

    Raises:
        ConfigurationError: the file cannot be read, or holds an unknown setting.
    """
    settings = _read_yaml(Path(path))
    module = settings.pop("module", None)
    configure(module=module, discover=discover, **settings)


def get_config() -> Config:
    """The settings in force; file and environment as they were when it was asked first."""
    global _in_force  # noqa: PLW0603 - it is asked for with each run
    if _in_force is None:
        _in_force = Config(**{**_file_settings(), **_environment(), **_set})
    return _in_force


def get_storage(storage: StorageBackend | str | None = None) -> StorageBackend:
    """The storage backend in force: the argument if given, otherwise the configured one.

    One URL gives one backend object for the whole process.
    """
    chosen = storage if storage is not None else get_config().storage
    if isinstance(chosen, StorageBackend):
        return chosen
    if not isinstance(chosen, str):
        raise ConfigurationError(f"storage must be a storage backend or a URL, not {type(chosen).__name__}")
    backend = _backends.get(chosen)
    if backend is None or backend.closed:
        check_sole_owner()
        backend = _backends[chosen] = open_storage(chosen)
    return backend


def opened_storage(storage: StorageBackend | str | None = None) -> StorageBackend | None:
    """The storage backend in force, if it is there already; None where it would have to be made first."""
    chosen = storage if storage is not None else get_config().storage
    return chosen if isinstance(chosen, StorageBackend) else _backends.get(chosen)


def reset_config() -> None:
    """Forget every setting and every backend that a URL opened; for tests. Closes nothing.

    File and environment are read again when a setting is asked for next.
    """
    global _from_file, _in_force  # noqa: PLW0603
    _set.clear()
    _backends.clear()
    queue_limits.clear()
    _from_file = _in_force = None


def discover_workflows(module: str) -> None:
    """Import the module that defines workflows.

    Args:
        module: its dotted name; the working directory is searched too.

    Raises:
        DiscoveryError: it cannot be imported; the cause is chained.
    """
    here = os.getcwd()
    if here not in sys.path and "" not in sys.path:
        # For good, as 'python -m' does: what a step imports later must be found as well.
        sys.path.insert(0, here)
    try:
        importlib.import_module(module)
    except Exception as error:
        raise DiscoveryError(
            f"module {module!r} cannot be imported: {type(error).__name__}: {error}"
        ) from error


def _checked(settings: dict[str, Any], where: str) -> dict[str, Any]:
    for name, value in settings.items():
        if name not in _NAMES:
            close = difflib.get_close_matches(name, _NAMES, 1)
            hint = f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(_NAMES)}"
            raise ConfigurationError(f"{where}: unknown setting {name!r}{hint}")
        _check_value(name, value, where)
    return settings


def _check_value(name: str, value: Any, where: str) -> None:
    if name in _COUNTS:
        good = isinstance(value, int) and not isinstance(value, bool) and value >= 0
        kind = "a whole number of 0 or more"
    elif name == "storage":
        good, kind = isinstance(value, (str, StorageBackend)), "a storage backend or a URL"
    elif name == "default_durable":
        good, kind = isinstance(value, bool), "true or false"
    else:
        good, kind = value is None or isinstance(value, str), "a module's dotted name"
    if not good:
        raise ConfigurationError(f"{where}: {name} must be {kind}, not {type(value).__name__}")


def _environment() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for variable, name in _ENVIRONMENT.items():
        text = os.environ.get(variable)
        if text:
            found[name] = _from_text(name, text, variable)
    return found


def _from_text(name: str, text: str, variable: str) -> Any:
    if name == "default_durable":
        if text.lower() in {"1", "true", "yes", "on"}:
            return True
        if text.lower() in {"0", "false", "no", "off"}:
            return False
        raise ConfigurationError(f"{variable} must be true or false, not {text!r}")
    if name in _COUNTS:
        if not text.isdecimal():
            raise ConfigurationError(f"{variable} must be a whole number of 0 or more, not {text!r}")
        return int(text)
    return text


def _file_settings() -> dict[str, Any]:
    global _from_file  # noqa: PLW0603 - the file is read once a process
    if _from_file is None:
        path = Path(CONFIG_FILE)
        _from_file = _checked(_read_yaml(path), CONFIG_FILE) if path.is_file() else {}
    return _from_file


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        import yaml
    except ImportError:
        raise MissingDriverError(f"{path} needs a YAML reader: pip install 'pyworkflow-core[yaml]'") from None
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from error
    if found is None:
        return {}
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise ConfigurationError(f"{path} must hold settings, one 'name: value' a line")
    return found
