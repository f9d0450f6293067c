"""Fingerprints of arguments: what a command event records of them.

Short arguments stand in the log as they are, which people can read; long ones as a BLAKE2b
digest and their size, so that a large argument given to a thousand steps is not stored
a thousand times.
"""

from __future__ import annotations

import hashlib

MAX_INLINE_BYTES = 1024


def fingerprint(args: bytes) -> bytes:
    """The fingerprint of encoded arguments, as JSON."""
    if len(args) <= MAX_INLINE_BYTES:
        return args
    digest = hashlib.blake2b(args, digest_size=16).hexdigest()
    return b'"blake2b:%s:%d"' % (digest.encode(), len(args))
