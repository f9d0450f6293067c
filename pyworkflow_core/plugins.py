"""Discovery of storage backends, by entry point and through pluggy.

A backend's distribution registers an entry point in the group ``pyworkflow.backends``: its
name is a URL scheme, its value a light module with one hook implementation::

    from pyworkflow_core.plugins import BackendInfo, hookimpl

    @hookimpl
    def pyworkflow_backend() -> BackendInfo:
        return BackendInfo(open="my_package.backend:open_url", summary="…")

The module is imported when its scheme is first used or listed; it must not import a driver.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.metadata
import importlib.util
import re
from typing import Any
from urllib.parse import urlsplit

import pluggy
from msgspec import Struct

from .errors import (
    BrokenBackendError,
    ConfigurationError,
    DuplicateBackendError,
    MissingDriverError,
    UnknownBackendError,
    WorkflowError,
)
from .storage import StorageBackend

GROUP = "pyworkflow.backends"
_SECRET_OPTION = re.compile(r"([?&][\w.-]*(?:password|passwd|secret|token|key)[\w.-]*=)[^&#]+", re.I)

hookspec = pluggy.HookspecMarker("pyworkflow")
hookimpl = pluggy.HookimplMarker("pyworkflow")


class BackendInfo(Struct, frozen=True, kw_only=True):
    """What a plugin says of its backend without importing it.

    Attributes:
        open: ``module:function``; the function takes the URL and returns a `StorageBackend`.
        summary: one line for people.
        example: a URL to copy.
        extra: the extra of ``pyworkflow-core``, or the requirement, that brings the drivers.
        drivers: modules that must be importable; checked before `open` is imported.
        conformance: ``module:class`` of a `pyworkflow_core.testing.UrlSubject`, which knows how
            the conformance suite opens, cuts, restarts and cleans up the backend. Optional.
        options: which of two options its URLs take: ``migrate``, which is ``auto`` or ``never``
            (then nothing is made, and `UnsupportedSchema` says so), and ``namespace``, lower-case
            letters, digits and underscores.
    """

    open: str
    summary: str = ""
    example: str = ""
    extra: str = ""
    drivers: tuple[str, ...] = ()
    conformance: str = ""
    options: tuple[str, ...] = ()


class FoundBackend(Struct, frozen=True):
    """The plugin of one scheme.

    Attributes:
        scheme: the URL scheme it answers to.
        distribution: who registered it, with its version.
        info: what it says of itself.
    """

    scheme: str
    distribution: str
    info: BackendInfo

    def resolve(self, reference: str) -> Any:
        """What ``module:name`` of the plugin stands for.

        Raises:
            BrokenBackendError: it cannot be imported.
        """
        module, _, attribute = reference.partition(":")
        try:
            return getattr(importlib.import_module(module), attribute)
        except Exception as error:
            raise BrokenBackendError(
                f"storage backend {self.scheme!r}: {reference} cannot be imported: "
                f"{type(error).__name__}: {error}"
            ) from error


class ListedBackend(Struct, frozen=True, kw_only=True):
    """One installed backend, usable or not.

    Attributes:
        scheme: the URL scheme it answers to.
        distribution: who registered it, with its version.
        summary: one line for people.
        example: a URL to copy.
        problem: why it cannot be used; empty if it can.
    """

    scheme: str
    distribution: str
    summary: str = ""
    example: str = ""
    problem: str = ""


class BackendSpec:
    """The hooks that a backend plugin may implement."""

    @hookspec(firstresult=True)
    def pyworkflow_backend(self) -> BackendInfo:  # type: ignore[empty-body]
        """Describe the backend of this plugin."""


def open_storage(url: str) -> StorageBackend:
    """Make a handle for the storage that `url` names. It connects on first use.

    Args:
        url: ``scheme:…``; the scheme, without a ``+driver`` part, picks the backend. A
            scheme with ``+`` that is itself registered wins.

    Raises:
        UnknownBackendError: nothing installed answers to the scheme.
        DuplicateBackendError: two distributions do.
        BrokenBackendError: the plugin cannot be imported.
        MissingDriverError: its driver is not installed.
        ConfigurationError: the URL has no scheme.
    """
    found = find_backend(url)
    name, info = found.scheme, found.info
    factory = found.resolve(info.open)
    try:
        backend = factory(url)
    except WorkflowError:
        raise
    except Exception as error:
        text = str(error).replace(url, redact(url))
        raise BrokenBackendError(
            f"storage backend {name!r}: {info.open} failed: {type(error).__name__}: {text}"
        ) from None
    if not isinstance(backend, StorageBackend):
        raise BrokenBackendError(
            f"storage backend {name!r}: {info.open} returned {type(backend).__name__}, not a StorageBackend"
        )
    return backend


def find_backend(url: str) -> FoundBackend:
    """The plugin that answers to the scheme of `url`, with its drivers there.

    Raises:
        ConfigurationError: as for `open_storage`.
    """
    scheme, colon, _ = url.partition(":")
    scheme = scheme.lower()
    if not colon or not scheme:
        raise ConfigurationError(
            f"{redact(url)!r} is not a storage URL: it has no scheme. For a folder write 'file:///absolute/path'."
        )
    entries = _entry_points()
    name = scheme if scheme in entries else scheme.partition("+")[0]
    if name not in entries:
        raise UnknownBackendError(_unknown(scheme, sorted(entries)))
    info = _load(name, entries[name])
    _check_drivers(name, info)
    return FoundBackend(name, _owner(entries[name][0]), info)


def with_option(url: str, name: str, value: str) -> str:
    """The storage URL with one option set, whatever it said of it before."""
    start, _, options = _split(url)
    kept = [option for option in options.split("&") if option and option.partition("=")[0] != name]
    return f"{start}?{'&'.join([*kept, f'{name}={value}'])}"


def option_of(url: str, name: str) -> str:
    """What the storage URL says of an option; empty if nothing."""
    found = [
        text for option, _, text in (o.partition("=") for o in _split(url)[2].split("&")) if option == name
    ]
    return found[-1] if found else ""


def _split(url: str) -> tuple[str, str, str]:
    """What stands before the options, and the options. A password may hold a question mark."""
    user = re.match(r"[\w.+-]+://(?:[^/:@?]*(?::[^@]*)?@)?", url)
    begin = user.end() if user else 0
    start, mark, options = url[begin:].partition("?")
    return url[:begin] + start, mark, options


def list_backends() -> list[ListedBackend]:
    """Every installed backend, by scheme, without importing a driver. Broken ones say why."""
    return [_describe(name, found) for name, found in sorted(_entry_points().items())]


def _describe(name: str, found: list[importlib.metadata.EntryPoint]) -> ListedBackend:
    owner = ", ".join(_owner(e) for e in found)
    try:
        info = _load(name, found)
    except ConfigurationError as error:
        return ListedBackend(scheme=name, distribution=owner, problem=str(error))
    problem = ""
    try:
        _check_drivers(name, info)
    except MissingDriverError as error:
        problem = str(error)
    return ListedBackend(
        scheme=name, distribution=owner, summary=info.summary, example=info.example, problem=problem
    )


def _entry_points() -> dict[str, list[importlib.metadata.EntryPoint]]:
    found: dict[str, list[importlib.metadata.EntryPoint]] = {}
    for entry in importlib.metadata.entry_points(group=GROUP):
        same = found.setdefault(entry.name, [])
        # An installed and an editable copy of one distribution list the same entry twice.
        if all(_owner_name(entry) != _owner_name(e) or entry.value != e.value for e in same):
            same.append(entry)
    return found


def _owner_name(entry: importlib.metadata.EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else "unknown distribution"


def _owner(entry: importlib.metadata.EntryPoint) -> str:
    version = f" {entry.dist.version}" if entry.dist is not None else ""
    return _owner_name(entry) + version


def _load(name: str, found: list[importlib.metadata.EntryPoint]) -> BackendInfo:
    if len(found) > 1:
        raise DuplicateBackendError(
            f"storage backend {name!r} is registered by {' and by '.join(_owner(e) for e in found)}; "
            "uninstall one of them"
        )
    entry = found[0]
    try:
        module = entry.load()
    except Exception as error:
        raise BrokenBackendError(
            f"storage backend {name!r} of {_owner(entry)} cannot be imported: {type(error).__name__}: {error}"
        ) from error
    manager = pluggy.PluginManager("pyworkflow")
    manager.add_hookspecs(BackendSpec)
    manager.register(module, name=name)
    try:
        info = manager.hook.pyworkflow_backend()
    except Exception as error:
        raise BrokenBackendError(
            f"storage backend {name!r} of {_owner(entry)} cannot describe itself: "
            f"{type(error).__name__}: {error}"
        ) from error
    if not isinstance(info, BackendInfo):
        raise BrokenBackendError(
            f"storage backend {name!r} of {_owner(entry)}: {entry.value} has no @hookimpl function "
            "pyworkflow_backend() that returns a BackendInfo"
        )
    return info


def _check_drivers(name: str, info: BackendInfo) -> None:
    for driver in info.drivers:
        if importlib.util.find_spec(driver.partition(".")[0]) is None:
            need = f"pyworkflow-core[{info.extra}]" if info.extra.isidentifier() else info.extra or driver
            raise MissingDriverError(
                f"storage backend {name!r} needs {driver!r}, which is not installed: pip install '{need}'"
            )


def _unknown(scheme: str, names: list[str]) -> str:
    close = difflib.get_close_matches(scheme, names, 1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    have = ", ".join(names) or "none"
    return f"no storage backend answers to {scheme!r}.{hint} Installed: {have}."


def redact(url: str) -> str:
    """The URL for people: without user name and password, and without secrets among its options."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url.partition(":")[0] + ":…"
    if "@" in parts.netloc:
        url = url.replace(parts.netloc, "…@" + parts.netloc.rpartition("@")[2])
    return _SECRET_OPTION.sub(r"\1…", url)
