"""What a server's settings mean for runs, in sentences for people."""

from __future__ import annotations

from .options import Options
from .settings import Facts


def describe(facts: list[Facts], options: Options) -> list[str]:
    """What the servers' settings mean, a sentence each."""
    return [f"{server.name}: {sentence}" for server in facts for sentence in _describe(server, options)]


def _describe(server: Facts, options: Options) -> list[str]:
    version = ".".join(map(str, server.version))
    return [
        f"Redis {version}, {server.used / 1e6:.0f} MB in use.",
        _persistence(server, options),
        _memory(server),
    ]


def _persistence(server: Facts, options: Options) -> str:
    if server.appendonly is None:
        return (
            "NOT DURABLE as far as can be seen: the server does not tell whether it has an append-only file."
        )
    if not server.appendonly:
        return (
            "NOT DURABLE: appendonly is off, so a restart loses everything since the last snapshot, or all. "
            "Set appendonly yes."
        )
    if server.appendfsync == "always":
        return "durable: every append is synced to disk before it is acknowledged (appendfsync always)."
    if options.ack == "always":
        return "durable: an append is acknowledged when the server has synced it (ack=always, by WAITAOF)."
    if server.appendfsync == "everysec":
        return (
            "not durable to the last second: it syncs once a second (appendfsync everysec), so a crash of "
            "the machine loses up to about two seconds of acknowledged appends. Set appendfsync always, or "
            "ack=always."
        )
    if server.appendfsync is None:
        return (
            "an append-only file, but the server does not tell how often it is synced; taken as not durable."
        )
    return (
        "NOT DURABLE: it leaves syncing to the operating system (appendfsync no), so a crash of the machine "
        "loses about half a minute. Set appendfsync always."
    )


def _memory(server: Facts) -> str:
    if server.evicts:
        return (
            f"MAY LOSE RUNS: it evicts any key when its memory is full (maxmemory-policy {server.policy}). "
            "Set noeviction."
        )
    if not server.maxmemory:
        return "memory has no limit (maxmemory 0): the machine's own is the limit. Set maxmemory."
    kept = "never evicts runs" if server.policy is not None else "its maxmemory-policy is not told"
    limit = f"{server.maxmemory / 1e6:.0f} MB"
    return f"{kept}; when {limit} are full, appends are refused as a whole until there is room."
