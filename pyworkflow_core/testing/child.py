"""Other processes of a check: a function of the suite, run on the same subject and namespace.

The parent writes one JSON line that says what to run, then lines that the child hears; the
child writes one JSON line for each thing that it tells.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import importlib.util
import json
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import IO, TYPE_CHECKING, Any, Self

from .broken import NotChecked

if TYPE_CHECKING:
    from .subject import Subject

LINE = 2**24


class Child:
    """A child process, as its parent sees it."""

    def __init__(self, process: asyncio.subprocess.Process, errors: IO[bytes]) -> None:
        self._process = process
        self._errors = errors

    @classmethod
    async def start(cls, spec: dict[str, Any]) -> Self:
        """Start a process that runs what `spec` says."""
        # Not a pipe, which nobody would empty while the child works.
        errors = tempfile.TemporaryFile()  # noqa: SIM115
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-X", "utf8", "-m", f"{__package__}.child_place"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            limit=LINE,
        )
        child = cls(process, errors)
        await child.say({**spec, "path": sys.path})
        return child

    async def say(self, value: Any) -> None:
        """Send one value for the child to `hear`."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(value).encode() + b"\n")
        await self._process.stdin.drain()

    async def told(self) -> Any:
        """The next value that the child tells; None at its end, however it ended.

        Raises:
            RuntimeError: the child ended with an error of its own.
        """
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if line.endswith(b"\n"):
            return json.loads(line)
        if await self._process.wait() > 0:
            self._errors.seek(0)
            complaint = self._errors.read().decode(errors="replace")
            raise RuntimeError(f"a child process failed:\n{complaint[-4000:]}")
        return None

    async def told_all(self) -> list[Any]:
        """All that the child still tells before it ends."""
        values = []
        while (value := await self.told()) is not None:
            values.append(value)
        return values

    async def kill(self) -> None:
        """Kill the process at once (SIGKILL), and wait until it is gone. What it told can still be read."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        await self._process.wait()

    async def end(self) -> None:
        """Kill the process if it is still there, and let go of what it used."""
        await self.kill()
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._errors.close()


def describe_subject(subject: Subject) -> dict[str, Any]:
    """What another process needs to make an equal subject.

    Raises:
        NotChecked: it is defined where another process cannot find it.
    """
    from .subject import FactorySubject, UrlSubject

    made: Any = subject.factory if isinstance(subject, FactorySubject) else type(subject)
    qualname = getattr(made, "__qualname__", "<locals>")
    if "<" in qualname:
        raise NotChecked(
            f"another process cannot make {subject!r}: define it at the top level of a module, or give a URL"
        )
    module = sys.modules[made.__module__]
    return {
        "module": made.__module__,
        "file": getattr(module, "__file__", None),
        "name": qualname,
        "template": subject.template if isinstance(subject, UrlSubject) else None,
        "folder": str(subject.folder),
    }


def make_subject(described: dict[str, Any]) -> Subject:
    """Make the subject that `describe_subject` described."""
    from .subject import FactorySubject, Subject

    folder = Path(described["folder"])
    found = load_subject(*(described[key] for key in ("module", "file", "name", "template")), folder=folder)
    subject: Subject = found if isinstance(found, Subject) else FactorySubject(found)
    subject._folder = folder
    return subject


def load_subject(
    module: str, file: str | None, name: str, template: str | None = None, *, folder: Path | None = None
) -> Any:
    """The subject, or the function that opens handles, that a printed program names.

    Args:
        module: the module's name.
        file: its file, in case it cannot be imported by name.
        name: the class or function in it.
        template: the URL, if the class takes one.
        folder: the temporary folder of a run that goes on already.
    """
    from .subject import Subject

    found = find(module, file, name)
    if isinstance(found, type) and issubclass(found, Subject):
        subject: Any = found.__new__(found)
        if folder is not None:
            subject._folder = folder  # its own __init__ may ask for it
        subject.__init__(*([] if template is None else [template]))
        return subject
    return found


def find(module: str, file: str | None, name: str) -> Any:
    """What stands under a name in a module, or in the file that it came from."""
    found: Any = _import(module, file)
    for part in name.split("."):
        found = getattr(found, part)
    return found


def _import(name: str, file: str | None) -> ModuleType:
    if name != "__main__":
        try:
            return importlib.import_module(name)
        except ImportError:
            if file is None:
                raise
    # A test file that is no importable module, or the script that is running.
    assert file is not None
    name = "pyworkflow_subject" if name == "__main__" else name
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
