"""What a storage promises, in words: capabilities and limits for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .storage import Capabilities, Limits


def describe_storage(capabilities: Capabilities, limits: Limits) -> list[str]:
    """One line for each promise, and one for the limits."""
    has = capabilities
    lines = [
        "durable: what is acknowledged survives kill -9"
        if has.durable
        else "not durable: a crash loses runs",
        "used by several processes at once" if has.multi_process else "used by one process only",
    ]
    if has.failover_loss:
        lines.append(f"a failover may lose {has.failover_loss}")
    parts = {
        "a feed": has.feed,
        "wakes idle workers": has.push,
        "commits within your transactions": has.transactions,
    }
    lines.append("; ".join(f"{part}: {'yes' if there else 'no'}" for part, there in parts.items()))
    lines.append(f"the {has.clock}'s clock says what is due; priorities hold {_ORDERS[has.due_order]}")
    lines.append(
        f"limits: event {_bytes(limits.event_bytes)}; append {_count(limits.append_events, 'events')}, "
        f"{_bytes(limits.append_bytes)}; commit {_count(limits.commit_appends, 'appends')}, "
        f"{_bytes(limits.commit_bytes)}"
    )
    return lines


_ORDERS = {"global": "over the whole namespace", "shard": "within each part of the namespace"}


def _count(number: int | None, what: str) -> str:
    return f"any number of {what}" if number is None else f"{number} {what}"


def _bytes(size: int | None) -> str:
    if size is None:
        return "any size"
    for unit, power in (("MiB", 20), ("KiB", 10)):
        if size >= 1 << power:
            return f"{size / (1 << power):.4g} {unit}"
    return f"{size} bytes"
