"""The seam between the two drivers: PyMongo's own asynchronous client, and Motor.

Their interfaces are the same but for what stands here. Nothing else in this package knows which
of them is at work.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from bson.codec_options import CodecOptions
from pymongo.read_concern import ReadConcern
from pymongo.read_preferences import ReadPreference
from pymongo.write_concern import WriteConcern

from pyworkflow_core.errors import MissingDriverError

from .options import Place

_DEFAULTS: dict[str, Any] = {
    # A call says within seconds that the server is away; the engine is patient by itself.
    "serverSelectionTimeoutMS": 10_000,
    "appname": "pyworkflow",
    "retryWrites": True,
}
_PLAIN: CodecOptions[dict[str, Any]] = CodecOptions()


def make_client(place: Place) -> Any:
    """A client of the driver that the options name; it connects on first use.

    Raises:
        MissingDriverError: the driver is not installed.
    """
    defaults = {name: value for name, value in _DEFAULTS.items() if name.lower() not in place.given}
    # One for each lane, and one for a waiter whom the server keeps waiting.
    if "maxpoolsize" not in place.given:
        defaults["maxPoolSize"] = place.options.lanes + 2
    if place.options.driver == "pymongo":
        from pymongo import AsyncMongoClient

        return AsyncMongoClient(place.url, **defaults)
    try:
        from motor.motor_asyncio import AsyncIOMotorClient
    except ImportError as error:
        raise MissingDriverError(
            "driver=motor needs Motor: pip install 'pyworkflow-core[mongodb]', or leave the option out"
        ) from error
    return AsyncIOMotorClient(place.url, **defaults)


def driver_of(client: Any) -> str:
    """Which driver a client of the user's own belongs to.

    Raises:
        TypeError: it is a client of neither, or a synchronous one.
    """
    name = f"{type(client).__module__}.{type(client).__qualname__}"
    if name.startswith("motor.") and name.endswith("MotorClient"):
        return "motor"
    if name == "pymongo.asynchronous.mongo_client.AsyncMongoClient":
        return "pymongo"
    raise TypeError(f"{name} is neither pymongo.AsyncMongoClient nor motor's AsyncIOMotorClient")


async def close_client(client: Any) -> None:
    """Close a client of either driver."""
    closing = client.close()
    if inspect.isawaitable(closing):
        await closing


def database_of(client: Any, name: str, *, replicated: bool) -> Any:
    """The database with the concerns that truth needs, whatever those of the client are."""
    return client.get_database(
        name,
        codec_options=_PLAIN,
        read_preference=ReadPreference.PRIMARY,
        write_concern=WriteConcern(w="majority", j=True),
        read_concern=ReadConcern("majority" if replicated else "local"),
    )


async def open_stream(collection: Any, pipeline: Sequence[Mapping[str, Any]], **options: Any) -> Any:
    """A change stream of a collection; it speaks to the server at its first `try_next` at the latest."""
    stream = collection.watch(pipeline, **options)
    return await stream if inspect.isawaitable(stream) else stream
