"""Identifiers: what a run id may be, and how ids are drawn and derived.

The checks run in the core before any append is formed, so that every backend sees only
text it can store exactly. Drawing goes through `IdSource`, which a test can seed.
"""

from __future__ import annotations

import base64
import hashlib
import random
from collections.abc import Callable

from .errors import InvalidIdError

MAX_ID_BYTES = 255
_MOST_KNOWN = 10_000
# Run ids, queues, names and owners come again with every append.
_known: set[str] = set()


def validate_id(text: str, what: str = "run id") -> str:
    """Return `text` unchanged if it may name a run, a queue, a workflow or a token.

    Args:
        text: any non-empty Unicode text of at most 255 bytes in UTF-8, without NUL and
            without lone surrogates. It is never normalised or case-folded.
        what: the noun for the error message.

    Raises:
        InvalidIdError: the text is not one that every backend can store exactly.
    """
    if type(text) is str and text in _known:
        return text
    if is_plain(text):
        if len(_known) >= _MOST_KNOWN:
            _known.clear()
        _known.add(text)
        return text
    if type(text) is not str:
        raise InvalidIdError(f"{what} must be text, not {type(text).__name__}")
    if not text:
        raise InvalidIdError(f"{what} is empty")
    if "\0" in text:
        raise InvalidIdError(f"{what} {text!r} holds a NUL character")
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise InvalidIdError(f"{what} {text!r} holds a lone surrogate") from None
    if size > MAX_ID_BYTES:
        raise InvalidIdError(f"{what} {text[:40]!r}… has {size} bytes; at most {MAX_ID_BYTES} fit")
    return text


def is_plain(text: object) -> bool:
    """Whether it is what almost every id is: ASCII that `validate_id` takes."""
    return type(text) is str and text.isascii() and 0 < len(text) <= MAX_ID_BYTES and "\0" not in text


def derive_run_id(*parts: str, prefix: str = "run_") -> str:
    """Derive a run id from `parts`; the same parts give the same id in every process.

    The digest is BLAKE2b with 128 bits over the length-prefixed parts, in lower-case base32.
    """
    h = hashlib.blake2b(digest_size=16)
    for part in parts:
        raw = part.encode("utf-8", "surrogatepass")
        h.update(len(raw).to_bytes(8, "big"))
        h.update(raw)
    return prefix + base64.b32encode(h.digest()).decode().rstrip("=").lower()


class IdSource:
    """Draws ids from one random generator, so that a seeded test draws the same ones.

    Args:
        rng: where the bits come from; `random.SystemRandom` unless given.
    """

    __slots__ = ("_bits",)

    def __init__(self, rng: random.Random | None = None) -> None:
        self._bits: Callable[[int], int] = (rng or random.SystemRandom()).getrandbits

    def run_id(self) -> str:
        """A fresh run id: ``run_`` and 20 hexadecimal digits."""
        return f"run_{self._bits(80):020x}"

    def event_id(self) -> str:
        """A fresh event id of 16 hexadecimal digits; unique within one run is all it must be."""
        return f"{self._bits(64):016x}"

    def incarnation(self) -> str:
        """A fresh incarnation of 12 hexadecimal digits, drawn when a run is created."""
        return f"{self._bits(48):012x}"

    def token(self) -> str:
        """A fresh token of 32 hexadecimal digits: a lease, an owner, a hook's secret."""
        return f"{self._bits(128):032x}"
