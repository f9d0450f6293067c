"""What a URL says to the driver: read as the kinds that the driver takes, or refused by name.

In a URL everything is text. SQLAlchemy reads the options that all of a database's drivers have in
common and hands the rest on as it is, which a driver then stumbles over in words of its own.
"""

from __future__ import annotations

import difflib
import inspect
import ssl
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from sqlalchemy import URL

from pyworkflow_core.errors import ConfigurationError

_TRUE = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
_KINDS = {bool: "1 or 0", int: "a whole number", float: "a number"}
_LIBPQ_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")


def read_bool(text: str) -> bool:
    """1, true, yes, 0, false or no.

    Raises:
        ValueError: something else.
    """
    try:
        return _TRUE[text.lower()]
    except KeyError:
        raise ValueError(text) from None


def read_options(
    url: URL, connect: Callable[..., object], kinds: Mapping[str, type], ours: Iterable[str]
) -> tuple[URL, dict[str, Any]]:
    """The URL without the options in `kinds`, and those options as values.

    Args:
        url: the database, without the options of the storage.
        connect: what the driver connects with; its other arguments may be in the URL as text.
        kinds: the options that are no text.
        ours: names of options of the storage, for who mistyped one.

    Raises:
        ConfigurationError: an option that neither has, or a value that it cannot have.
    """
    allowed = {*inspect.signature(connect).parameters, *kinds} - {"self", "args", "kwargs"}
    read: dict[str, Any] = {}
    for name, value in url.query.items():
        text = value if isinstance(value, str) else value[-1]
        if name not in allowed:
            near = difflib.get_close_matches(name, [*allowed, *ours], 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ConfigurationError(f"neither the storage nor the driver has an option {name!r}{hint}")
        if name in kinds:
            kind = kinds[name]
            try:
                read[name] = read_bool(text) if kind is bool else kind(text)
            except ValueError:
                raise ConfigurationError(f"option {name}={text!r} is not {_KINDS[kind]}") from None
    return url.difference_update_query(list(read)), read


def make_postgresql_tls(options: Mapping[str, Any]) -> ssl.SSLContext | str | None:
    """What asyncpg's `ssl` is for options in the words of libpq: `ssl` or `sslmode`, and three files.

    Raises:
        ConfigurationError: there is no such mode, or a file cannot be used.
    """
    files = {name: options[name] for name in ("sslrootcert", "sslcert", "sslkey") if name in options}
    mode: str | None = options.get("sslmode", options.get("ssl"))
    if mode is None:
        mode = "verify-full" if "sslrootcert" in files else "require" if files else None
    if mode is not None and mode not in _LIBPQ_MODES:
        raise ConfigurationError(f"option ssl={mode!r}: there are {', '.join(_LIBPQ_MODES)}")
    if not files:
        return mode  # asyncpg knows these words
    if mode in {"disable", "allow", "prefer"}:
        raise ConfigurationError(f"ssl={mode} goes on without TLS; with {min(files)} say require or more")
    verified = mode in {"verify-ca", "verify-full"}
    context = make_context(ca=files.get("sslrootcert"), verified=verified, named=mode == "verify-full")
    load_certificate(context, files.get("sslcert"), files.get("sslkey"))
    return context


def make_mysql_tls(options: Mapping[str, Any]) -> ssl.SSLContext | None:
    """What asyncmy's `ssl` is for the options in the words of its kin; None for no TLS.

    Raises:
        ConfigurationError: a file cannot be used, or `ssl=0` stands beside other options.
    """
    if not options:
        return None
    if not options.get("ssl", True):
        if len(options) > 1:
            raise ConfigurationError(f"ssl=0 means no TLS; leave it out, or {min(set(options) - {'ssl'})}")
        return None
    verified = options.get("ssl_verify_cert", True)
    context = make_context(
        ca=options.get("ssl_ca"),
        folder=options.get("ssl_capath"),
        verified=verified,
        named=verified and options.get("ssl_check_hostname", True),
    )
    load_certificate(context, options.get("ssl_cert"), options.get("ssl_key"))
    if "ssl_cipher" in options:
        try:
            context.set_ciphers(options["ssl_cipher"])
        except ssl.SSLError as error:
            raise ConfigurationError(f"option ssl_cipher: {error}") from None
    return context


def make_context(*, ca: str | None, verified: bool, named: bool, folder: str | None = None) -> ssl.SSLContext:
    """A context for a client. Without `verified` anybody's certificate will do.

    Raises:
        ConfigurationError: the certificates to trust cannot be read.
    """
    try:
        context = ssl.create_default_context(cafile=ca, capath=folder)
    except OSError as error:
        raise ConfigurationError(f"the certificates to trust, {ca or folder}: {error}") from None
    context.check_hostname = named
    context.verify_mode = ssl.CERT_REQUIRED if verified else ssl.CERT_NONE
    return context


def load_certificate(context: ssl.SSLContext, certificate: str | None, key: str | None) -> None:
    """Show the server who asks.

    Raises:
        ConfigurationError: the files cannot be read, or there is a key alone.
    """
    if certificate is None:
        if key is not None:
            raise ConfigurationError(f"the key {key} has no certificate; name it, too")
        return
    try:
        # Without this a key with a passphrase would ask for it on the terminal.
        context.load_cert_chain(certificate, key, password=lambda: "")
    except OSError as error:
        raise ConfigurationError(f"the certificate {certificate} and its key: {error}") from None
