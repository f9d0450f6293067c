"""Claims across buckets: those that have something due share what is wanted."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from typing import Any

from pyworkflow_core.storage import Claim

from . import scripts
from .rows import decode_row
from .scripts import Script

_MOST = 1000

Ask = Callable[[Script, list[tuple[int, tuple[Any, ...]]]], Awaitable[list[Any]]]
"""Has the script run in buckets, with these arguments; None is the answer of a bucket that fails."""


async def claim(
    ask: Ask, buckets: int, owner: str, now: int, lease: int, limit: int, queues: tuple[str, ...]
) -> list[Claim]:
    """Lease up to `limit` due runs, each bucket's by priority."""
    until = now + lease
    nonce = secrets.token_hex(8)
    open_buckets = await _due(ask, buckets, now, queues)
    claims: list[Claim] = []
    while open_buckets and len(claims) < limit:
        left = min(limit - len(claims), _MOST)
        each, more = divmod(left, len(open_buckets))
        shares = [(bucket, each + (n < more)) for n, bucket in enumerate(open_buckets)]
        shares = [(bucket, share) for bucket, share in shares if share]
        tokens = f"{nonce}.{len(claims)}"
        answers = await ask(
            scripts.CLAIM, [(b, (now, until, share, f"{tokens}.{b}.", owner, *queues)) for b, share in shares]
        )
        open_buckets = open_buckets[len(shares) :]
        for (bucket, share), flat in zip(shares, answers, strict=True):
            found = flat or ()
            for run_id, token, row in zip(found[::3], found[1::3], found[2::3], strict=True):
                name = run_id.decode()
                claims.append(Claim(name, owner, token.decode(), until, decode_row(name, row)))
            if len(found) == 3 * share:
                open_buckets.append(bucket)
    return claims


async def _due(ask: Ask, buckets: int, now: int, queues: tuple[str, ...]) -> list[int]:
    """Buckets that may have something due, in an order of chance, so that none is always last."""
    if buckets == 1:
        return [0]
    answers = await ask(scripts.PEEK, [(bucket, (now, *queues)) for bucket in range(buckets)])
    due = [bucket for bucket, answer in enumerate(answers) if answer]
    start = secrets.randbelow(len(due)) if due else 0
    return due[start:] + due[:start]
