"""Values to bytes and back: JSON with explicit tags, revived without importing anything.

`Codec` writes and revives; `Reach` says which types the code that a value belongs to knows.
Plain JSON is plain JSON; a tagged value is an object with the key ``"$"``, which names the
kind, and ``"v"``, which holds the value; ``"t"`` names an application's type::

    {"$":"datetime","v":"2026-03-01T12:00:00+00:00"}
    {"$":"tuple","v":[1,2]}
    {"$":"object","t":"shop.models.Order","v":{"id":7}}
    {"$":"dict","v":[["$","a key that looks like a tag"],[7,"a key that is no text"]]}
    {"$":"error","type":"builtins.KeyError","message":"'sku'","args":["sku"],…}
"""

from .core import Codec, default_codec
from .reach import EMPTY_REACH, Reach, reach_of_function, reach_of_type
from .terms import Opaque, RecordedError, type_name

__all__ = [
    "EMPTY_REACH",
    "Codec",
    "Opaque",
    "Reach",
    "RecordedError",
    "default_codec",
    "reach_of_function",
    "reach_of_type",
    "type_name",
]
