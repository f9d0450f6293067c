"""Which exit code an error means, and the one line that says what happened."""

from __future__ import annotations

import os
import sys

from pyworkflow_core.errors import ConfigurationError, WorkflowError

from ..errors import HookNotFoundError, InvalidTokenError, StreamNotFoundError, WorkflowNotFoundError

FAILED = 1
USAGE = 2
SUSPENDED = 3
UNKNOWN_RUN = 4
NO_STORAGE = 5
INTERRUPTED = 130


class UsageError(ConfigurationError):
    """The command cannot be carried out as it was written."""


class CommandFailed(WorkflowError):
    """The command was carried out, and what it was for did not succeed."""


def report(error: BaseException, arguments: list[str] | None) -> int:
    """Print an error to stderr, and return the exit code for it."""
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else FAILED
    if type(error).__name__ == "Abort":
        return INTERRUPTED
    if type(error).__name__ == "NoArgsIsHelpError":
        print(str(error), file=sys.stderr)
        return USAGE
    if _debugging(arguments):
        import traceback

        # What a run failed of is worth more than the way in which this command says so.
        failed = isinstance(error, CommandFailed) and error.__cause__ is not None
        traceback.print_exception(error.__cause__ if failed else error)
    code, text = explain(error)
    first, _, rest = _without_secrets(text, arguments).partition("\n")
    print(_red(f"error: {first}"), file=sys.stderr)
    if rest.strip():
        print(rest.rstrip(), file=sys.stderr)
    return code


def explain(error: BaseException) -> tuple[int, str]:
    """Exit code and text of an error."""
    from pyworkflow_core.errors import InvalidIdError, StorageError

    if hasattr(error, "format_message"):  # typer's own: a wrong option, a missing argument
        return USAGE, _usage(error)
    if isinstance(error, (WorkflowNotFoundError, HookNotFoundError, StreamNotFoundError)):
        return UNKNOWN_RUN, str(error)
    if isinstance(error, (ConfigurationError, InvalidIdError, InvalidTokenError)):
        return USAGE, str(error)
    if isinstance(error, StorageError):
        return NO_STORAGE, f"{_words(type(error).__name__)}: {error}"
    if isinstance(error, CommandFailed):
        return FAILED, str(error)
    if isinstance(error, WorkflowError):
        return FAILED, f"{_words(type(error).__name__)}: {error}"
    return FAILED, f"{type(error).__name__}: {error} (PYWORKFLOW_DEBUG=1 shows where)"


def _usage(error: BaseException) -> str:
    text = error.format_message().rstrip(".")  # type: ignore[attr-defined]
    context = getattr(error, "ctx", None)
    text = text[:1].lower() + text[1:]
    if "no such option: -" in text and text.partition("option: -")[2][:1].isdigit():
        return f"{text}; an argument that begins with '-' comes after '--'"
    return f"{text}; see '{context.command_path} --help'" if context is not None else text


def _words(name: str) -> str:
    """``StorageUnavailable`` as ``storage unavailable``."""
    return "".join(f" {c.lower()}" if c.isupper() else c for c in name.removesuffix("Error")).strip()


def _debugging(arguments: list[str] | None) -> bool:
    given = sys.argv[1:] if arguments is None else arguments
    before_dashes = given[: given.index("--")] if "--" in given else given
    return "--debug" in before_dashes or os.environ.get("PYWORKFLOW_DEBUG", "") not in ("", "0")


def _without_secrets(text: str, arguments: list[str] | None) -> str:
    """The text without the passwords of storage URLs that this command was given."""
    from pyworkflow_core.plugins import redact

    given = sys.argv[1:] if arguments is None else arguments
    urls = [word.removeprefix("--storage=") for word in given] + [os.environ.get("PYWORKFLOW_STORAGE", "")]
    for url in urls:
        if "://" in url:
            text = text.replace(url, redact(url))
            for secret in _secrets_of(url):
                text = text.replace(secret, "…")
    return text


def _secrets_of(url: str) -> list[str]:
    """User, password and both together, as they stand in the URL and as they are meant."""
    from urllib.parse import unquote

    user, at, _ = url.partition("://")[2].partition("/")[0].rpartition("@")
    if not at:
        return []
    words = [user, user.partition(":")[2]]
    return [word for word in [*words, *map(unquote, words)] if word]


def _red(text: str) -> str:
    plain = "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb" or not sys.stderr.isatty()
    return text if plain else f"\x1b[31m{text}\x1b[0m"
